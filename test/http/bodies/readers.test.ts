/** Large bodies, which are read in threads of their own: what comes of them is what comes of small ones. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Readers } from '../../../src/http/bodies/readers.ts';
import type { Problem } from '../../../src/http/problems.ts';
import { LARGE, MAX_READ, MAX_WRITTEN, READERS } from '../../../src/limits.ts';
import type { HostRow } from '../../../src/store/store.ts';
import { type Fixture, fixture, HOST, OTHER_HOST, OTHER_KEY, pointers } from '../fixture.ts';

const CALLS = `/v1/hosts/${HOST}/processes/1/calls`;
const LIMIT = 8 << 20;

/** As JSON allows it, so that the same body is a large one. */
function padded(value: object): string {
  const text = JSON.stringify(value);
  return `${text.slice(0, -1)}${' '.repeat(LARGE)}${text.at(-1)}`;
}

async function both({ ask }: Fixture, path: string, value: object) {
  const small = await ask('post', path, value);
  const large = await ask('post', path, padded(value)).type('json');
  for (const { body } of [small, large]) delete body.instance;
  assert.deepEqual([large.status, large.body], [small.status, small.body]);
  return large;
}

test('a large body is the command that it would be as a small one', async (t) => {
  const service = await fixture(t, { bodyLimit: LIMIT });
  const calls = [
    { call: 'open', path: '/dev/iommu' },
    { call: 'poke', addr: '0x1000', data: 'AAAA' },
  ];
  service.lanes.onCommand = () => ({ kind: 'ok', value: { results: [{ ret: 3 }, { ret: 0 }] } });
  await both(service, CALLS, { calls, stop_on_error: true });
  const command = { op: 'calls', pid: 1, calls, stopOnError: true };
  assert.deepEqual(service.lanes.commands, [command, command]);
  // One that no lane is asked for as a whole.
  service.lanes.commands.length = 0;
  service.lanes.onCommand = () => ({ kind: 'ok', value: { results: [{ ret: 0 }] } });
  await both(service, `/v1/hosts/${HOST}/processes/1/memfds`, { size: 4096, name: 'ü' });
  assert.deepEqual(service.lanes.commands[0], service.lanes.commands[1]);
});

test('what is wrong with a large body is told as of a small one', async (t) => {
  const service = await fixture(t, { bodyLimit: LIMIT });
  const peek = { call: 'peek', addr: 0, length: 1 << 20 };
  for (const [path, value] of [
    [CALLS, { calls: [{ call: 'opn' }, { call: 'close', df: 3 }], more: 1 }],
    [CALLS, { calls: Array.from({ length: MAX_READ / peek.length + 1 }, () => peek) }],
    [CALLS, { calls: [{ call: 'poke', addr: 0, data: Buffer.alloc(MAX_WRITTEN + 1).toString('base64') }] }],
    [CALLS, []],
    [CALLS.replace('/1/', '/x/'), { calls: [] }],
    [`/v1/hosts/${HOST}/crash`, { what: 1 }],
    ['/v1/hosts', { devices: [{ bdf: '01:00' }] }],
    ['/v1/hosts', { topology: { text: 'IOMMU Group 1:\n?? 00:01.0' } }],
  ] as const) {
    const { status } = await both(service, path, value);
    assert.equal(status, 400, JSON.stringify(value).slice(0, 100));
  }
  for (const body of ['{"a":', '{"__proto__":{}}', '']) {
    const { status, body: problem } = await service.ask('post', CALLS, body + ' '.repeat(LARGE)).type('json');
    assert.deepEqual([status, problem.type], [400, '/problems/malformed-body'], body);
  }
  const bytes = Buffer.concat([Buffer.from('{"calls":"\xff', 'latin1'), Buffer.alloc(LARGE, 0x20), Buffer.from('"}')]);
  const url = await service.app.listen({ host: '127.0.0.1', port: 0 });
  const headers = { authorization: 'Bearer key-of-acme', 'content-type': 'application/json' };
  const answer = await fetch(`${url}${CALLS}`, { method: 'POST', headers, body: bytes });
  assert.match(((await answer.json()) as { detail: string }).detail, /UTF-8/);
  assert.deepEqual(service.lanes.commands, []);
});

test('a large description makes the host that it says', async (t) => {
  const service = await fixture(t, { bodyLimit: LIMIT });
  const { body } = await service
    .ask('post', '/v1/hosts', padded({ name: 'large', devices: [{ bdf: '01:00.0' }] }))
    .type('json');
  assert.equal(body.name, 'large');
  const [{ spec }] = service.lanes.rows as [HostRow];
  assert.equal(spec.machine.functions[0]!.bdf, '0000:01:00.0');
});

/** It takes long to find out what is wrong with it. */
const hard = JSON.stringify({
  calls: [],
  ...Object.fromEntries(Array.from({ length: 60_000 }, (_, i) => [`k${i}`, i])),
});

test('others are answered while a large body is read', async (t) => {
  const { ask } = await fixture(t, { bodyLimit: LIMIT });
  // The thread is there already.
  await ask('post', CALLS, padded({ calls: [] })).type('json');
  let over = false;
  const reading = ask('post', CALLS, hard)
    .type('json')
    .then((answer) => {
      over = true;
      return answer;
    });
  let answered = 0;
  for (; !over; answered++) assert.equal((await ask('get', '/livez')).status, 200);
  const { body } = await reading;
  assert.match(body.detail, / \(and 59999 more, see errors\)$/);
  assert.equal(pointers(body).length, 20);
  assert.ok(answered > 5, `${answered} others were answered meanwhile`);
});

test('tenants take turns, so that one with many large bodies waits for itself', async (t) => {
  const { ask } = await fixture(t, { bodyLimit: LIMIT });
  const done: string[] = [];
  const MANY = READERS * 4;
  const many = Array.from({ length: MANY }, () =>
    ask('post', CALLS, hard)
      .type('json')
      .then(() => done.push('many')),
  );
  // All of them have arrived when the first is done.
  await Promise.race(many);
  const path = CALLS.replace(HOST, OTHER_HOST);
  const one = ask('post', path, hard, OTHER_KEY)
    .type('json')
    .then(() => done.push('one'));
  await Promise.all([one, ...many]);
  assert.ok(done.indexOf('one') < MANY - 1, done.join());
});

test('a reader that ends is a problem that has changed nothing, and another one takes its place', async () => {
  const readers = new Readers();
  const asked = { operationId: 'runCalls', params: { pid: 1 }, query: {} };
  const bytes = (): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from('{"calls":[]}'));
  const reading = readers.read('acme', asked, bytes());
  await readers.kill();
  await assert.rejects(reading, (problem: Problem) => problem.kind === 'unavailable');
  const { light } = (await readers.read('acme', asked, bytes())) as { light: unknown };
  assert.deepEqual(light, { reads: 0, frees: true });
  await readers.close();
});
