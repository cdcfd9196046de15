/** Throw-away tenants: they share the quotas of their maker, and go with all that they have. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashKey } from '../../src/store/store.ts';
import { ADMIN_KEY, type Fixture, fixture } from './fixture.ts';

const TENANTS = '/v1/tenants';
const HOSTS = '/v1/hosts';

interface Made {
  id: string;
  key: string;
  name: string;
  expiresAt: string;
}

async function made({ ask }: Fixture, body: object = {}): Promise<Made> {
  const answer = await ask('post', TENANTS, { ttlSeconds: 60, ...body });
  assert.equal(answer.status, 201, answer.text);
  return answer.body;
}

test('one has a key and an end, and is deleted with its hosts by whoever has made it', async (t) => {
  const service = await fixture(t);
  const { ask, store } = service;
  const before = Date.now();
  const { id, key, name, expiresAt } = await made(service, { name: 'run-1' });
  assert.equal(name, 'acme/run-1');
  assert.ok(Date.parse(expiresAt) >= before + 60_000 && Date.parse(expiresAt) <= Date.now() + 60_000);
  assert.equal((await ask('post', HOSTS, { devices: [] }, key)).status, 201);
  assert.equal((await ask('get', HOSTS, undefined, key)).body.items.length, 1);
  const listed = (await ask('get', TENANTS)).body.items;
  assert.deepEqual(
    listed.map((one: object) => Object.keys(one)),
    [['id', 'name', 'created', 'expiresAt']],
  );
  assert.equal((await ask('delete', `${TENANTS}/${id}`)).status, 204);
  assert.equal((await ask('get', HOSTS, undefined, key)).status, 401);
  assert.equal((await ask('delete', `${TENANTS}/${id}`)).status, 404);
  assert.deepEqual((await ask('get', TENANTS)).body.items, []);
  assert.equal(await store.tenants.get(id), undefined);
  assert.deepEqual(await store.hosts.list(id, 10), []);
});

test('what is asked for wrongly is refused, and names the field', async (t) => {
  const { ask } = await fixture(t);
  for (const [body, pointer] of [
    [{}, '/ttlSeconds'],
    [{ ttlSeconds: 0 }, '/ttlSeconds'],
    [{ ttlSeconds: 30 * 86_400 + 1 }, '/ttlSeconds'],
    [{ ttlSeconds: 60, name: 'a/b' }, '/name'],
    [{ ttlSeconds: 60, quotas: {} }, '/quotas'],
  ] as const) {
    const refused = await ask('post', TENANTS, body);
    assert.deepEqual([refused.status, refused.body.errors[0].pointer], [400, pointer]);
  }
});

test('all of them together have the quotas of their maker, and no more', async (t) => {
  const service = await fixture(t, { quotas: { hosts: 3, tenants: 2 } });
  const { ask } = service;
  const [one, two] = [await made(service), await made(service)];
  const third = await ask('post', TENANTS, { ttlSeconds: 60 });
  assert.deepEqual([third.status, third.body.quota, third.body.limit], [403, 'tenants', 2]);
  // The maker has one host already.
  assert.equal((await ask('post', HOSTS, { devices: [] }, one.key)).status, 201);
  assert.equal((await ask('post', HOSTS, { devices: [] }, two.key)).status, 201);
  for (const key of [undefined, one.key, two.key]) {
    const refused = await ask('post', HOSTS, { devices: [] }, key);
    assert.deepEqual([refused.status, refused.body.quota, refused.body.used], [403, 'hosts', 3]);
    const { quotas } = (await ask('get', '/v1/usage', undefined, key)).body;
    assert.deepEqual([quotas.hosts.used, quotas.tenants.used, quotas.tenants.limit], [3, 2, 2]);
  }
  assert.equal((await ask('post', '/v1/reset', {}, two.key)).body.hosts, 1);
  assert.equal((await ask('post', HOSTS, { devices: [] })).status, 201);
});

test('they count requests together', async (t) => {
  const service = await fixture(t, { quotas: { requests: 10 } });
  const { key } = await made(service);
  // Each of them may make as many as both do together, less the one that has made the child.
  const askers = Array.from({ length: 18 }, (_, index) => (index % 2 === 0 ? undefined : key));
  const answers = await Promise.all(askers.map(async (one) => await service.ask('get', HOSTS, undefined, one)));
  assert.deepEqual([...new Set(answers.map(({ status }) => status))].sort(), [200, 429]);
});

test('the quotas of the maker that the admin changes are theirs, and theirs alone are none', async (t) => {
  const service = await fixture(t);
  const { ask } = service;
  const { id, key } = await made(service);
  const path = `/v1/admin/tenants/${id}`;
  const { body: child } = await ask('get', path, undefined, ADMIN_KEY);
  const parent = `/v1/admin/tenants/${child.parentId}`;
  assert.equal((await ask('patch', parent, { quotas: { hosts: 1 } }, ADMIN_KEY)).status, 200);
  assert.equal((await ask('post', HOSTS, { devices: [] }, key)).status, 403);
  const refused = await ask('patch', path, { quotas: { hosts: 9 } }, ADMIN_KEY);
  assert.deepEqual([refused.status, refused.body.errors[0].pointer], [400, '/quotas']);
});

test('one whose end has come is nobody, before it is deleted', async (t) => {
  const { ask, store } = await fixture(t);
  const parent = (await store.tenants.findByName('acme'))!;
  const expiresAt = new Date(Date.now() - 1).toISOString();
  await store.tenants.createChild(parent, { expiresAt, most: 1 }, hashKey('over'));
  assert.equal((await ask('get', HOSTS, undefined, 'over')).status, 401);
});
