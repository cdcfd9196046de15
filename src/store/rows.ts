/** What a store keeps: plain data. Times are ISO 8601 in UTC. */
import type { EmittedEvent, HostSpec } from '../host/command.ts';

/** Limits as they are given, by the names of their quotas. */
export type KeptQuotas = Readonly<Record<string, number | 'unlimited'>>;

export interface Tenant {
  id: string;
  name: string;
  created: string;
  /** Of its quotas those that are not as all tenants have them; of a throw-away one, those of its parent. */
  quotas: KeptQuotas;
  /** Who has made a throw-away one, and shares its quotas with it; null: it is none. */
  parentId: string | null;
  /** When a throw-away one is deleted. */
  expiresAt: string | null;
}

/** The name of the key that a tenant is made with, or that the configuration gives it. */
export const FIRST_KEY = 'first';

/** What a key may do: everything, or read. */
export type Role = 'full' | 'read-only';

/** A key of a tenant, without what is secret of it. */
export interface StoredKey {
  /** Its own among those of the tenant. */
  name: string;
  role: Role;
  created: string;
  /** From then on it is none any more; null: never. */
  expires: string | null;
}

/** Whose key it is. */
export interface KeyHolder {
  tenant: Tenant;
  key: StoredKey;
}
/** Whose quotas a tenant uses: its own, or its parent's. */
export const accountOf = ({ id, parentId }: Pick<Tenant, 'id' | 'parentId'>): string => parentId ?? id;

/** What is stored of the hosts of a tenant. */
export interface Stored {
  hosts: number;
  /** About. */
  bytes: number;
}

/** By what a request is known that may be sent again: of a tenant, a key is that of one request. */
export interface RequestKey {
  tenantId: string;
  key: string;
  /** Of all that it asks for. */
  fingerprint: string;
}

/** What a request has led to: the command of that sequence; of one that has made the host, what that began behind. */
export interface Requested extends Pick<RequestKey, 'fingerprint'> {
  hostId: string;
  sequence: number;
}
/** What people find a host by. */
export type Labels = Readonly<Record<string, string>>;

export interface HostRow {
  id: string;
  tenantId: string;
  name: string;
  spec: HostSpec;
  created: string;
  /** That has asked for it, where it is known by a key. */
  request?: RequestKey | undefined;
  /** Not given: none. */
  labels?: Labels;
  /** When it is deleted; null, and not given: when somebody asks for that. */
  expiresAt?: string | null;
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
export interface HostIdentity extends Omit<HostRow, 'spec' | 'request' | 'labels' | 'expiresAt'> {
  /** Why this is not what was stored, where that is so: it may have another name, or be of another tenant. */
  damaged?: string;
}

/** A host without its spec, which may be large. */
export interface HostSummary extends HostIdentity {
  diverged: Divergence | null;
  labels: Labels;
  expiresAt: string | null;
}

/** The same with what its events tell of it; null: they are of an earlier version, or the one that tells it is not kept. */
export interface ListedHost extends HostSummary {
  state: 'running' | 'kdump' | 'panic' | 'kexec' | null;
  /** Number of the kernel that runs. */
  kernel: number | null;
  /** How many of its events are hazards; those beyond MOST_COUNTED are not counted. */
  hazards: number | null;
}

/** Which hosts of a tenant are asked for: those that fit all of it. */
export interface HostFilter {
  name?: string | undefined;
  /** `value` null: whatever the label says. */
  labels?: readonly { key: string; value: string | null }[] | undefined;
}

/** What somebody becomes the owner of a host for. */
export type HostPurpose = 'run' | 'delete';

/** Where a host begins, and whether its journal can still be replayed; `damaged` says what is wrong with the spec. */
export type HostOrigin = { diverged: Divergence | null } & ({ spec: HostSpec } | { damaged: string });

/** Place in a list of hosts: the last one seen. */
export interface HostCursor {
  created: string;
  id: string;
}

/** In whose name something is written: the epoch is the one in which the writer owns the host. */
export interface Ownership {
  hostId: string;
  /** 1 for who made the host; one more each time another one becomes its owner. */
  epoch: number;
}

/** A command as stored: JSON text, and the SHA-256 of its answer. What comes with it is stored with it, or not at all. */
export interface JournalEntry extends Ownership {
  /** From 1 on, without gaps. */
  sequence: number;
  command: string;
  digest: string;
  /** What the command carries beside its JSON. */
  payload?: Uint8Array;
  /** The handover that a freeze leaves. `text` is null where nothing is handed over. */
  handover?: { text: string | null };
  /** What the command has emitted. */
  events?: readonly EmittedEvent[];
  /** That has asked for it, where it is known by a key. */
  request?: RequestKey | undefined;
}

/** Which event of a host it is. Events are in the order of their ids. */
export interface EventId {
  /** Of the command in the journal that caused it; 0: the creation of the host. */
  sequence: number;
  /** Among those of the command, from 0 on. */
  index: number;
}

export interface StoredEvent extends EventId, EmittedEvent {}

/** Which events are asked for: those that fit all of it. */
export interface EventFilter {
  kinds?: readonly string[];
  /** Of hazards only those of these names. */
  hazards?: readonly string[];
  bdf?: string;
  /** Number of the kernel that ran. */
  kernel?: number;
  /** Simulated nanoseconds, decimal; both ends are in the range. */
  from?: string;
  to?: string;
}

export interface EventPage {
  events: StoredEvent[];
  /** The last one that was looked at, or where the reading began: what is behind it has not been looked at. */
  reached: EventId | null;
  /** The oldest one that is kept; null: all are. */
  oldest: EventId | null;
  /** Whether some behind the place where the reading began are no longer kept. */
  missed: boolean;
}

/** A command as it was found. */
export interface StoredCommand extends Pick<JournalEntry, 'sequence' | 'command' | 'digest' | 'payload'> {
  /** What of it is not what was stored: it is not to be executed, and there may be anything in it. */
  damaged?: string;
}

export interface Snapshot extends Ownership {
  /** Of the last command that it holds. */
  sequence: number;
  /** Version of the engine that made it. */
  engine: string;
  bytes: Uint8Array;
}

/** What a host begins as that is made of another one. */
export type HostCopy = Pick<Snapshot, 'sequence' | 'engine' | 'bytes'>;

/** A snapshot as it was found: `damaged` says what is wrong with it. */
export type StoredSnapshot = Pick<Snapshot, 'sequence' | 'engine'> & ({ bytes: Uint8Array } | { damaged: string });
