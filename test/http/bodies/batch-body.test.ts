import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BATCH_LIMIT, fixture, HOST, KEY } from '../fixture.ts';

const PATH = `/v1/hosts/${HOST}/processes/1/iommufds/3/ioases/2/batch`;

test('the body of a batch reaches the lane as it came, whole or in chunks', async (t) => {
  const { app, lanes } = await fixture(t);
  await app.listen({ port: 0 });
  const url = `http://127.0.0.1:${(app.server.address() as { port: number }).port}${PATH}`;
  const headers = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' };
  const text = `{"operations":[],"padding":"${'ü'.repeat(30_000)}"}`;
  const whole = await fetch(url, { method: 'POST', headers, body: text });
  assert.equal(whole.status, 200);
  const chunks = new ReadableStream({
    start(controller) {
      for (let at = 0; at < text.length; at += 7000)
        controller.enqueue(new TextEncoder().encode(text.slice(at, at + 7000)));
      controller.close();
    },
  });
  const chunked = await fetch(url, { method: 'POST', headers, body: chunks, duplex: 'half' } as RequestInit);
  assert.equal(chunked.status, 200);
  const command = { op: 'batch', pid: 1, fd: 3, ioas: 2, format: 'json' };
  assert.deepEqual(lanes.batches, [
    { command, text },
    { command, text },
  ]);
});

test('a batch over its own limit is 413 and names the limit, whether its length is told or not', async (t) => {
  const { app, lanes } = await fixture(t);
  await app.listen({ port: 0 });
  const url = `http://127.0.0.1:${(app.server.address() as { port: number }).port}${PATH}`;
  const headers = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' };
  const large = new Uint8Array(BATCH_LIMIT + 1).fill(0x20);
  const refused = async (body: unknown): Promise<void> => {
    const answer = await fetch(url, { method: 'POST', headers, body, duplex: 'half' } as RequestInit);
    assert.equal(answer.status, 413);
    const { detail } = (await answer.json()) as { detail: string };
    assert.match(detail, new RegExp(`${BATCH_LIMIT} bytes.*HOLDOVER_BATCH_LIMIT`));
  };
  await refused(large);
  await refused(new Blob([large]).stream());
  assert.deepEqual(lanes.batches, []);
});
