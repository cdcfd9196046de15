/** Snapshots: hosts as they were after a command. The two newest of each host are kept. */
import type Database from 'better-sqlite3';
import type { Snapshots } from '../store.ts';
import { packLarge, unpack } from './blob.ts';
import { reason, unavailable } from './errors.ts';
import { openParts, type Parts } from './parts.ts';
import type { SnapshotRow, Writer } from './writes.ts';

type Columns = Omit<SnapshotRow, 'epoch'>;

export function openSnapshots(database: Database.Database, writer: Writer): Snapshots {
  const newest = database.prepare<[string, number], Columns>(
    `SELECT host_id AS hostId, sequence, engine, format, data, parts FROM snapshots
     WHERE host_id = ? AND sequence < ? ORDER BY sequence DESC LIMIT 1`,
  );
  const parts = openParts(database, writer);
  return {
    async put({ bytes, ...snapshot }) {
      const { hostId, epoch, sequence } = snapshot;
      const place = { hostId, epoch, sequence, kind: 'snapshot' } as const;
      const blob = await parts.put(place, await packLarge(bytes));
      await writer.write({ kind: 'snapshot', row: { ...snapshot, ...blob } });
      await parts.prune(hostId);
    },
    async before(hostId, sequence) {
      let row: Columns | undefined;
      try {
        row = newest.get(hostId, sequence);
      } catch (error) {
        throw unavailable(`cannot read snapshots of host ${hostId}`, error);
      }
      return row && { sequence: row.sequence, engine: row.engine, ...content(row, parts) };
    },
  };
}

function content(row: Columns, parts: Parts): { bytes: Uint8Array } | { damaged: string } {
  try {
    return { bytes: unpack(parts.whole({ ...row, kind: 'snapshot' }, row)) };
  } catch (error) {
    return { damaged: reason(error) };
  }
}
