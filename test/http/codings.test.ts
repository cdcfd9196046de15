import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fixture, KEY } from './fixture.ts';

/** Built into Node, loaded when `fetch`, `Response` or the like is used for the first time. */
const isFetchLoaded = (): boolean =>
  (process as unknown as { moduleLoadList: string[] }).moduleLoadList.some((name) => name.endsWith('/undici/undici'));

test('an answer that is not to be compressed does not wait until all that fetch consists of is loaded', async (t) => {
  const { app } = await fixture(t);
  assert.equal(isFetchLoaded(), false);
  assert.equal((await app.inject('/livez')).statusCode, 200);
  const small = await app.inject({ url: '/livez', headers: { 'accept-encoding': 'gzip' } });
  assert.deepEqual([small.statusCode, small.headers['content-encoding']], [200, undefined]);
  assert.equal(isFetchLoaded(), false);
  const headers = { 'accept-encoding': 'gzip', authorization: `Bearer ${KEY}` };
  const large = await app.inject({ url: '/v1/presets', headers });
  assert.deepEqual([large.statusCode, large.headers['content-encoding']], [200, 'gzip']);
});
