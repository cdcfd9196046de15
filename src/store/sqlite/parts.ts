/** Large bytes in parts, each stored by itself: between them the writer has its hands free for others. */
import type Database from 'better-sqlite3';
import type { Ownership } from '../rows.ts';
import type { Blob } from './blob.ts';
import type { PartRow, StoredBlob, Writer } from './writes.ts';

/** Bytes of a part; what is smaller stands in one piece where it belongs. */
export const PART_BYTES = 512 * 1024;

/** The epoch in which parts are stored of a host that is not there yet. What is left of them by a stop goes at the next start. */
export const NOBODYS = 0;

export interface Parts {
  /** Resolves when they are stored; they count when what is answered is stored, too. */
  put(place: PartPlace & Ownership, blob: Blob): Promise<StoredBlob>;
  /** Throws where some are missing. */
  whole(place: PartPlace, blob: StoredBlob): Blob;
  /** Deletes what belongs to nothing any more, part by part. */
  prune(hostId: string): Promise<void>;
}

type PartPlace = Pick<PartRow, 'hostId' | 'sequence' | 'kind'>;

export function openParts(database: Database.Database, writer: Writer): Parts {
  const read = database
    .prepare<[string, number, string, number, number], Uint8Array>(
      'SELECT data FROM parts WHERE host_id = ? AND sequence = ? AND kind = ? AND part < ? ORDER BY part LIMIT ?',
    )
    .pluck();
  return {
    async put(place, { format, data }) {
      if (data.byteLength <= PART_BYTES) return { format, data, parts: null };
      const parts = Math.ceil(data.byteLength / PART_BYTES);
      for (let part = 0; part < parts; part += 1) {
        // A copy, which `slice` of a Buffer is not: to another thread a view goes with all that it is a view of.
        const piece = new Uint8Array(data.subarray(part * PART_BYTES, (part + 1) * PART_BYTES));
        await writer.write({ kind: 'part', row: { ...place, part, data: piece } });
      }
      return { format, data: new Uint8Array(0), parts };
    },
    whole({ hostId, sequence, kind }, { format, data, parts }) {
      if (parts === null) return { format, data };
      if (!Number.isSafeInteger(parts)) throw new Error('how many parts it has cannot be read');
      const found = read.all(hostId, sequence, kind, parts, parts);
      if (found.length < parts) throw new Error(`of its ${parts} parts ${found.length} are there`);
      return { format, data: Buffer.concat(found) };
    },
    async prune(hostId) {
      while ((await writer.write({ kind: 'part.prune', hostId })) > 0);
    },
  };
}
