import assert from 'node:assert/strict';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import { openParts, PART_BYTES } from '../../../src/store/sqlite/parts.ts';
import type { Write } from '../../../src/store/sqlite/writes.ts';

test('a part goes to the writer as its own bytes, not as a view of all of them, whatever they come in', async () => {
  const database = new Database(':memory:');
  database.exec('CREATE TABLE parts (host_id, sequence, kind, part, data)');
  const written: Uint8Array[] = [];
  const writer = {
    write: async (write: Write): Promise<number> => {
      if (write.kind === 'part') written.push(write.row.data);
      return 1;
    },
  };
  const parts = openParts(database, writer);
  const place = { hostId: 'h', sequence: 1, kind: 'snapshot', epoch: 1 } as const;
  const bytes = new Uint8Array(2 * PART_BYTES + 1).map((_, at) => at);
  for (const data of [bytes, Buffer.from(bytes.buffer)]) {
    written.length = 0;
    assert.equal((await parts.put(place, { format: 1, data })).parts, 3);
    assert.deepEqual(Buffer.concat(written), Buffer.from(bytes));
    assert.deepEqual(
      written.map(({ buffer }) => buffer.byteLength),
      [PART_BYTES, PART_BYTES, 1],
    );
  }
  database.close();
});
