import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { HostUse } from '../../../src/host/footprint.ts';
import type { GivenQuotas } from '../../../src/quotas.ts';
import { ADMIN_KEY, type Fixture, fixture, HOST, OTHER_KEY, type ProblemBody } from '../fixture.ts';

const MIB = 2 ** 20;
const LITTLE: HostUse = { memory: MIB, objects: MIB, mappings: 10, descriptors: 5 };
const PATH = `/v1/hosts/${HOST}`;

interface QuotaProblem extends ProblemBody {
  quota?: string;
  limit?: number;
  used?: number;
}

async function withUse(t: TestContext, quotas: GivenQuotas, use: Partial<HostUse>): Promise<Fixture> {
  const given = await fixture(t, { quotas });
  given.lanes.uses.set(HOST, { ...LITTLE, ...use });
  return given;
}

const calls = (...names: object[]) => ({ calls: names });
const OPEN = { call: 'open', path: '/dev/iommu' };
const CLOSE = { call: 'close', fd: 3 };
const UNMAP = { call: 'ioctl', fd: 3, request: 'IOMMU_IOAS_UNMAP', arg: { ioas_id: 1, iova: 0, length: 4096 } };

async function refused(pending: PromiseLike<{ status: number; body: unknown }>, quota: string) {
  const { status, body } = await pending;
  const { type, detail, ...problem } = body as QuotaProblem;
  assert.equal(status, 403, JSON.stringify(body));
  assert.equal(type, '/problems/quota-exceeded');
  assert.equal(problem.quota, quota);
  assert.match(detail, new RegExp(`The quota \`${quota}\``));
  return problem;
}

for (const [quota, limits, use, used] of [
  ['hostMemory', { hostMemory: 8 }, { memory: 9 * MIB }, 9],
  ['mappings', { mappings: 100 }, { mappings: 101 }, 101],
  ['descriptors', { descriptors: 7 }, { descriptors: 8 }, 8],
  ['memory', { memory: 8, hostMemory: 'unlimited' }, { memory: 8 * MIB + 1 }, 9],
] as const) {
  test(`beyond ${quota} a host takes nothing more, but what frees and what reads`, async (t) => {
    const { ask, lanes } = await withUse(t, limits, use);
    lanes.onQuery = () => ({ kind: 'ok', value: [] });
    lanes.onCommand = () => ({ kind: 'ok', value: { results: [{ ret: 0 }, { ret: 0 }] } });
    const path = `${PATH}/processes/1/calls`;
    const problem = await refused(ask('post', path, calls(OPEN)), quota);
    assert.deepEqual([problem.limit, problem.used], [Object.values(limits)[0], used]);
    await refused(ask('post', path, calls(CLOSE, OPEN)), quota);
    await refused(ask('post', `${PATH}/processes`), quota);
    await refused(ask('post', `${PATH}/processes/1/iommufds/3/ioases/1/batch`, { operations: [] }), quota);
    assert.deepEqual(lanes.commands, []);
    assert.deepEqual(lanes.batches, []);
    assert.equal((await ask('post', path, calls(CLOSE, UNMAP))).status, 200);
    assert.equal((await ask('delete', `${PATH}/processes/1`)).status, 204);
    assert.equal((await ask('post', `${PATH}/reset`)).status, 200);
    assert.equal((await ask('post', `${PATH}/kexec`, { mode: 'plain' })).status, 200);
    assert.equal((await ask('get', `${PATH}/processes`)).status, 200);
    assert.equal((await ask('delete', PATH)).status, 204);
  });
}

test('what is within the quotas is let through, and so is what has been freed', async (t) => {
  const { ask, lanes } = await withUse(t, { mappings: 100 }, { mappings: 101 });
  lanes.onCommand = () => ({ kind: 'ok', value: { results: [] } });
  await refused(ask('post', `${PATH}/processes/1/calls`, calls(OPEN)), 'mappings');
  lanes.uses.set(HOST, { ...LITTLE, mappings: 100 });
  assert.equal((await ask('post', `${PATH}/processes/1/calls`, calls(OPEN))).status, 200);
});

