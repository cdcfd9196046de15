/** Where that is which a request has made: its Location can be asked for as it stands. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OPERATIONS } from '../../src/http/operations.ts';
import { ROUTES } from '../../src/http/routes.ts';
import { useApp } from '../support/app.ts';
import { D1, D2 } from '../support/client.ts';
import { ADMIN_KEY } from '../support/keys.ts';

const app = useApp();

/** What is made, by which body, where it is then, and how it is read or, where it cannot be, deleted. */
type Making = [collection: string, body: object, location: string, how?: 'get' | 'delete' | 'none'];

const P = '/processes/1';
const I = `${P}/iommufds/3`;

const MAKINGS: readonly Making[] = [
  ['/processes', { name: 'vmm' }, P],
  [`${P}/iommufds`, {}, I],
  [`${I}/ioases`, {}, `${I}/ioases/1`],
  [`${P}/memory`, { address: '0x10000000', length: 8192 }, `${P}/memory/0x10000000?length=16`],
  [`${I}/ioases/1/mappings`, { userVa: '0x10000000', length: 4096, iova: 0 }, `${I}/ioases/1/mappings?limit=1`],
  [
    `${I}/ioases/1/mappings`,
    { userVa: '0x10001000', length: 4096, iova: '0x200000' },
    `${I}/ioases/1/mappings?limit=1&after=0x1fffff`,
  ],
  [`${P}/memfds`, { name: 'ram', size: 4096, flags: [] }, `${P}/memfds/4`],
  [
    `${I}/ioases/1/file-mappings`,
    { fd: 4, start: 0, length: 4096, iova: '0x400000' },
    `${I}/ioases/1/mappings?limit=1&after=0x3fffff`,
  ],
  [
    `${I}/ioases/1/copies`,
    { sourceIoas: 1, sourceIova: 0, length: 4096, iova: '0x600000' },
    `${I}/ioases/1/mappings?limit=1&after=0x5fffff`,
  ],
  [`${P}/cdevs`, { path: '/dev/vfio/devices/vfio0' }, `${P}/cdevs/5`, 'none'],
  [`${P}/eventfds`, {}, `${P}/eventfds/6`, 'none'],
  [`${P}/descriptors`, { path: '/dev/null' }, `${P}/descriptors/7`, 'delete'],
  [`${P}/descriptors/4/dup`, {}, `${P}/descriptors/7`, 'delete'],
  [`${P}/descriptors/4/dup2`, { to: 30 }, `${P}/descriptors/30`, 'delete'],
  [`${P}/fork`, {}, '/processes/2'],
  [`${P}/descriptors/4/send`, { to: 2 }, '/processes/2/descriptors/7', 'delete'],
  [`${P}/containers`, {}, `${P}/iommufds/7`],
  [`${P}/liveupdates`, {}, `${P}/liveupdates/8`, 'none'],
  [`${P}/liveupdates/8/sessions`, { name: 'vm1' }, `${P}/sessions/9`],
  [`${P}/sessions/9/files`, { fd: 4, token: 5 }, `${P}/sessions/9/files/0x5`, 'none'],
  ['/faults', { point: 'memfd.freeze' }, '/faults/1', 'delete'],
  ['/devices', { bdf: '05:00.0' }, '/devices/0000:05:00.0'],
];

test('what is made on a host is where its Location says', async () => {
  const host = await app.host();
  const key = `Bearer ${app.key}`;
  for (const [collection, body, where, how = 'get'] of MAKINGS) {
    const made = await app.agent.post(`/v1/hosts/${host.id}${collection}`).set('authorization', key).send(body);
    assert.equal(made.status, 201, `${collection}: ${made.text}`);
    const [path, query] = where.split('?length', 2);
    assert.equal(made.headers.location, `/v1/hosts/${host.id}${path}`);
    if (how === 'none') continue;
    const read = await app.agent[how](`${made.headers.location}${query ? `?length${query}` : ''}`).set(
      'authorization',
      key,
    );
    assert.ok(read.status < 300, `${how} ${where}: ${read.text}`);
    if (where.includes('limit=1')) assert.equal(read.body.items[0].iova, made.body.iova);
  }
  const device = `/v1/hosts/${host.id}/devices`;
  for (const bdf of [D1, D2]) {
    const body = { ranges: [{ iova: '0x100000000', length: '0x1000' }] };
    const engine = await app.agent.post(`${device}/${bdf}/engines`).set('authorization', key).send(body);
    assert.equal(engine.headers.location, `${device}/${bdf}/engines/${engine.body.id}`);
    assert.equal((await app.agent.get(engine.headers.location!).set('authorization', key)).status, 200);
  }
  // What is refused has made nothing.
  const again = await app.agent.post(device).set('authorization', key).send({ bdf: '05:00.0' });
  assert.deepEqual([again.status, again.headers.location], [400, undefined]);
});

test('so is a host, however it is made, and a tenant', async () => {
  const host = await app.host();
  const key = `Bearer ${app.key}`;
  const file = (await app.agent.get(`/v1/hosts/${host.id}/export`).set('authorization', key)).body;
  for (const [path, body] of [
    ['/v1/hosts', { preset: 'mock' }],
    ['/v1/hosts', { from: host.id }],
    ['/v1/hosts/import', file],
  ]) {
    const made = await app.agent.post(path).set('authorization', key).send(body);
    assert.deepEqual([made.status, made.headers.location], [201, `/v1/hosts/${made.body.id}`]);
    assert.equal((await app.agent.get(made.headers.location!).set('authorization', key)).body.id, made.body.id);
  }
  const admin = `Bearer ${ADMIN_KEY}`;
  const tenant = await app.agent.post('/v1/admin/tenants').set('authorization', admin).send({ name: 'acme' });
  const read = await app.agent.get(tenant.headers.location!).set('authorization', admin);
  assert.deepEqual([read.status, read.body.id], [200, tenant.body.id]);
});

test('every operation that answers 201 says where', () => {
  const silent = OPERATIONS.filter(({ status, made }) => (status === 201) !== (made !== undefined));
  assert.deepEqual(
    silent.map(({ operationId }) => operationId),
    [],
  );
  // Hosts are told by their handlers, as answers with all their devices are large.
  const others = ROUTES.filter(({ success }) => success[201] && !success[201].location);
  assert.deepEqual(
    others.map(({ operationId }) => operationId),
    ['createHost', 'importHost'],
  );
});
