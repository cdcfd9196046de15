import assert from 'node:assert/strict';
import { test } from 'node:test';
import request from 'supertest';
import { ADMIN_KEY, fixture, HOST, KEY, OTHER_HOST, OTHER_KEY } from './fixture.ts';

test('a request without a key, or with one that nobody has, is 401 and says how to send one', async (t) => {
  const { app, ask } = await fixture(t);
  const missing = await ask('get', '/v1/hosts', undefined, null);
  assert.equal(missing.status, 401);
  assert.equal(missing.headers['www-authenticate'], 'Bearer realm="holdover"');
  assert.match(missing.body.detail, /Authorization: Bearer KEY/);
  const wrong = await ask('get', '/v1/hosts', undefined, 'no-such-key');
  assert.equal(wrong.status, 401);
  assert.match(wrong.headers['www-authenticate'] ?? '', /error="invalid_token"/);
  for (const header of ['', 'Bearer', 'Bearer ', `Basic ${KEY}`, KEY, `Bearer ${KEY} ${KEY}`]) {
    const { status, headers } = await request(app.server).get('/v1/hosts').set('authorization', header);
    assert.equal(status, 401, header);
    assert.equal(headers['content-type'], 'application/problem+json');
  }
});

test('the scheme may be written in any case', async (t) => {
  const { app } = await fixture(t);
  const { status } = await request(app.server).get('/v1/hosts').set('authorization', `bearer ${KEY}`);
  assert.equal(status, 200);
});

test('who has no key learns nothing: not whether a host is there, not whether a body is valid', async (t) => {
  const { ask, lanes } = await fixture(t);
  for (const key of [null, 'no-such-key']) {
    for (const host of [HOST, 'h-none']) {
      assert.equal((await ask('get', `/v1/hosts/${host}`, undefined, key)).status, 401);
      assert.equal((await ask('post', `/v1/hosts/${host}/clock`, { wrong: 1 }, key)).status, 401);
    }
  }
  assert.deepEqual([lanes.commands, lanes.queries], [[], []]);
});

test("another tenant's host is answered in the very words of one that is nowhere", async (t) => {
  const { ask, lanes } = await fixture(t);
  const paths = ['', '/devices', '/events', '/processes/1', '/processes/1/iommufds/3'];
  for (const path of paths) {
    const foreign = await ask('get', `/v1/hosts/${OTHER_HOST}${path}`);
    const nowhere = await ask('get', `/v1/hosts/h-nowhere${path}`);
    assert.equal(foreign.status, 404);
    assert.deepEqual({ ...foreign.body, instance: '' }, { ...nowhere.body, instance: '' });
  }
  assert.equal((await ask('delete', `/v1/hosts/${OTHER_HOST}`)).status, 404);
  assert.equal((await ask('post', `/v1/hosts/${OTHER_HOST}/kexec`, { wrong: 1 })).status, 404);
  assert.deepEqual([lanes.commands, lanes.queries], [[], []]);
  assert.equal((await ask('get', `/v1/hosts/${OTHER_HOST}/devices`, undefined, OTHER_KEY)).status, 200);
});

test('a list has the hosts of the tenant and no others', async (t) => {
  const { ask } = await fixture(t);
  const { body } = await ask('get', '/v1/hosts');
  assert.deepEqual(
    body.items.map(({ id }: { id: string }) => id),
    [HOST],
  );
  assert.ok(!('tenantId' in body.items[0]));
});

test('the admin key opens what is below /v1/admin and nothing else, and no other key does', async (t) => {
  const { ask } = await fixture(t);
  assert.equal((await ask('get', '/v1/admin/tenants', undefined, ADMIN_KEY)).status, 200);
  const asTenant = await ask('get', '/v1/hosts', undefined, ADMIN_KEY);
  assert.equal(asTenant.status, 403);
  assert.match(asTenant.body.detail, /key of a tenant/);
  const asAdmin = await ask('post', '/v1/admin/tenants', { name: 'initech' });
  assert.equal(asAdmin.status, 403);
  assert.match(asAdmin.body.detail, /HOLDOVER_ADMIN_KEY/);
  assert.equal((await ask('get', '/v1/admin/tenants', undefined, null)).status, 401);
});

test('without an admin key nobody is admin', async (t) => {
  const { ask } = await fixture(t, { adminKey: null });
  assert.equal((await ask('get', '/v1/admin/tenants')).status, 403);
  assert.equal((await ask('get', '/v1/admin/tenants', undefined, 'null')).status, 401);
});

test('a tenant is made with a key that works, shown once', async (t) => {
  const { ask } = await fixture(t);
  const made = await ask('post', '/v1/admin/tenants', { name: 'initech' }, ADMIN_KEY);
  assert.equal(made.status, 201);
  assert.equal(made.headers['cache-control'], 'no-store');
  assert.deepEqual((await ask('get', '/v1/hosts', undefined, made.body.key)).body.items, []);
  const list = await ask('get', '/v1/admin/tenants', undefined, ADMIN_KEY);
  assert.deepEqual(
    list.body.items.map(({ name }: { name: string }) => name),
    ['acme', 'globex', 'initech'],
  );
  assert.ok(!list.text.includes(made.body.key));
  const again = await ask('post', '/v1/admin/tenants', { name: 'initech' }, ADMIN_KEY);
  assert.equal(again.status, 409);
  assert.equal(again.body.type, '/problems/conflict');
  const bad = await ask('post', '/v1/admin/tenants', { name: 'a name' }, ADMIN_KEY);
  assert.equal(bad.status, 400);
  assert.match(bad.body.errors[0].reason, /A-Z a-z 0-9/);
});

test('nothing that is logged holds a key', async (t) => {
  const { ask, logged, lanes } = await fixture(t);
  const made = await ask('post', '/v1/admin/tenants', { name: 'initech' }, ADMIN_KEY);
  await ask('get', '/v1/hosts');
  await ask('get', '/v1/hosts', undefined, 'key-that-is-wrong');
  await ask('get', `/v1/hosts/key-in-the-path?key=key-in-the-query`);
  await ask('get', `/v1/key-in-an-unknown-path`);
  await ask('post', `/v1/hosts/${HOST}/clock`, { key: 'key-in-the-body' });
  await ask('post', `/v1/hosts/${HOST}/clock`, '{"key": "key-in-broken-json').type('json');
  lanes.onCommand = () => {
    throw new Error('a bug of the service');
  };
  assert.equal((await ask('post', `/v1/hosts/${HOST}/crash`)).status, 500);
  assert.match(logged(), /a bug of the service/);
  assert.match(logged(), /"route":"\/v1\/hosts\/:host\/clock"/);
  assert.doesNotMatch(logged(), /key-/);
  assert.ok(!logged().includes(made.body.key));
});
