import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fixture, HOST, KEY } from './fixture.ts';

test('/livez and /readyz need no key', async (t) => {
  const { ask } = await fixture(t);
  for (const path of ['/livez', '/readyz']) {
    const { status, body } = await ask('get', path, undefined, null);
    assert.deepEqual([status, body], [200, { status: 'ok' }]);
  }
});

test('a service whose store is gone lives, but is not ready', async (t) => {
  const { ask, store } = await fixture(t);
  store.close();
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
  assert.match(answers, /^HTTP\/1\.1 200 [\s\S]*HTTP\/1\.1 503 [\s\S]*"type":"\/problems\/unavailable"/);
});
