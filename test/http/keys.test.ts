/** Several keys of a tenant: how they are made and end, and what they are good for until then. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type request from 'supertest';
import { useApp } from '../support/app.ts';
import { ADMIN_KEY } from '../support/keys.ts';
import { examplePath, OPERATIONS } from '../support/operations.ts';

const app = useApp();

async function newTenant(name: string): Promise<{ id: string; key: string }> {
  const { body, status, text } = await send('post', '/v1/admin/tenants', ADMIN_KEY, { name });
  assert.equal(status, 201, text);
  return body;
}

function send(method: 'get' | 'post' | 'delete', path: string, key: string, body?: object): request.Test {
  const pending = app.agent[method](path).set('authorization', `Bearer ${key}`);
  return body === undefined ? pending : pending.send(body);
}

const namesOf = async (key: string): Promise<string[]> =>
  (await send('get', '/v1/keys', key)).body.items.map(({ name }: { name: string }) => name);

test('a key is changed without a moment in which none is good', async () => {
  const { key: first } = await newTenant('rotates');
  const made = await send('post', '/v1/keys', first, { name: 'second' });
  assert.equal(made.status, 201, made.text);
  const { key: second, ...shown } = made.body;
  assert.deepEqual([shown.name, shown.role, shown.expiresAt], ['second', 'full', null]);
  assert.equal((await send('post', '/v1/hosts', second, { preset: 'vmm-lab' })).status, 201);
  assert.equal((await send('get', '/v1/hosts', first)).body.items.length, 1);
  assert.deepEqual(await namesOf(second), ['first', 'second']);
  const own = await send('delete', '/v1/keys/second', second);
  assert.deepEqual([own.status, own.body.type], [409, '/problems/conflict']);
  assert.equal((await send('delete', '/v1/keys/first', second)).status, 204);
  assert.equal((await send('get', '/v1/hosts', first)).status, 401);
  assert.deepEqual(await namesOf(second), ['second']);
  assert.equal((await send('delete', '/v1/keys/first', second)).status, 404);
});

test('a name is taken once, what is wrong is named, and no list shows a key', async () => {
  const { key } = await newTenant('names');
  const made = await send('post', '/v1/keys', key, { name: 'ci', role: 'read-only', ttlSeconds: 60 });
  assert.equal(made.status, 201);
  assert.equal((await send('post', '/v1/keys', key, { name: 'ci' })).status, 409);
  for (const [body, pointer] of [
    [{ name: 'a b' }, '/name'],
    [{ name: 'x', role: 'admin' }, '/role'],
    [{ name: 'x', ttlSeconds: 0 }, '/ttlSeconds'],
    [{}, '/name'],
  ] as const) {
    const { status, body: problem } = await send('post', '/v1/keys', key, body);
    assert.deepEqual([status, problem.errors?.[0].pointer], [400, pointer]);
  }
  const { text } = await send('get', '/v1/keys', key);
  for (const secret of [key, made.body.key]) assert.ok(!text.includes(secret));
  for (let index = 0; index < 62; index++)
    assert.equal((await send('post', '/v1/keys', key, { name: `key-${index}` })).status, 201);
  const { status, body } = await send('post', '/v1/keys', key, { name: 'too-many' });
  assert.equal(status, 409);
  assert.match(body.detail, /64 keys already/);
});

test('a key is good until it expires, for no operation longer', async (t) => {
  const { key } = await newTenant('expires');
  const { body } = await send('post', '/v1/keys', key, { name: 'short', ttlSeconds: 60 });
  assert.equal((await send('get', '/v1/hosts', body.key)).status, 200);
  const { id } = (await send('post', '/v1/hosts', key, { preset: 'vmm-lab' })).body;
  t.mock.timers.enable({ apis: ['Date'], now: Date.parse(body.expiresAt) - 1 });
  assert.equal((await send('get', '/v1/hosts', body.key)).status, 200);
  t.mock.timers.setTime(Date.parse(body.expiresAt));
  for (const operation of OPERATIONS.filter(({ access }) => access === 'tenant')) {
    const answer = await send(operation.method as 'get', examplePath(operation, { host: id }), body.key);
    assert.equal(answer.status, 401, operation.operationId);
    assert.match(answer.body.detail, /was one until/, operation.operationId);
  }
  assert.equal((await send('get', '/v1/hosts', key)).status, 200);
});

test('whoever has the admin key can make a key for a tenant that has lost its own, and take one away', async () => {
  const { id, key } = await newTenant('lost');
  const keys = `/v1/admin/tenants/${id}/keys`;
  assert.equal((await send('delete', `${keys}/first`, ADMIN_KEY)).status, 204);
  assert.equal((await send('get', '/v1/hosts', key)).status, 401);
  const { body } = await send('post', keys, ADMIN_KEY, { name: 'again' });
  assert.equal((await send('get', '/v1/hosts', body.key)).status, 200);
  const { items } = (await send('get', keys, ADMIN_KEY)).body;
  assert.deepEqual(
    items.map(({ name }: { name: string }) => name),
    ['again'],
  );
  assert.equal((await send('get', '/v1/admin/tenants/t-none/keys', ADMIN_KEY)).status, 404);
});
