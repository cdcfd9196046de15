/** What all answers have: an id, codings that the client can read, and nothing for pages of other origins unless that is configured. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { buffer, text } from 'node:stream/consumers';
import { test } from 'node:test';
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import { ADMIN_KEY, type Fixture, fixture, HOST, KEY } from './fixture.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';

type Line = Record<string, unknown>;

async function linesOf({ app, logged }: Fixture): Promise<Line[]> {
  await app.close();
  const lines = logged().trim().split('\n');
  return lines.map((line) => JSON.parse(line) as Line).filter(({ msg }) => msg === 'request' || msg === 'no request');
}

async function portOf({ app }: Fixture): Promise<number> {
  await app.listen({ host: '127.0.0.1', port: 0 });
  return (app.server.address() as AddressInfo).port;
}

async function fetched(port: number, path: string, headers: OutgoingHttpHeaders): Promise<IncomingMessage> {
  const asked = get({ port, path, headers: { authorization: `Bearer ${KEY}`, ...headers } });
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  return answer;
}

test('every answer has the id of its request, which is that of its problem and of its line in the log', async (t) => {
  const service = await fixture(t);
  const { ask, lanes } = service;
  lanes.onQuery = () => ({ kind: 'ok', value: [] });
  const answers = [
    await ask('get', '/v1/hosts'),
    await ask('head', '/v1/hosts'),
    await ask('post', `/v1/hosts/${HOST}/crash`),
    await ask('get', '/livez', undefined, null),
    await ask('get', '/docs/', undefined, null),
    await ask('get', '/openapi.json', undefined, null),
    await ask('get', '/v1/admin/tenants', undefined, ADMIN_KEY),
    await ask('get', '/v1/hosts', undefined, null),
    await ask('get', '/v1/hosts/h-unknown'),
    await ask('get', '/nowhere'),
    await ask('get', '/%'),
    await ask('put', '/livez', undefined, null),
    await ask('post', `/v1/hosts/${HOST}/clock`, {}),
    await ask('post', '/v1/hosts', '{').type('json'),
  ];
  for (const { headers, body, status } of answers) {
    assert.match(headers['x-request-id']!, UUID);
    if (status >= 400) assert.equal(body.instance, headers['x-request-id']);
  }
  const lines = await linesOf(service);
  assert.deepEqual(
    answers.map(({ headers }) => headers['x-request-id']).filter((id) => !lines.some(({ reqId }) => reqId === id)),
    [],
  );
  assert.equal(new Set(lines.map(({ reqId }) => reqId)).size, answers.length);
});

test('a client may say what its request is called, in a way that can stand in a log', async (t) => {
  const service = await fixture(t);
  const { ask } = service;
  const called = async (id: string): Promise<string> =>
    (await ask('get', '/nowhere').set('x-request-id', id)).headers['x-request-id']!;
  for (const id of ['a', 'ci-4711/7', 'A.b_c~d:e/f+g=h-i', 'x'.repeat(128)]) assert.equal(await called(id), id);
  for (const id of ['', ' ', 'x'.repeat(129), 'two words', 'a, b', '"a"', '{}', 'é'])
    assert.match(await called(id), UUID, id);
  const { body } = await ask('get', '/nowhere').set('x-request-id', 'mine');
  assert.equal(body.instance, 'mine');
  assert.ok((await linesOf(service)).some(({ reqId }) => reqId === 'mine'));
});

test('the log names the trace that a request is part of', async (t) => {
  const service = await fixture(t);
  const parents: [string, string | undefined][] = [
    [`00-${TRACE}-00f067aa0ba902b7-01`, TRACE],
    [`01-${TRACE}-00f067aa0ba902b7-01-what-comes-later`, TRACE],
    [`00-${TRACE}-00f067aa0ba902b7-01-more`, undefined],
    [`ff-${TRACE}-00f067aa0ba902b7-01`, undefined],
    [`00-${'0'.repeat(32)}-00f067aa0ba902b7-01`, undefined],
    [`00-${TRACE}-${'0'.repeat(16)}-01`, undefined],
    [`00-${TRACE.toUpperCase()}-00f067aa0ba902b7-01`, undefined],
    ['nonsense', undefined],
  ];
  for (const [parent] of parents) await service.ask('get', '/v1/hosts').set('traceparent', parent);
  await service.ask('get', '/v1/hosts');
  const traces = (await linesOf(service)).map(({ traceId }) => traceId);
  assert.deepEqual(traces, [...parents.map(([, trace]) => trace), undefined]);
});

test('what is no request has an id as well', async (t) => {
  const service = await fixture(t);
  const socket = connect(await portOf(service), '127.0.0.1');
  socket.write('what is this\r\n\r\n');
  const [head, body] = (await text(socket)).split('\r\n\r\n') as [string, string];
  const id = /^X-Request-Id: (.*)$/m.exec(head)?.[1] ?? '';
  assert.match(id, UUID);
  assert.equal(JSON.parse(body).instance, id);
  const { time: _time, pid: _pid, hostname: _hostname, level: _level, ...line } = (await linesOf(service))[0]!;
  assert.deepEqual(line, { reqId: id, status: 400, problem: 'malformed-body', msg: 'no request' });
});

test('a stream of events has the id of its request', async (t) => {
  const service = await fixture(t);
  await service.ask('get', `/v1/hosts/${HOST}/events`);
  const headers = { accept: 'text/event-stream', 'x-request-id': 'mine', 'accept-encoding': 'gzip' };
  const stream = await fetched(await portOf(service), `/v1/hosts/${HOST}/events`, headers);
  assert.equal(stream.headers['content-type'], 'text/event-stream');
  assert.equal(stream.headers['x-request-id'], 'mine');
  assert.equal(stream.headers['content-encoding'], undefined);
  stream.destroy();
});

test('a host that something is wrong with has no tag, as that is found out at any time', async (t) => {
  const { ask, lanes, store } = await fixture(t);
  lanes.onQuery = () => ({ kind: 'ok', value: { state: 'running' }, sequence: 5 });
  const read = async (path = ''): Promise<unknown> => {
    const { status, headers } = await ask('get', `/v1/hosts/${HOST}${path}`).set('if-none-match', '"5"');
    return [status, headers.etag];
  };
  assert.deepEqual(await read(), [304, '"5"']);
  store.damage.add({ hostId: HOST, kind: 'events', what: 'some of its past' });
  assert.deepEqual(await read(), [200, undefined]);
  lanes.onQuery = () => ({ kind: 'ok', value: [], sequence: 5 });
  assert.deepEqual(await read('/devices'), [304, '"5"']);
});

/** An answer of about so many bytes. */
const listOf = (bytes: number): { name: string }[] =>
  Array.from({ length: Math.ceil(bytes / 50) }, (_, at) => ({
    name: `driver ${at} of those that there are`.padEnd(38),
  }));

