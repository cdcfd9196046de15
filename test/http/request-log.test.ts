import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ADMIN_KEY, type Fixture, fixture, HOST } from './fixture.ts';

type Line = Record<string, unknown>;

const DEBUG = 20;
const INFO = 30;

/** What the log says of each request, without what differs from run to run. */
async function linesOf({ app, logged }: Fixture, wanted = 'request'): Promise<Line[]> {
  // A line is written when its answer has gone, which the client may hear of first.
  await app.close();
  const lines = logged().trim().split('\n');
  return lines
    .map((line) => JSON.parse(line) as Line)
    .filter(({ msg }) => msg === wanted)
    .map(({ time: _time, pid: _pid, hostname: _hostname, reqId: _reqId, msg: _msg, ms, ...rest }) => {
      if (wanted === 'request') assert.equal(typeof ms, 'number');
      return rest;
    });
}

test('each request has a line with its route, whose it is, and what the kernel said', async (t) => {
  const service = await fixture(t);
  const { ask, lanes } = service;
  lanes.onCommand = () => ({ kind: 'refused', errno: 'EBUSY', where: 'bind_store', why: 'it has name-of-a-driver' });
  await ask('put', `/v1/hosts/${HOST}/devices/0000:01:00.0/driver`, { driver: 'nvme' });
  await ask('post', `/v1/hosts/${HOST}/clock`, {});
  await ask('get', '/nowhere');
  const host = { tenant: 'acme', host: HOST };
  assert.deepEqual(await linesOf(service), [
    {
      ...{ level: INFO, method: 'PUT', route: '/v1/hosts/:host/devices/:bdf/driver', status: 409, ...host },
      ...{ problem: 'kernel-conflict', errno: 'EBUSY', where: 'bind_store' },
    },
    { level: INFO, method: 'POST', route: '/v1/hosts/:host/clock', status: 400, ...host, problem: 'invalid-request' },
    { level: INFO, method: 'GET', route: null, status: 404, problem: 'not-found' },
  ]);
});

test('who makes or takes keys and tenants has a line of its own, in which no key is', async (t) => {
  const service = await fixture(t);
  const { ask } = service;
  const { body: made } = await ask('post', '/v1/admin/tenants', { name: 'new' }, ADMIN_KEY);
  await ask('patch', `/v1/admin/tenants/${made.id}`, { quotas: { hosts: 3 } }, ADMIN_KEY);
  const { body: other } = await ask('post', '/v1/keys', { name: 'ci', role: 'read-only' });
  await ask('post', '/v1/keys', { name: 'ci' });
  await ask('delete', '/v1/keys/ci');
  await ask('get', '/v1/keys');
  const lines = await linesOf(service, 'audit');
  assert.deepEqual(
    lines.map(({ level: _, ...line }) => line),
    [
      { act: 'createTenant', by: { admin: true }, given: { name: 'new' } },
      { act: 'updateTenant', by: { admin: true }, tenant: made.id, given: { quotas: { hosts: 3 } } },
      { act: 'createKey', by: { tenant: 'acme', key: 'first' }, given: { name: 'ci', role: 'read-only' } },
      { act: 'deleteKey', by: { tenant: 'acme', key: 'first' }, key: 'ci' },
    ],
  );
  for (const { key } of [made, other]) assert.ok(!service.logged().includes(key));
});

test('what machines ask for again and again is logged for debugging only', async (t) => {
  const service = await fixture(t);
  for (const path of ['/livez', '/readyz', '/docs/static/swagger-ui.css', '/docs/', '/livezz'])
    await service.ask('get', path, undefined, null);
  assert.deepEqual(
    (await linesOf(service)).map(({ level }) => level),
    [DEBUG, DEBUG, DEBUG, INFO, INFO],
  );
});

test('in development mode a line also tells the path, without its query, and why something was refused', async (t) => {
  const service = await fixture(t, { dev: true });
  const { ask, lanes } = service;
  const refusal = { errno: 'EBUSY' as const, where: 'bind_store', why: 'unbind it first' };
  const P = `/v1/hosts/${HOST}/processes/1`;
  const said = async (): Promise<unknown[]> => (await linesOf(service)).map(({ path, reason }) => [path, reason]);

  await ask('get', '/v1/hosts?limit=5');
  lanes.onCommand = () => ({ kind: 'refused', ...refusal });
  await ask('put', `/v1/hosts/${HOST}/devices/0000:01:00.0/driver`, { driver: 'nvme' });
  lanes.onCommand = () => ({ kind: 'ok', value: { results: [{ ret: 3 }, { ret: -1, ...refusal }] } });
  await ask('post', `${P}/calls`, {
    calls: [
      { call: 'open', path: '/dev/iommu' },
      { call: 'ioctl', fd: 3, request: 'IOMMU_IOAS_ALLOC' },
    ],
  });
  const errors = [4, 9].map((index) => ({ index, ...refusal }));
  lanes.onBatch = () => ({ kind: 'ok', value: { applied: 3, failed: 200, errors } });
  await ask('post', `${P}/iommufds/3/ioases/1/batch`, { operations: [] });
  const fault = { reason: 'not-mapped', op: 'read', iova: '0x1000', bdf: '0000:01:00.0' };
  lanes.onCommand = () => ({ kind: 'ok', value: { results: [{ ok: true }, { ok: false, fault }] } });
  await ask('post', `/v1/hosts/${HOST}/devices/0000:01:00.0/dma`, { accesses: [] });

  assert.deepEqual(await said(), [
    ['/v1/hosts', undefined],
    [`/v1/hosts/${HOST}/devices/0000:01:00.0/driver`, 'unbind it first'],
    [`${P}/calls`, '1 refused, number 1 IOMMU_IOAS_ALLOC: EBUSY bind_store: unbind it first'],
    [`${P}/iommufds/3/ioases/1/batch`, '200 refused, the first is number 4: EBUSY bind_store: unbind it first'],
    [`/v1/hosts/${HOST}/devices/0000:01:00.0/dma`, '1 refused, number 1: read at 0x1000: not-mapped'],
  ]);
});