test('a tenant makes as many hosts as it may have, however many it asks for at once', async (t) => {
  const { ask, store } = await fixture(t, { quotas: { hosts: 4 } });
  const answers = await Promise.all(Array.from({ length: 8 }, () => ask('post', '/v1/hosts', { preset: 'vmm-lab' })));
  assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 201, 201, 403, 403, 403, 403, 403]);
  const [acme] = await store.tenants.list(1);
  assert.equal((await store.hosts.stored(acme!.id)).hosts, 4);
  const problem = await refused(ask('post', '/v1/hosts', { preset: 'vmm-lab' }), 'hosts');
  assert.deepEqual([problem.limit, problem.used], [4, 4]);
  assert.equal((await ask('post', '/v1/hosts', { preset: 'vmm-lab' }, OTHER_KEY)).status, 201);
  assert.equal((await ask('delete', PATH)).status, 204);
  assert.equal((await ask('post', '/v1/hosts', { preset: 'vmm-lab' })).status, 201);
});

test('a host has no more functions and units than the tenant may have', async (t) => {
  const { ask, lanes } = await fixture(t, { quotas: { functions: 2, units: 1 } });
  const devices = ['0000:01:00.0', '0000:02:00.0', '0000:03:00.0'].map((bdf) => ({ bdf }));
  const made = await refused(ask('post', '/v1/hosts', { devices }), 'functions');
  assert.deepEqual([made.limit, made.used], [2, 3]);
  const iommus = [{ kind: 'intel-vtd' }, { kind: 'intel-vtd' }];
  await refused(ask('post', '/v1/hosts', { devices: devices.slice(0, 2), iommus }), 'units');
  assert.deepEqual(lanes.rows, []);
  lanes.onQuery = () => ({ kind: 'ok', value: [{}, {}] });
  await refused(ask('post', `${PATH}/devices`, { bdf: '0000:05:00.0' }), 'functions');
  assert.deepEqual(lanes.commands, []);
});

test('who has stored too much can read and delete', async (t) => {
  const { ask, lanes } = await fixture(t, { quotas: { stored: 0 } });
  lanes.onQuery = () => ({ kind: 'ok', value: [] });
  await refused(ask('post', `${PATH}/processes/1/calls`, calls(CLOSE)), 'stored');
  await refused(ask('post', `${PATH}/reset`), 'stored');
  await refused(ask('post', '/v1/hosts', { preset: 'vmm-lab' }), 'stored');
  assert.equal((await ask('get', `${PATH}/devices`)).status, 200);
  assert.equal((await ask('delete', `${PATH}/processes/1`)).status, 204);
  assert.equal((await ask('delete', PATH)).status, 204);
  assert.equal((await ask('post', '/v1/hosts', { preset: 'vmm-lab' })).status, 201);
});

test('answers tell how many requests are left, and who makes more is asked to wait', async (t) => {
  const { ask } = await fixture(t, { quotas: { requests: 3 } });
  const answers = await Promise.all(Array.from({ length: 8 }, () => ask('get', '/v1/hosts')));
  const good = answers.filter(({ status }) => status === 200);
  const bad = answers.filter(({ status }) => status === 429);
  // One more is allowed each third of a second.
  assert.ok(good.length >= 3 && bad.length > 0 && good.length + bad.length === 8);
  for (const { headers } of answers) assert.equal(headers['ratelimit-policy'], '"requests";q=3;w=1');
  assert.deepEqual(new Set(bad.map(({ headers }) => headers.ratelimit)), new Set(['"requests";r=0;t=1']));
  assert.equal(good[0]?.headers.ratelimit, '"requests";r=2;t=1');
  const { body, headers } = bad[0]!;
  assert.equal(headers['retry-after'], '1');
  assert.deepEqual([body.type, body.quota, body.limit], ['/problems/too-many-requests', 'requests', 3]);
  const other = await ask('get', '/v1/hosts', undefined, OTHER_KEY);
  assert.deepEqual([other.status, other.headers.ratelimit], [200, '"requests";r=2;t=1']);
});

