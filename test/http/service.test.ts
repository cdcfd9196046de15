import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fixture, HOST } from './fixture.ts';

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

test('while it stops, requests that have begun are answered and new ones are refused', async (t) => {
  const { app, ask, lanes } = await fixture(t);
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  assert.match(url, /^http/);
  const begun = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  lanes.onCommand = async () => {
    begun.resolve();
    await goOn.promise;
    return { kind: 'ok', value: { state: 'running' } };
  };
  const running = ask('post', `/v1/hosts/${HOST}/crash`).then((answer) => answer);
  await begun.promise;
  const refused = new Promise<number>((resolve) => {
    app.server.once('request', (_request, response) => response.once('finish', () => resolve(response.statusCode)));
  });
  const late = ask('get', '/livez', undefined, null).then(
    (answer) => answer,
    () => null,
  );
  const closed = app.close();
  goOn.resolve();
  assert.equal((await running).status, 200);
  await closed;
  const answer = await late;
  if (answer !== null) assert.equal(await refused, answer.status);
});