test('answers that are not small are sent in a coding that the client reads', async (t) => {
  const service = await fixture(t);
  const { lanes } = service;
  const port = await portOf(service);
  const path = `/v1/hosts/${HOST}/snapshots`;
  const decoders = { gzip: gunzipSync, br: brotliDecompressSync, zstd: zstdDecompressSync };
  // What is compressed at once, and what piece by piece.
  for (const bytes of [4000, 200_000]) {
    const items = listOf(bytes);
    lanes.onQuery = () => ({ kind: 'ok', value: items });
    const plain = await fetched(port, path, {});
    const whole = await buffer(plain);
    assert.deepEqual([plain.headers['content-encoding'], whole.length > bytes], [undefined, true]);
    for (const [coding, decode] of Object.entries(decoders)) {
      const answer = await fetched(port, path, { 'accept-encoding': `${coding}, identity;q=0.5` });
      assert.equal(answer.headers['content-encoding'], coding);
      assert.match(answer.headers.vary ?? '', /accept-encoding/);
      const coded = await buffer(answer);
      assert.ok(coded.length < whole.length / 4, `${coding}: ${coded.length} of ${whole.length}`);
      assert.ok(decode(coded).equals(whole), coding);
    }
    const none = await fetched(port, path, { 'accept-encoding': 'compress, identity' });
    assert.equal(none.headers['content-encoding'], undefined);
    assert.ok((await buffer(none)).equals(whole));
  }
});

