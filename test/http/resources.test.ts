/** Resources: bodies become commands, answers become pages, and what is made says where it is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostSpec } from '../../src/host/command.ts';
import type { Directory } from '../../src/store/store.ts';
import { fixture, HOST } from './fixture.ts';

const H = `/v1/hosts/${HOST}`;
const D1 = '0000:01:00.0';

async function specOf(store: Directory, id: string): Promise<HostSpec> {
  const origin = await store.hosts.origin(id);
  assert.ok(origin !== undefined && 'spec' in origin);
  return origin.spec;
}

test('a host says where it is, and what it is made of is filled in', async (t) => {
  const { ask, store } = await fixture(t);
  const made = await ask('post', '/v1/hosts', { devices: [{ bdf: '01:00.0', driver: 'vfio-pci' }] });
  assert.equal(made.status, 201, made.text);
  assert.match(made.body.id, /^h-[a-z2-7]{16}$/);
  assert.equal(made.headers.location, `/v1/hosts/${made.body.id}`);
  assert.equal(made.body.name, made.body.id);
  const spec = await specOf(store, made.body.id);
  assert.equal(spec.profile, 'persisted-domains');
  assert.equal(spec.machine.memory, '0x400000000');
  assert.equal(spec.machine.functions[0]?.bdf, D1);
  assert.equal((await ask('delete', `/v1/hosts/${made.body.id}`)).status, 204);
  assert.equal((await ask('get', `/v1/hosts/${made.body.id}`)).status, 404);
});

test('hosts are listed page by page, each once', async (t) => {
  const { ask } = await fixture(t);
  for (let n = 0; n < 6; n++) await ask('post', '/v1/hosts', { preset: 'mock', name: `n${n}` });
  const seen: string[] = [];
  let token: string | null = '';
  while (token !== null) {
    const page = await ask('get', `/v1/hosts?limit=3${token && `&after=${token}`}`);
    assert.ok(page.body.items.length <= 3);
    seen.push(...page.body.items.map(({ id }: { id: string }) => id));
    token = page.body.nextPageToken;
  }
  assert.equal(seen.length, 7);
  assert.equal(new Set(seen).size, 7);
});

test('presets are listed with a sentence each', async (t) => {
  const { ask } = await fixture(t);
  const { body } = await ask('get', '/v1/presets');
  const lab = body.items.find(({ name }: { name: string }) => name === 'vmm-lab');
  assert.deepEqual([lab.functions, lab.groups], [5, 4]);
  assert.match(lab.about, /\.$/);
});

test('bodies become commands', async (t) => {
  const { ask, lanes } = await fixture(t);
  const cases: ['post' | 'put' | 'patch' | 'delete', string, unknown, unknown][] = [
    ['post', '/processes', { name: 'vmm', capabilities: [] }, { op: 'process.create', name: 'vmm', capabilities: [] }],
    ['post', '/processes', undefined, { op: 'process.create' }],
    ['delete', '/processes/7', undefined, { op: 'process.kill', pid: 7 }],
    ['patch', `/devices/${D1}`, { interruptsEnabled: true }, { op: 'device.update', bdf: D1, interruptsEnabled: true }],
    ['delete', '/devices/01:00.0', undefined, { op: 'device.remove', bdf: D1 }],
    ['put', `/devices/${D1}/driver`, { driver: 'nvme' }, { op: 'driver.bind', bdf: D1, driver: 'nvme' }],
    ['delete', `/devices/${D1}/driver?driver=nvme`, undefined, { op: 'driver.unbind', bdf: D1, driver: 'nvme' }],
    ['delete', `/devices/${D1}/driver`, undefined, { op: 'driver.unbind', bdf: D1 }],
    ['post', `/devices/${D1}/flr`, undefined, { op: 'device.flr', bdf: D1 }],
    [
      'post',
      `/devices/${D1}/interrupts`,
      { type: 'msix', vector: 3 },
      { op: 'device.interrupt', bdf: D1, type: 'msix', vector: 3 },
    ],
    [
      'post',
      `/devices/${D1}/interrupts`,
      { type: 'intx' },
      { op: 'device.interrupt', bdf: D1, type: 'intx', vector: 0 },
    ],
    [
      'post',
      `/devices/${D1}/dma`,
      { accesses: [{ op: 'read', iova: 4096, length: '0x10' }] },
      { op: 'device.dma', bdf: D1, accesses: [{ op: 'read', iova: '0x1000', length: 16 }] },
    ],
    [
      'put',
      `/devices/${D1}/bars/2?offset=4096`,
      { data: 'AAE=' },
      { op: 'device.bar', bdf: D1, bar: 2, offset: '0x1000', data: 'AAE=' },
    ],
    ['put', '/groups/3/type', { type: 'identity' }, { op: 'group.type', group: 3, type: 'identity' }],
    [
      'post',
      '/processes/7/iommufds/3/ioases/2/reserved-ranges',
      { start: 0, length: 4096 },
      { op: 'ioas.reserve', pid: 7, fd: 3, ioas: 2, start: '0x0', length: '0x1000' },
    ],
    ['post', '/kexec', { mode: 'live-update' }, { op: 'kexec.freeze', mode: 'live-update', image: 'loaded' }],
    [
      'post',
      '/kexec',
      { mode: 'plain', image: 'none', kernel: { khoAbi: 'x' }, pid: 7 },
      { op: 'kexec.freeze', mode: 'plain', image: 'none', kernel: { khoAbi: 'x' }, pid: 7 },
    ],
    ['post', '/crash', undefined, { op: 'crash' }],
    ['post', '/reset', {}, { op: 'reset' }],
    ['post', '/clock', { advance: 1000 }, { op: 'clock.advance', nanoseconds: '1000' }],
    ['post', '/faults', { point: 'allocation', nth: 2 }, { op: 'fault.arm', point: 'allocation', nth: 2 }],
    ['delete', '/faults/4', undefined, { op: 'fault.disarm', id: 4 }],
  ];
  for (const [method, path, body, expected] of cases) {
    lanes.commands.length = 0;
    const answer = await ask(method, H + path, body);
    assert.ok(answer.status < 300, `${path}: ${answer.text}`);
    assert.deepEqual(lanes.commands, [expected], path);
  }
});

test('an empty body is as good as none, whatever its type says', async (t) => {
  const { ask } = await fixture(t);
  assert.equal((await ask('post', `${H}/crash`, '').type('json')).status, 200);
  assert.equal((await ask('delete', `${H}/processes/7`, '').type('json')).status, 204);
});

test('a body where none is taken is refused if it says something', async (t) => {
  const { ask, lanes } = await fixture(t);
  assert.equal((await ask('delete', `${H}/processes/7`, { signal: 9 })).status, 400);
  assert.equal((await ask('post', `${H}/crash`, { hard: true })).status, 400);
  assert.deepEqual(lanes.commands, []);
});

test('an unbind that waits for descriptors is 202', async (t) => {
  const { ask, lanes } = await fixture(t);
  for (const blocked of [true, false]) {
    lanes.onCommand = () => ({ kind: 'ok', value: { blocked } });
    const { status, body } = await ask('delete', `${H}/devices/${D1}/driver`);
    assert.deepEqual([status, body], [blocked ? 202 : 200, { blocked }]);
  }
});

test('a plugged-in function is placed among those that are there', async (t) => {
  const { ask, lanes, store } = await fixture(t);
  const made = await ask('post', '/v1/hosts', { preset: 'mock' });
  const path = `/v1/hosts/${made.body.id}/devices`;
  lanes.onQuery = () => ({ kind: 'ok', value: [{ bdf: D1, group: 0, iommu: 'mock0' }] });
  lanes.onCommand = () => ({ kind: 'ok', value: { bdf: '0000:02:00.0' } });
  const plugged = await ask('post', path, { bdf: '02:00.0' });
  assert.equal(plugged.status, 201, plugged.text);
  assert.equal(plugged.headers.location, `${path}/0000:02:00.0`);
  const command = lanes.commands.at(-1);
  assert.ok(command?.op === 'device.add');
  assert.deepEqual(
    [command.device.group, command.device.iommu],
    [1, (await specOf(store, made.body.id)).machine.iommus[0]?.id],
  );
  const again = await ask('post', path, { bdf: D1 });
  assert.equal(again.status, 400);
  assert.equal(again.body.errors[0].pointer, '/bdf');
});

test('mappings are read page by page', async (t) => {
  const { ask, lanes } = await fixture(t);
  lanes.onQuery = (query) => {
    assert.ok(query.view === 'mappings');
    return { kind: 'ok', value: ['0x1000', '0x2000', '0x3000'].map((iova) => ({ iova })).slice(0, query.limit) };
  };
  const mappings = `${H}/processes/1/iommufds/3/ioases/2/mappings`;
  assert.equal((await ask('get', `${mappings}?limit=2`)).body.nextPageToken, '0x2000');
  assert.equal((await ask('get', mappings)).body.nextPageToken, null);
  await ask('get', `${mappings}?after=8192&limit=2`);
  assert.partialDeepStrictEqual(lanes.queries.at(-1), { after: '0x2000', limit: 3 });
});
