import assert from 'node:assert/strict';
import { test } from 'node:test';
import { giveBack, takeBuffer } from '../../../src/http/bodies/buffers.ts';
import { fixture, HOST, KEY } from '../fixture.ts';

const MIB = 1 << 20;

test('a buffer that was given back is taken again where it is large enough, and not twice as large as is needed', () => {
  const large = takeBuffer(3 * MIB);
  giveBack(large);
  assert.notEqual(takeBuffer(MIB).buffer, large.buffer);
  assert.notEqual(takeBuffer(4 * MIB).buffer, large.buffer);
  const again = takeBuffer(2 * MIB);
  assert.equal(again.buffer, large.buffer);
  assert.equal(again.length, 2 * MIB);
  // It is somebody's.
  assert.notEqual(takeBuffer(2 * MIB).buffer, large.buffer);
});

test('one that has gone to another thread, or is very large, is not kept', () => {
  const gone = takeBuffer(MIB);
  structuredClone(gone, { transfer: [gone.buffer] });
  giveBack(gone);
  const { buffer } = takeBuffer(9 * MIB);
  giveBack(new Uint8Array(buffer));
  assert.equal(takeBuffer(MIB).buffer.byteLength, MIB);
  assert.notEqual(takeBuffer(9 * MIB).buffer, buffer);
});

test('of a body nothing is read that an earlier one has left in the buffer', async (t) => {
  const { app, lanes } = await fixture(t, { batchLimit: MIB });
  await app.listen({ port: 0 });
  const { port } = app.server.address() as { port: number };
  const url = `http://127.0.0.1:${port}/v1/hosts/${HOST}/processes/1/iommufds/3/ioases/2/batch`;
  const headers = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' };
  const bodyOf = (bytes: number, letter: string): string =>
    `{"operations":[],"padding":"${letter.repeat(bytes - 30)}"}`;
  for (const [bytes, letter] of [
    [400_000, 'a'],
    [300_000, 'b'],
    [350_000, 'c'],
  ] as const) {
    const body = bodyOf(bytes, letter);
    const answer = await fetch(url, { method: 'POST', headers, body });
    assert.equal(answer.status, 200);
    assert.equal(lanes.batches.at(-1)?.text, body);
  }
});
