/** Seed files: what they name is there as soon as the service is, once, and what is wrong in one ends the start. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seeded } from './support/seeds.ts';
import { runMain, startService } from './support/service.ts';

const YAML = `
tenants:
  - {name: acme, key: key-of-acme}
hosts:
  - {tenant: acme, name: lab, preset: vmm-lab, labels: {suite: nightly}}
  - tenant: globex
    name: lab
    devices: [{bdf: "0000:01:00.0", driver: vfio-pci}]
    ttlSeconds: 3600
`;
const JSON_FILE = JSON.stringify({
  tenants: [{ name: 'globex', key: 'key-of-globex' }],
  hosts: [{ tenant: 'globex', name: 'other', devices: [] }],
});

interface Listed {
  id: string;
  name: string;
  labels: object;
  expiresAt: string | null;
}

test('tenants and hosts are there at the first request, and a second start changes nothing but for what is gone', async (t) => {
  const { directory, env } = seeded(t, { 'a.yaml': YAML, 'b.json': JSON_FILE, 'notes.txt': 'no seed' });
  const start = () => startService(t, directory, { dev: false, env: { ...env, HOLDOVER_LANES: '2' } });
  const first = await start();
  const hosts = async (service: typeof first, key: string): Promise<Listed[]> => {
    const { status, body } = await service.request('GET', '/v1/hosts', undefined, key);
    assert.equal(status, 200);
    return (body as { items: Listed[] }).items;
  };
  const [lab, ...none] = await hosts(first, 'key-of-acme');
  assert.deepEqual([lab?.name, lab?.labels, lab?.expiresAt, none], ['lab', { suite: 'nightly' }, null, []]);
  const [short, other] = await hosts(first, 'key-of-globex');
  assert.deepEqual([short?.name, other?.name, other?.expiresAt], ['lab', 'other', null]);
  assert.ok(short?.expiresAt);
  const { body: device } = await first.request(
    'GET',
    `/v1/hosts/${short.id}/devices/0000:01:00.0`,
    undefined,
    'key-of-globex',
  );
  assert.equal((device as { driver: string }).driver, 'vfio-pci');
  await first.request('PUT', `/v1/hosts/${lab!.id}/labels`, { labels: { mine: '1' } }, 'key-of-acme');
  await first.request('DELETE', `/v1/hosts/${other!.id}`, undefined, 'key-of-globex');
  await first.stop();

  const second = await start();
  const [again, ...more] = await hosts(second, 'key-of-acme');
  assert.deepEqual([again?.id, again?.labels, more], [lab?.id, { mine: '1' }, []]);
  assert.deepEqual(
    (await hosts(second, 'key-of-globex')).map(({ id, name }) => [id === short.id, name]),
    [
      [true, 'lab'],
      [false, 'other'],
    ],
  );
});

const host = (more: string): string => `hosts: [{tenant: acme, name: lab, devices: [], ${more}}]`;

const TWICE = '{tenant: acme, name: lab, devices: []}';

for (const [what, text, expected] of [
  ['no YAML', 'hosts: [', /a\.yaml: it cannot be read: /],
  ['another kind of value', '- hosts', /a\.yaml \/: /],
  ['an unknown field', 'host: []', /a\.yaml \/host: unknown field/],
  ['a wrong field of a host', host('labels: {-a: x}'), /a\.yaml \/hosts\/0\/labels\/-a: expected a key/],
  ['a host of another one', host('from: h-1'), /a\.yaml \/hosts\/0\/from: unknown field/],
  ['a machine that there cannot be', host('memory: 4097'), /a\.yaml \/hosts\/0\/memory: /],
  ['a host without a name', 'hosts: [{tenant: acme, devices: []}]', /a\.yaml \/hosts\/0\/name: required/],
  ['a host that is there twice', `hosts: [${TWICE}, ${TWICE}]`, /a\.yaml \/hosts\/1\/name: another host of acme/],
  ['a tenant that nobody knows', host(''), /a\.yaml \/hosts\/0\/tenant: there is no tenant acme\.$/],
  [
    'a driver that cannot be bound',
    `tenants: [{name: acme, key: k}]\nhosts: [{tenant: acme, name: lab, iommus: [], devices: [{bdf: "0000:01:00.0", driver: vfio-pci}]}]`,
    /a\.yaml \/hosts\/0: the driver of 0000:01:00\.0 cannot be bound: E\w+, /,
  ],
  [
    'a key that another tenant has',
    'tenants: [{name: a, key: k}, {name: b, key: k}]',
    /gives b a key that is also another tenant's/,
  ],
] as const) {
  test(`${what} ends the start, and says where`, async (t) => {
    const { directory, env } = seeded(t, { 'a.yaml': text });
    const { code, output } = await runMain([], {
      HOLDOVER_PORT: '0',
      HOLDOVER_DATA_DIR: directory,
      HOLDOVER_LOG_LEVEL: 'silent',
      ...env,
    });
    assert.equal(code, 1, output);
    assert.match(output.trim(), expected);
    assert.equal(output.trim().split('\n').length, 1, output);
  });
}

test('a directory that is not there ends the start', async () => {
  const { code, output } = await runMain([], { HOLDOVER_SEED_DIR: '/nowhere' });
  assert.deepEqual(
    [code, output],
    [1, 'holdover: HOLDOVER_SEED_DIR must name a directory that can be read; /nowhere cannot (ENOENT).\n'],
  );
});
