/** Answers that are large: they come through as they are, and what they take of memory is counted. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { LARGE } from '../../src/limits.ts';
import { useApp } from '../support/app.ts';
import { fixture, HOST } from './fixture.ts';
import { HOST_PATH, listening, requestOf } from './sockets.ts';

const MIB = 1 << 20;
const app = useApp();

test('what is read comes back, however much it is', async () => {
  const host = await app.host();
  const process = await host.process();
  await process.mmap(0x7f00_0000_0000, 4 * MIB);
  const pokes = Array.from({ length: 4 }, (_, index) => ({
    call: 'poke',
    addr: `0x${(0x7f00_0000_0000 + index * MIB).toString(16)}`,
    data: Buffer.alloc(MIB, index + 1).toString('base64'),
  }));
  // These bodies are large, too.
  for (const poke of pokes) await host.runCalls(process.pid, [poke]);
  const results = await host.runCalls(
    process.pid,
    pokes.map(({ addr }) => ({ call: 'peek', addr, length: MIB })),
  );
  for (const [index, { data }] of results.entries())
    assert.deepEqual(Buffer.from(data!, 'base64'), Buffer.alloc(MIB, index + 1));
});

test('a host of many functions is described in its answer and in a list', async () => {
  const devices = Array.from({ length: 600 }, (_, index) => ({
    bdf: `0000:${(index >> 3).toString(16).padStart(2, '0')}:00.${index & 7}`,
  }));
  const made = await app.agent.post('/v1/hosts').set('authorization', `Bearer ${app.key}`).send({ devices });
  assert.equal(made.status, 201, made.text);
  assert.ok(made.text.length > LARGE && made.text.endsWith('\n'));
  assert.equal(made.headers['content-type'], 'application/json');
  assert.deepEqual(made.body.notes, []);
  const list = await app.agent.get(`/v1/hosts/${made.body.id}/devices`).set('authorization', `Bearer ${app.key}`);
  assert.equal(list.body.nextPageToken, null);
  assert.deepEqual(list.body.items, made.body.devices);
  // As a small one has it.
  assert.deepEqual(Object.keys(list.body), ['items', 'nextPageToken']);
  assert.equal(list.body.items.length, 600);
  assert.ok(list.text.endsWith('\n'));
});

test('calls that read more than there is room for are not run', async (t) => {
  const { ask, lanes } = await fixture(t, { tenantBodies: 4 * MIB, allBodies: 8 * MIB });
  const peeks = (count: number) => ({
    calls: Array.from({ length: count }, () => ({ call: 'peek', addr: 0, length: MIB })),
  });
  const path = `/v1/hosts/${HOST}/processes/1/calls`;
  const { status, body, headers } = await ask('post', path, peeks(4));
  assert.deepEqual([status, body.type, headers['retry-after']], [429, '/problems/too-much-at-once', '1']);
  const dma = `/v1/hosts/${HOST}/devices/0000:01:00.0/dma`;
  const accesses = Array.from({ length: 4 }, () => ({ op: 'read', iova: 0, length: MIB }));
  assert.equal((await ask('post', dma, { accesses })).status, 429);
  assert.deepEqual(lanes.commands, []);
  assert.equal((await ask('post', path, peeks(2))).status, 200);
  assert.equal((await ask('post', dma, { accesses: accesses.slice(2) })).status, 200);
});

test('answers that nobody reads are counted, and others of the tenant refused', async (t) => {
  // More than the system holds for those who do not read.
  const size = 24 * MIB;
  const { ask, dial, lanes } = await listening(t, { tenantBodies: 2 * size, allBodies: 4 * size });
  lanes.onQuery = () => ({ kind: 'ok', value: Buffer.from(`["${'x'.repeat(size - 100)}"]\n`) });
  const unread = [await dial(), await dial()];
  for (const socket of unread) {
    socket.write(requestOf(`GET ${HOST_PATH}/devices`));
    await once(socket, 'readable');
  }
  assert.equal((await ask('get', `${HOST_PATH}/devices`)).status, 429);
  for (const socket of unread) socket.destroy();
  for (let status = 0; status !== 200; ) status = (await ask('get', `${HOST_PATH}/devices`)).status;
});
