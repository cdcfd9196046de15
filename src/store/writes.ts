/** Whatever changes the store, as plain data: it crosses threads to the one connection that writes. */
import type { Blob } from './blob.ts';
import type { Tenant } from './rows.ts';

export interface JournalRow {
  hostId: string;
  sequence: number;
  command: string;
  digest: string;
  payload: Blob | null;
}

/** Bytes as stored; `format` says how they are to be read. `data` is null where there is nothing. */
export interface HandoverRow {
  hostId: string;
  sequence: number;
  format: number;
  data: Uint8Array | null;
  checksum: string;
}

export interface SnapshotRow {
  hostId: string;
  /** Of the last command that it holds. */
  sequence: number;
  engine: string;
  format: number;
  data: Uint8Array;
  checksum: string;
}

/** Each is stored whole or not at all. */
export type Write =
  | { kind: 'tenant.create'; tenant: Tenant; keyHash: string }
  | { kind: 'tenant.key'; id: string; keyHash: string }
  | { kind: 'host.insert'; id: string; tenantId: string; name: string; spec: string; created: string }
  | { kind: 'host.diverge'; id: string; divergence: string }
  | { kind: 'host.delete'; id: string }
  | { kind: 'journal'; rows: JournalRow[]; handovers: HandoverRow[] }
  | { kind: 'snapshot'; row: SnapshotRow };

/** Takes writes and stores them in the order in which it got them. */
export interface Writer {
  /**
   * Resolves when it is stored, with the number of rows that it changed. Rejects with StoreUnavailable or
   * TenantExists: then nothing of it is stored.
   */
  write(write: Write): Promise<number>;
}
