/** Bodies that come slowly, or not at all, or too many at once: through sockets, with short times. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { BATCH_LIMIT, KEY, OTHER_KEY } from '../fixture.ts';
import { HOST_PATH, listening, problemsIn, requestOf, untilEnd } from '../sockets.ts';

const CLOCK = `POST ${HOST_PATH}/clock`;
const BATCH = `POST ${HOST_PATH}/processes/1/iommufds/3/ioases/2/batch`;
const BODY = '{"advance":1}';
const CHUNKED = { 'content-type': 'application/json', 'transfer-encoding': 'chunked' };
const LINES = { 'content-type': 'application/x-ndjson', 'transfer-encoding': 'chunked' };
const LINE = '{"op":"unmap","iova":0,"length":4096}\n';
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;

test('a body of which nothing arrives for a while is 408, and its connection ends', async (t) => {
  const { app, dial, lanes } = await listening(t, { bodyIdle: 50, patience: { drain: 50 } });
  for (const begun of [
    requestOf(CLOCK, BODY).slice(0, -1),
    requestOf(CLOCK, BODY).slice(0, -BODY.length),
    requestOf(CLOCK, undefined, CHUNKED) + chunk('{"adv'),
    requestOf(BATCH, '{"operations":[]}').slice(0, -5),
    requestOf(BATCH, undefined, LINES),
    requestOf(BATCH, undefined, LINES) + chunk('{"op":"un'),
  ]) {
    const accepted = once(app.server, 'connection') as Promise<[Socket]>;
    const socket = await dial();
    const [other] = await accepted;
    const closed = once(other, 'close');
    socket.write(begun);
    const answers = await untilEnd(socket);
    assert.deepEqual(problemsIn(answers), ['408 request-timeout'], begun);
    assert.match(answers[0]!.headers, /connection: close/i);
    assert.match(JSON.parse(answers[0]!.body).detail, /HOLDOVER_BODY_IDLE/);
    // Though the client keeps its side open.
    await closed;
  }
  assert.deepEqual([lanes.commands, lanes.batches], [[], []]);
});

test('a body that always goes on is 408 when it has taken too long', async (t) => {
  const { dial, lanes } = await listening(t, { bodyTimeout: 100 });
  const socket = await dial();
  socket.write(requestOf(CLOCK, undefined, CHUNKED));
  const ended = untilEnd(socket);
  let over = false;
  ended.then(() => {
    over = true;
  });
  while (!over) {
    socket.write(chunk(' '));
    await setTimeout(5);
  }
  const answers = await ended;
  assert.deepEqual(problemsIn(answers), ['408 request-timeout']);
  assert.match(JSON.parse(answers[0]!.body).detail, /HOLDOVER_BODY_TIMEOUT/);
  assert.deepEqual(lanes.commands, []);
});

test('lines may come for any time, as long as one comes', async (t) => {
  const { dial, lanes } = await listening(t, { bodyIdle: 300, bodyTimeout: 10 });
  lanes.onBatch = () => ({
    kind: 'ok',
    value: { applied: 1, failed: 0, mappedBytes: '0x0', unmappedBytes: '0x0', errors: [] },
  });
  const socket = await dial();
  let received = '';
  socket.on('data', (data) => {
    received += data;
  });
  socket.write(requestOf(BATCH, undefined, LINES));
  const begun = performance.now();
  let acknowledged = 0;
  while (performance.now() - begun < 600) {
    socket.write(chunk(LINE));
    acknowledged += 1;
    while (!received.includes(`"acknowledged":${acknowledged},`)) await once(socket, 'data');
  }
  // A line that never ends is none.
  const ended = once(socket, 'end');
  while (!received.includes('"status":408')) {
    socket.write(chunk(' '));
    await setTimeout(20);
  }
  await ended;
  assert.match(received, new RegExp(`"acknowledged":${acknowledged},.*"status":408,.*HOLDOVER_BODY_IDLE`));
  assert.doesNotMatch(received, /"done"/);
});

test('the time that the host takes for lines does not count', async (t) => {
  const { dial, lanes } = await listening(t, { bodyIdle: 150 });
  lanes.onBatch = async () => {
    await setTimeout(300);
    return { kind: 'ok', value: { applied: 1, failed: 0, mappedBytes: '0x0', unmappedBytes: '0x0', errors: [] } };
  };
  const socket = await dial();
  socket.write(requestOf(BATCH, undefined, { ...LINES, connection: 'close' }) + chunk(LINE));
  let received = '';
  socket.on('data', (data) => {
    received += data;
    if (received.includes('"acknowledged":1') && !received.includes('done')) socket.write('0\r\n\r\n');
  });
  await once(socket, 'end');
  assert.match(received, /"done":true/);
});

test('a body that nobody reads is taken, but not for long', async (t) => {
  const { dial, ask } = await listening(t, { patience: { drain: 50 } });
  const refused = requestOf(CLOCK, BODY, { authorization: 'Bearer nobody' });
  // One that comes in time leaves the connection as it was.
  const quick = await dial();
  quick.write(refused.slice(0, -1));
  await once(quick, 'data');
  quick.write(refused.slice(-1) + requestOf('GET /livez', undefined, { connection: 'close' }));
  assert.match(String((await untilEnd(quick))[0]!.body), /"status":"ok"/);
  // One that does not ends it.
  for (const path of [CLOCK, 'POST /nowhere']) {
    const slow = await dial();
    slow.write(requestOf(path, BODY, { authorization: 'Bearer nobody' }).slice(0, -1));
    await once(slow, 'data');
    await once(slow, 'end');
  }
  assert.equal((await ask('get', '/livez')).status, 200);
});

test('who sends more than is allowed gets the answer, though all of it is sent', async (t) => {
  const { port } = await listening(t);
  const large = new Uint8Array(8 << 20);
  const headers = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' };
  for (let round = 0; round < 3; round++) {
    const url = `http://127.0.0.1:${port}${HOST_PATH}/clock`;
    const answer = await fetch(url, { method: 'POST', headers, body: large });
    assert.equal(answer.status, 413);
  }
});

test('behind an answer that ends the connection nothing is begun', async (t) => {
  const { dial, lanes } = await listening(t);
  const socket = await dial();
  const large = requestOf(CLOCK, 'x'.repeat(100_000));
  socket.write(large.slice(0, 300));
  const ended = untilEnd(socket);
  await once(socket, 'data');
  socket.write(large.slice(300) + requestOf(`POST ${HOST_PATH}/crash`));
  socket.end();
  assert.deepEqual(problemsIn(await ended), ['413 body-too-large']);
  assert.deepEqual(lanes.commands, []);
});

test('a tenant whose bodies are too much at once is 429 with Retry-After, before they are read; others are not', async (t) => {
  const { dial, lanes, ask } = await listening(t, { tenantBodies: 2 * BATCH_LIMIT, allBodies: 3 * BATCH_LIMIT });
  const goOn = Promise.withResolvers<void>();
  lanes.onBatch = async () => {
    await goOn.promise;
    return { kind: 'ok', value: {} };
  };
  const largest = `{"operations":[]${' '.repeat(BATCH_LIMIT - 17)}}`;
  const unfinished = requestOf(BATCH, largest).slice(0, -1);
  const own = [await dial(), await dial()];
  for (const socket of own) socket.write(unfinished);
  const one = await refusedSoon({});
  assert.deepEqual(problemsIn(one), ['429 too-much-at-once']);
  assert.match(one[0]!.headers, /retry-after: 1\r\n/i);
  assert.match(JSON.parse(one[0]!.body).detail, /HOLDOVER_TENANT_BODIES/);
  // What is small, too, as it would be one more.
  assert.equal((await ask('post', `${HOST_PATH}/clock`, { advance: 1 })).status, 429);
  assert.equal((await ask('get', HOST_PATH)).status, 200);
  // Of another tenant there is room for one.
  const other = { authorization: `Bearer ${OTHER_KEY}` };
  const path = BATCH.replace('h-one', 'h-of-another');
  const another = await dial();
  another.write(requestOf(path, largest, other).slice(0, -1));
  const two = await refusedSoon(other, path);
  assert.deepEqual(problemsIn(two), ['503 unavailable']);
  assert.match(two[0]!.headers, /retry-after: 1\r\n/i);
  assert.match(JSON.parse(two[0]!.body).detail, /HOLDOVER_ALL_BODIES/);
  // When one has been answered there is room again.
  own[0]!.write('}');
  goOn.resolve();
  const [answer] = (await once(own[0]!, 'data')) as [Buffer];
  assert.match(String(answer), /^HTTP\/1\.1 200 /);
  assert.equal((await ask('post', `${HOST_PATH}/clock`, { advance: 1 })).status, 200);
  // Nor is anything left of one whose client has gone.
  own[1]!.destroy();
  another.destroy();
  for (let status = 0; status !== 200; ) status = (await ask('post', BATCH.slice(5), largest).type('json')).status;

  async function refusedSoon(headers: Record<string, string>, line = BATCH) {
    const socket = await dial();
    // Only its head: the answer comes before the body.
    socket.write(requestOf(line, largest, headers).slice(0, -largest.length));
    return await untilEnd(socket);
  }
});

test('a body that does not say its length is counted as it grows', async (t) => {
  const { dial } = await listening(t, { tenantBodies: BATCH_LIMIT, allBodies: BATCH_LIMIT });
  const sockets = [await dial(), await dial()];
  const grow = chunk(' '.repeat(40_000));
  for (const socket of sockets) socket.write(requestOf(BATCH, undefined, CHUNKED) + grow);
  sockets[0]!.write(grow);
  assert.deepEqual(problemsIn(await untilEnd(sockets[0]!)), ['429 too-much-at-once']);
  sockets[1]!.destroy();
});
