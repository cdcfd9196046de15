import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { HostDamaged, makeLaneError } from '../../src/lanes/errors.ts';
import { unavailable } from '../../src/store/sqlite/errors.ts';
import { StoreFull } from '../../src/store/store.ts';
import { receiveError, sendError } from '../../src/threads/errors.ts';
import { ADMIN_KEY, fixture, HOST, KEY } from './fixture.ts';

test('/livez and /readyz need no key', async (t) => {
  const { ask } = await fixture(t);
  for (const [path, answer] of [
    ['/livez', { status: 'ok' }],
    ['/readyz', { status: 'ok', inspected: false, damage: [], more: 0 }],
  ] as const) {
    const { status, body } = await ask('get', path, undefined, null);
    assert.deepEqual([status, body], [200, answer]);
  }
});

test('/readyz lists what is damaged, and is ready all the same', async (t) => {
  const { ask, store } = await fixture(t);
  await store.inspect(() => {});
  for (let host = 0; host < 103; host += 1) store.damage.add({ hostId: `h-${host}`, kind: 'end', what: 'it is gone' });
  assert.equal(store.damage.add({ hostId: 'h-0', kind: 'end', what: 'it is gone' }), false);
  store.damage.add({ hostId: null, kind: 'database', what: 'a page' });
  const { status, body } = await ask('get', '/readyz', undefined, ADMIN_KEY);
  assert.deepEqual(
    [status, body.status, body.inspected, body.damage.length, body.more],
    [200, 'damaged', true, 100, 4],
  );
  assert.match(body.damage[0].since, /^20/);
  assert.deepEqual({ ...body.damage[0], since: 0 }, { host: 'h-0', kind: 'end', what: 'it is gone', since: 0 });
});

test('/readyz names hosts to whoever has the admin key, and counts them for others', async (t) => {
  const { ask, store } = await fixture(t);
  store.damage.add({ hostId: HOST, kind: 'end', what: 'it is gone' });
  store.damage.add({ hostId: null, kind: 'marks', what: 'lines' });
  for (const key of [null, KEY, 'no-such-key']) {
    const { status, body, text } = await ask('get', '/readyz', undefined, key);
    assert.deepEqual([status, body.status, body.more], [200, 'damaged', 1]);
    assert.deepEqual(
      body.damage.map(({ what }: { what: string }) => what),
      ['lines'],
    );
    assert.doesNotMatch(text, new RegExp(`${HOST}|it is gone`));
  }
  assert.equal((await ask('get', '/readyz', undefined, ADMIN_KEY)).body.damage[0].host, HOST);
});

test('a database that is damaged is not told as one to be tried again', async (t) => {
  const { ask, store, lanes } = await fixture(t);
  const corrupt = Object.assign(new Error('database disk image is malformed'), { code: 'SQLITE_CORRUPT' });
  store.writeBy({
    write: () => Promise.reject(receiveError(sendError(unavailable('cannot store it', corrupt)), makeLaneError)),
  });
  lanes.onCommand = () => Promise.reject(new HostDamaged('command 3 of the host is damaged'));
  for (const [answer, detail] of [
    [
      await ask('get', '/readyz', undefined, null),
      /^Cannot store it: the database \(holdover\.db .* a copy of it put back\.$/,
    ],
    [await ask('post', `/v1/hosts/${HOST}/crash`), /^Command 3 of the host is damaged\.$/],
  ] as const) {
    assert.deepEqual(
      [answer.status, answer.body.type, answer.headers['retry-after']],
      [500, '/problems/damaged', undefined],
    );
    assert.match(answer.body.detail, detail);
  }
});

test('/livez and /readyz take any query', async (t) => {
  const { ask } = await fixture(t);
  for (const path of ['/livez?_=1', '/readyz?verbose&exclude=etcd&exclude=x&a[b]=%00'])
    assert.equal((await ask('get', path, undefined, null)).status, 200, path);
});

test('a service whose disk is full lives, but is not ready until there is room', async (t) => {
  const { ask, store, lanes } = await fixture(t);
  let full = true;
  let writes = 0;
  store.writeBy({
    async write() {
      writes += 1;
      // As it comes from the thread that writes.
      if (full) {
        throw receiveError(sendError(new StoreFull('cannot store it: database or disk is full')), makeLaneError);
      }
      return 1;
    },
  });
  lanes.onCommand = () => Promise.reject(new StoreFull('cannot store it'));
  for (const answer of [
    await ask('get', '/readyz', undefined, null),
    await ask('post', `/v1/hosts/${HOST}/crash`),
    await ask('get', '/readyz', undefined, null),
  ]) {
    assert.equal(answer.status, 503);
    assert.match(answer.body.detail, /^The disk of the data directory \(HOLDOVER_DATA_DIR\) is full\. /);
  }
  assert.equal((await ask('get', '/livez', undefined, null)).status, 200);
  full = false;
  writes = 0;
  const answers = await Promise.all(Array.from({ length: 20 }, () => ask('get', '/readyz', undefined, null)));
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  assert.ok(writes < 5, `${writes} writes`);
});

test('a writer that is busy leaves the service as ready as it was', async (t) => {
  const { ask, store } = await fixture(t);
  const room = Promise.withResolvers<number>();
  store.writeBy({ write: () => room.promise });
  assert.equal((await ask('get', '/readyz', undefined, null)).status, 200);
  room.reject(new StoreFull('cannot store it'));
  assert.equal((await ask('get', '/readyz', undefined, null)).status, 503);
});

test('a service whose store is gone lives, but is not ready', async (t) => {
  const { ask, store } = await fixture(t);
  await store.close();
  assert.equal((await ask('get', '/livez', undefined, null)).status, 200);
  const { status, headers, body } = await ask('get', '/readyz', undefined, null);
  assert.equal(status, 503);
  assert.equal(headers['retry-after'], '1');
  assert.equal(body.type, '/problems/unavailable');
  assert.equal((await ask('get', '/v1/hosts')).status, 503);
});

test('while it stops, what has begun is answered, and what comes after it is refused', async (t) => {
  const { app, lanes } = await fixture(t);
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  const begun = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  lanes.onCommand = async () => {
    begun.resolve();
    await goOn.promise;
    return { kind: 'ok', value: {} };
  };
  // Two requests on one connection: the second arrives when the service is stopping.
  const socket = connect(port, '127.0.0.1');
  const send = (line: string) => socket.write(`${line} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${KEY}\r\n\r\n`);
  send(`POST /v1/hosts/${HOST}/crash`);
  await begun.promise;
  const refused = once(app.server, 'request');
  const closed = app.close();
  send('GET /livez');
  await refused;
  goOn.resolve();
  const answers = await text(socket);
  await closed;
  assert.match(answers, /^HTTP\/1\.1 200 [\s\S]*HTTP\/1\.1 503 [\s\S]*"type":"\/problems\/service-stopping"/);
});