test('where requests are unlimited nothing is told of them', async (t) => {
  const { ask } = await fixture(t, { quotas: { requests: 'unlimited' } });
  const { headers } = await ask('get', '/v1/hosts');
  assert.equal(headers['ratelimit-policy'], undefined);
  assert.equal(headers.ratelimit, undefined);
});

test('a tenant is told what it uses, and of which host most of it is', async (t) => {
  const { ask, lanes } = await withUse(t, { hosts: 5, requests: 9 }, { memory: 3 * MIB, mappings: 1000 });
  lanes.onQuery = () => ({ kind: 'ok', value: [] });
  await ask('get', `${PATH}/devices`);
  const { status, body } = await ask('get', '/v1/usage');
  assert.equal(status, 200);
  assert.deepEqual(body.quotas.hosts, { of: 'tenant', limit: 5, used: 1, unit: 'hosts' });
  assert.deepEqual(body.quotas.memory, { of: 'tenant', limit: 2048, used: 3, unit: 'MiB' });
  assert.deepEqual(body.quotas.mappings, { of: 'host', limit: 2 ** 20, used: 1000, unit: 'mappings', host: HOST });
  assert.deepEqual(body.quotas.functions, { of: 'host', limit: 4096, used: null, unit: 'functions', host: null });
  assert.equal(body.quotas.stored.used, 1);
  assert.equal(body.quotas.requests.used, 2);
  assert.equal(body.quotas.bodies.limit, 512);
  const other = await ask('get', '/v1/usage', undefined, OTHER_KEY);
  assert.deepEqual(other.body.quotas.mappings, { of: 'host', limit: 2 ** 20, used: 0, unit: 'mappings', host: null });
});

test('the admin gives a tenant quotas of its own, and takes them away', async (t) => {
  const { ask, store } = await withUse(t, {}, { mappings: 50 });
  const [acme] = await store.tenants.list(1);
  const path = `/v1/admin/tenants/${acme!.id}`;
  const quotas = { mappings: 40, requests: 'unlimited' };
  const changed = await ask('patch', path, { quotas }, ADMIN_KEY);
  assert.deepEqual([changed.status, changed.body.quotas], [200, quotas]);
  await refused(ask('post', `${PATH}/processes`), 'mappings');
  assert.equal((await ask('get', '/v1/hosts')).headers.ratelimit, undefined);
  const usage = await ask('get', `${path}/usage`, undefined, ADMIN_KEY);
  assert.equal(usage.body.quotas.requests.limit, 'unlimited');
  assert.deepEqual([usage.body.quotas.mappings.limit, usage.body.quotas.mappings.used], [40, 50]);
  const back = await ask('patch', path, { quotas: { mappings: null } }, ADMIN_KEY);
  assert.deepEqual(back.body.quotas, { requests: 'unlimited' });
  assert.deepEqual((await ask('get', path, undefined, ADMIN_KEY)).body, back.body);
  assert.equal((await ask('post', `${PATH}/processes`)).status, 201);
  for (const wrong of [{ hosts: -1 }, { hosts: 'many' }, { host: 3 }])
    assert.equal((await ask('patch', path, { quotas: wrong }, ADMIN_KEY)).status, 400);
  assert.equal((await ask('patch', '/v1/admin/tenants/t-none', { quotas: {} }, ADMIN_KEY)).status, 404);
  assert.equal((await ask('patch', path, { quotas: {} })).status, 403);
});

test('tenants are listed page by page', async (t) => {
  const { ask } = await fixture(t);
  const first = await ask('get', '/v1/admin/tenants?limit=1', undefined, ADMIN_KEY);
  assert.deepEqual([first.body.items[0].name, first.body.nextPageToken], ['acme', 'acme']);
  const second = await ask('get', '/v1/admin/tenants?limit=1&after=acme', undefined, ADMIN_KEY);
  assert.deepEqual([second.body.items[0].name, second.body.nextPageToken], ['globex', null]);
});
