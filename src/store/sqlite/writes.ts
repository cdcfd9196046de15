/** Whatever changes the store, as plain data: it crosses threads to the one connection that writes. */
import type { EmittedEvent } from '../../host/command.ts';
import type { EventId, HostPurpose, Ownership, RequestKey, StoredKey, Tenant } from '../rows.ts';
import type { Blob } from './blob.ts';

export interface JournalRow extends Ownership {
  sequence: number;
  command: string;
  digest: string;
  payload: StoredBlob | null;
  checksum: number;
}

/** What of a request is stored with what it has led to. */
export interface RequestRow extends RequestKey {
  checksum: number;
}

export interface EventRow extends EventId, Omit<EmittedEvent, 'data'> {
  hostId: string;
  /** The function that it is about, where it is about one. */
  bdf: string | null;
  /** JSON. */
  data: string;
  checksum: number;
}

/** Bytes in one piece, or, where there are too many, empty here and in so many parts. */
export interface StoredBlob extends Blob {
  parts: number | null;
}

/**
 * One of the parts of a payload or snapshot. Another one in its place is replaced: that was never finished. At epoch 0 the host
 * is not there yet.
 */
export interface PartRow extends Ownership {
  /** Of the command, or of the last one that the snapshot holds. */
  sequence: number;
  kind: 'payload' | 'snapshot';
  /** From 0 on. */
  part: number;
  data: Uint8Array;
}

/** Bytes as stored; `format` says how they are to be read. `data` is null where there is nothing. */
export interface HandoverRow {
  format: number;
  data: Uint8Array | null;
  checksum: string;
}

export interface SnapshotRow extends StoredBlob, Ownership {
  /** Of the last command that it holds. */
  sequence: number;
  engine: string;
  checksum: number;
}

/** Each is stored whole or not at all. */
export type Write =
  /** `most`: of a throw-away one, how many its parent may have; gives 0 where it has so many. */
  | { kind: 'tenant.create'; tenant: Omit<Tenant, 'quotas'>; keyHash: string; most?: number }
  /** Of a throw-away one. */
  | { kind: 'tenant.end'; id: string; expires: string }
  /** The same; gives 0 where it has hosts. */
  | { kind: 'tenant.delete'; id: string }
  /** Another first key. */
  | { kind: 'tenant.key'; id: string; keyHash: string; created: string }
  | { kind: 'key.create'; id: string; key: StoredKey; keyHash: string }
  | { kind: 'key.delete'; id: string; name: string }
  /** JSON; null: those of all. */
  | { kind: 'tenant.quotas'; id: string; quotas: string | null }
  | {
      kind: 'host.insert';
      id: string;
      tenantId: string;
      name: string;
      spec: string;
      created: string;
      specChecksum: number;
      /** JSON; null: none. */
      labels: string | null;
      expires: string | null;
      events: readonly EventRow[];
      /** Of one that is made of another. */
      snapshot: SnapshotRow | null;
      request: RequestRow | null;
    }
  /** Gives the new epoch; 0 where there is no such host. `use`: to delete it, room is made where the disk is full. */
  | { kind: 'host.own'; id: string; use: HostPurpose }
  /** Gives the newest command that is known to be stored. */
  | { kind: 'host.end'; id: string }
  | { kind: 'host.diverge'; owner: Ownership; divergence: string }
  /** JSON; null: none. Nobody owns them. */
  | { kind: 'host.labels'; id: string; labels: string | null }
  /** Nobody sees it from now on. */
  | { kind: 'host.delete'; owner: Ownership }
  /** Deletes some of what is stored of a host that is deleted. Gives 0 when there is nothing left, nor the host. */
  | { kind: 'host.clear'; id: string }
  | {
      kind: 'append';
      row: JournalRow;
      handover: HandoverRow | null;
      events: readonly EventRow[];
      request: RequestRow | null;
    }
  /** Events of commands that are stored already, of a host of an earlier version: all of them, and these were all. */
  | { kind: 'events.begin'; owner: Ownership }
  | { kind: 'events.add'; owner: Ownership; rows: readonly EventRow[] }
  | { kind: 'events.end'; owner: Ownership }
  /** Deletes some of the oldest events of a host. */
  | { kind: 'events.prune'; owner: Ownership }
  | { kind: 'snapshot'; row: SnapshotRow }
  | { kind: 'part'; row: PartRow }
  /** Deletes some of the oldest commands of a host of which too much is kept, but none behind the older snapshot. */
  | { kind: 'journal.prune'; hostId: string }
  /** Deletes one part that belongs to nothing that is kept. */
  | { kind: 'part.prune'; hostId: string }
  /** As much as some commands take, of no host, always in one place: whether there is room. */
  | { kind: 'check' };

/** Takes writes and stores them in the order in which it got them. */
export interface Writer {
  /**
   * Resolves when it is stored, with the number of rows that it changed unless it says otherwise. Rejects with
   * StoreUnavailable, OwnerPassed, TenantExists, KeyExists or KeyTaken: then nothing of it is stored.
   */
  write(write: Write): Promise<number>;
}
