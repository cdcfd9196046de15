/** What the store keeps: plain data. Times are ISO 8601 in UTC. */
import type { HostSpec } from '../host/command.ts';

export interface Tenant {
  id: string;
  name: string;
  created: string;
}

export interface HostRow {
  id: string;
  tenantId: string;
  name: string;
  spec: HostSpec;
  created: string;
}

/** The first difference between a host's journal and its replay. */
export interface Divergence {
  /** Sequence of the command in the journal. */
  sequence: number;
  op: string;
  /** What differs, in a sentence. */
  why: string;
}

/** What a host is from its creation on. */
export type HostIdentity = Omit<HostRow, 'spec'>;

/** A host without its spec, which may be large. */
export interface HostSummary extends HostIdentity {
  diverged: Divergence | null;
}

/** Place in a list of hosts: the last one seen. */
export interface HostCursor {
  created: string;
  id: string;
}

/** A command as stored: JSON text, and the SHA-256 of its answer. */
export interface JournalEntry {
  hostId: string;
  /** From 1 on, without gaps. */
  sequence: number;
  command: string;
  digest: string;
  /** What the command carries beside its JSON. */
  payload?: Uint8Array;
  /** The handover that a freeze leaves, stored in the same transaction. `text` is null where nothing is handed over. */
  handover?: { text: string | null };
}
