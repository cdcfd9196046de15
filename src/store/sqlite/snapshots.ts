/** Snapshots: hosts as they were after a command. The two newest of each host are kept. */
import type Database from 'better-sqlite3';
import type { Snapshot, Snapshots } from '../store.ts';
import { unpack } from './blob.ts';
import { openAge, snapshotChecksum } from './checksums.ts';
import { isDamage, isFailure, reason, unavailable } from './errors.ts';
import { openParts, type Parts } from './parts.ts';
import type { SnapshotRow, Writer } from './writes.ts';

type Columns = Omit<SnapshotRow, 'epoch' | 'data' | 'checksum'> & { checksum: number | null };

export function openSnapshots(database: Database.Database, writer: Writer): Snapshots {
  const newest = database.prepare<[string, number], Columns>(
    `SELECT host_id AS hostId, sequence, engine, format, parts, checksum FROM snapshots
     WHERE host_id = ? AND sequence < ? ORDER BY sequence DESC LIMIT 1`,
  );
  const dataOf = database
    .prepare<[string, number], Uint8Array>('SELECT data FROM snapshots WHERE host_id = ? AND sequence = ?')
    .pluck();
  const parts = openParts(database, writer);
  const isOld = openAge(database);
  return {
    async put(snapshot) {
      const { hostId } = snapshot;
      await writer.write({ kind: 'snapshot', row: await snapshotOf(parts, snapshot) });
      while ((await writer.write({ kind: 'journal.prune', hostId })) > 0);
      await parts.prune(hostId);
    },
    async before(hostId, sequence) {
      try {
        const row = newest.get(hostId, sequence);
        if (row === undefined) return undefined;
        const read = (): Uint8Array => dataOf.get(hostId, row.sequence)!;
        const content = contentOf(row, read, parts, row.checksum !== null || isOld(hostId));
        return { sequence: row.sequence, engine: row.engine, ...content };
      } catch (error) {
        // What snapshots there are cannot be told: the commands stand in for them.
        if (isDamage(error)) return undefined;
        throw unavailable(`cannot read snapshots of host ${hostId}`, error);
      }
    },
  };
}

/** Its row, when the parts of a large one are stored. */
export async function snapshotOf(parts: Parts, { bytes, ...snapshot }: Snapshot): Promise<SnapshotRow> {
  const { hostId, epoch, sequence } = snapshot;
  const { blob, data } = await parts.put({ hostId, epoch, sequence, kind: 'snapshot' }, bytes);
  const row = { ...snapshot, ...blob };
  return { ...row, checksum: snapshotChecksum(row, data) };
}

function contentOf(
  row: Columns,
  data: () => Uint8Array,
  parts: Parts,
  isKnown: boolean,
): { bytes: Uint8Array } | { damaged: string } {
  if (!isKnown) return { damaged: 'it has no checksum' };
  try {
    const { format, parts: count } = row;
    const blob = parts.whole({ ...row, kind: 'snapshot' }, { format, data: data(), parts: count });
    if (row.checksum !== null && row.checksum !== snapshotChecksum(row, [blob.data]))
      return { damaged: 'it does not match its checksum' };
    return { bytes: unpack(blob) };
  } catch (error) {
    if (isFailure(error)) throw error;
    return { damaged: reason(error) };
  }
}