test('small answers, and lines, are sent as they are', async (t) => {
  const service = await fixture(t);
  const { lanes } = service;
  const port = await portOf(service);
  const headers = { 'accept-encoding': 'gzip, br, zstd' };
  lanes.onQuery = () => ({ kind: 'ok', value: listOf(500) });
  const small = await fetched(port, `/v1/hosts/${HOST}/snapshots`, headers);
  assert.equal(small.headers['content-encoding'], undefined);
  assert.ok(Number(small.headers['content-length']) > 500);
  await buffer(small);
  const errors = Array.from({ length: 100 }, (_, index) => ({ index, errno: 'EINVAL', where: 'a', why: 'b' }));
  lanes.onBatch = () => ({
    kind: 'ok',
    value: { applied: 0, failed: 100, mappedBytes: '0x0', unmappedBytes: '0x0', stopped: false, errors },
  });
  const lines = await service
    .ask('post', `/v1/hosts/${HOST}/processes/1/iommufds/3/ioases/1/batch`)
    .set(headers)
    .type('application/x-ndjson')
    .send('{"op":"unmap","iova":0,"length":4096}\n');
  assert.deepEqual([lines.status, lines.headers['content-encoding']], [200, undefined]);
  assert.ok(lines.text.length > 1024, lines.text);
});

test('no page of another origin may use the service, and none is told that it may not', async (t) => {
  const { ask } = await fixture(t);
  const answer = await ask('get', '/v1/hosts').set('origin', 'https://lab.example');
  assert.deepEqual(
    Object.keys(answer.headers).filter((name) => name.startsWith('access-control-')),
    [],
  );
});

test('pages of the origins that are named may, and see what they need', async (t) => {
  const { app, ask } = await fixture(t, { corsOrigins: ['https://lab.example', 'http://localhost:3000'] });
  const answer = await ask('get', '/v1/hosts').set('origin', 'https://lab.example');
  assert.equal(answer.headers['access-control-allow-origin'], 'https://lab.example');
  assert.match(answer.headers.vary!, /Origin/i);
  const exposed = answer.headers['access-control-expose-headers']!.toLowerCase();
  for (const name of ['etag', 'location', 'x-request-id', 'retry-after']) assert.ok(exposed.includes(name), name);
  const refused = await ask('get', '/v1/hosts/h-unknown').set('origin', 'http://localhost:3000');
  assert.deepEqual([refused.status, refused.headers['access-control-allow-origin']], [404, 'http://localhost:3000']);
  assert.equal(
    (await ask('get', '/v1/hosts').set('origin', 'https://lab.example.org')).headers['access-control-allow-origin'],
    undefined,
  );
  const asked = await app.inject({
    method: 'OPTIONS',
    url: `/v1/hosts/${HOST}/clock`,
    headers: {
      host: 'localhost',
      origin: 'https://lab.example',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization, if-match',
    },
  });
  assert.equal(asked.statusCode, 204);
  assert.match(asked.headers['x-request-id'] as string, UUID);
  assert.equal(asked.headers['access-control-allow-origin'], 'https://lab.example');
  assert.equal(asked.headers['access-control-allow-headers'], 'authorization, if-match');
  assert.match(String(asked.headers['access-control-allow-methods']), /DELETE/);
});

test('pages of any origin may where that is said', async (t) => {
  const { ask } = await fixture(t, { corsOrigins: ['*'] });
  const answer = await ask('get', '/v1/hosts').set('origin', 'https://anywhere.example');
  assert.equal(answer.headers['access-control-allow-origin'], '*');
});
