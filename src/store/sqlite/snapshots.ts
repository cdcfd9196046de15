/** Snapshots: hosts as they were after a command. The two newest of each host are kept. */
import type Database from 'better-sqlite3';
import { reason, unavailable } from '../errors.ts';
import { packLarge, unpack } from './blob.ts';
import { openParts, type Parts } from './parts.ts';
import type { SnapshotRow, Writer } from './writes.ts';

export interface Snapshot {
  hostId: string;
  /** Of the last command that it holds. */
  sequence: number;
  /** Version of the engine that made it. */
  engine: string;
  bytes: Uint8Array;
}

/** A snapshot as it was found: `damaged` says what is wrong with it. */
export type StoredSnapshot = Pick<Snapshot, 'sequence' | 'engine'> & ({ bytes: Uint8Array } | { damaged: string });

export interface Snapshots {
  /** Stores it, and forgets all but the one before, and the commands which that one holds. */
  put(snapshot: Snapshot): Promise<void>;
  /** The newest one before that sequence. */
  before(hostId: string, sequence: number): StoredSnapshot | undefined;
}

export function openSnapshots(database: Database.Database, writer: Writer): Snapshots {
  const newest = database.prepare<[string, number], SnapshotRow>(
    `SELECT host_id AS hostId, sequence, engine, format, data, parts FROM snapshots
     WHERE host_id = ? AND sequence < ? ORDER BY sequence DESC LIMIT 1`,
  );
  const parts = openParts(database, writer);
  return {
    async put({ bytes, ...snapshot }) {
      const { hostId, sequence } = snapshot;
      const blob = await parts.put({ hostId, sequence, kind: 'snapshot' }, await packLarge(bytes));
      await writer.write({ kind: 'snapshot', row: { ...snapshot, ...blob } });
      await parts.prune(hostId);
    },
    before(hostId, sequence) {
      let row: SnapshotRow | undefined;
      try {
        row = newest.get(hostId, sequence);
      } catch (error) {
        throw unavailable(`cannot read snapshots of host ${hostId}`, error);
      }
      return row && { sequence: row.sequence, engine: row.engine, ...content(row, parts) };
    },
  };
}

function content(row: SnapshotRow, parts: Parts): { bytes: Uint8Array } | { damaged: string } {
  try {
    return { bytes: unpack(parts.whole({ ...row, kind: 'snapshot' }, row)) };
  } catch (error) {
    return { damaged: reason(error) };
  }
}
