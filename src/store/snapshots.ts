/** Snapshots: hosts as they were after a command. The two newest of each host are kept. */
import { hash } from 'node:crypto';
import type Database from 'better-sqlite3';
import { packLarge, unpack } from './blob.ts';
import { reason, unavailable } from './errors.ts';
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
    `SELECT host_id AS hostId, sequence, engine, format, data, checksum FROM snapshots
     WHERE host_id = ? AND sequence < ? ORDER BY sequence DESC LIMIT 1`,
  );
  return {
    async put({ bytes, ...snapshot }) {
      await writer.write({ kind: 'snapshot', row: { ...snapshot, ...(await packLarge(bytes)), checksum: sum(bytes) } });
    },
    before(hostId, sequence) {
      let row: SnapshotRow | undefined;
      try {
        row = newest.get(hostId, sequence);
      } catch (error) {
        throw unavailable(`cannot read snapshots of host ${hostId}`, error);
      }
      return row && { sequence: row.sequence, engine: row.engine, ...content(row) };
    },
  };
}

function content(row: SnapshotRow): { bytes: Uint8Array } | { damaged: string } {
  try {
    const bytes = unpack(row);
    if (sum(bytes) !== row.checksum) return { damaged: 'it does not match its checksum' };
    return { bytes };
  } catch (error) {
    return { damaged: reason(error) };
  }
}

function sum(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex');
}
