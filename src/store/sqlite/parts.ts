/** Large bytes in parts, each stored by itself: between them the writer has its hands free for others. */
import type Database from 'better-sqlite3';
import type { Ownership } from '../rows.ts';
import { type Blob, packLarge } from './blob.ts';
import type { PartRow, StoredBlob, Writer } from './writes.ts';

/** Bytes of a part; what is smaller stands in one piece where it belongs. */
export const PART_BYTES = 512 * 1024;

/** The epoch in which parts are stored of a host that is not there yet. What is left of them by a stop goes at the next start. */
export const NOBODYS = 0;

export interface Parts {
  /** Compresses and stores them; they count when what is answered is stored, too. */
  put(place: PartPlace & Ownership, bytes: Uint8Array): Promise<Packed>;
  /** Throws where some are missing. */
  whole(place: PartPlace, blob: StoredBlob): Blob;
  /** Deletes what belongs to nothing any more, part by part. */
  prune(hostId: string): Promise<void>;
}

export interface Packed {
  blob: StoredBlob;
  /** All of its data, one piece behind the other. */
  data: readonly Uint8Array[];
}

type PartPlace = Pick<PartRow, 'hostId' | 'sequence' | 'kind'>;

export function openParts(database: Database.Database, writer: Writer): Parts {
  const read = database
    .prepare<[string, number, string, number, number], Uint8Array>(
      'SELECT data FROM parts WHERE host_id = ? AND sequence = ? AND kind = ? AND part < ? ORDER BY part LIMIT ?',
    )
    .pluck();
  return {
    async put(place, bytes) {
      const { format, pieces } = packLarge(bytes, PART_BYTES);
      const data: Uint8Array[] = [];
      const store = (part: number): Promise<number> =>
        writer.write({ kind: 'part', row: { ...place, part, data: data[part]! } });
      for await (const piece of pieces) {
        const last = data.at(-1);
        if (last !== undefined && last.byteLength + piece.byteLength <= PART_BYTES) {
          data[data.length - 1] = new Uint8Array(Buffer.concat([last, piece]));
          continue;
        }
        if (last !== undefined) await store(data.length - 1);
        // A copy: to another thread a view goes with all that it is a view of.
        data.push(new Uint8Array(piece));
      }
      if (data.length === 1) return { blob: { format, data: data[0]!, parts: null }, data };
      await store(data.length - 1);
      return { blob: { format, data: new Uint8Array(0), parts: data.length }, data };
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
