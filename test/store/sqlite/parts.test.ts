import assert from 'node:assert/strict';
import { test } from 'node:test';
import { zstdDecompressSync } from 'node:zlib';
import Database from 'better-sqlite3';
import { openParts, PART_BYTES } from '../../../src/store/sqlite/parts.ts';
import type { Write } from '../../../src/store/sqlite/writes.ts';

const PLACE = { hostId: 'h', sequence: 1, kind: 'snapshot', epoch: 1 } as const;

/** Bytes that cannot be compressed. */
function noise(length: number): Uint8Array {
  let word = 1;
  return new Uint8Array(length).map(() => {
    word ^= word << 13;
    word ^= word >>> 17;
    word ^= word << 5;
    return word;
  });
}

/** What is written of such bytes, and what is told of them. */
async function putOf(bytes: Uint8Array) {
  const database = new Database(':memory:');
  database.exec('CREATE TABLE parts (host_id, sequence, kind, part, data)');
  const written: { part: number; data: Uint8Array }[] = [];
  const writer = {
    write: async (write: Write): Promise<number> => {
      if (write.kind === 'part') written.push(write.row);
      return 1;
    },
  };
  const packed = await openParts(database, writer).put(PLACE, bytes);
  database.close();
  return { ...packed, written };
}

test('what stays large is written in parts, each its own bytes, not a view of all of them', async () => {
  const bytes = noise(2 * PART_BYTES);
  const { blob, data, written } = await putOf(bytes);
  assert.equal(blob.parts, 3);
  assert.deepEqual(
    written.map(({ part }) => part),
    [0, 1, 2],
  );
  const pieces = written.map((row) => row.data);
  assert.deepEqual(pieces, data);
  assert.deepEqual(zstdDecompressSync(Buffer.concat(pieces)), Buffer.from(bytes));
  for (const { byteLength, buffer } of pieces) {
    assert.ok(byteLength <= PART_BYTES);
    assert.equal(buffer.byteLength, byteLength);
  }
});

test('what is small when it is compressed stands in one piece where it belongs', async () => {
  const bytes = new Uint8Array(2 * PART_BYTES);
  const { blob, data, written } = await putOf(bytes);
  assert.deepEqual(written, []);
  assert.equal(blob.parts, null);
  assert.deepEqual([blob.data], data);
  assert.deepEqual(zstdDecompressSync(blob.data), Buffer.from(bytes));
});
