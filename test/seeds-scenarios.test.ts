/** Hosts of seed files that a scenario prepares: they are there as it leaves them, once, however the start before has ended. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seeded } from './support/seeds.ts';
import { runMain, type Service, startService } from './support/service.ts';

const KEY = 'key-of-acme';
const TENANTS = `tenants: [{name: acme, key: ${KEY}}]\n`;
const host = (scenario: string, more = ''): string =>
  `${TENANTS}hosts: [{tenant: acme, name: ready, scenario: ${scenario}${more}}]`;

const VMM = `
steps:
  - createProcess: vmm
  - memfd_create: {name: ram, flags: [MFD_ALLOW_SEALING], size: 64Mi}
    as: ram
  - pwrite: {fd: $ram, offset: 0, data: {text: guest}}
  - open: /dev/liveupdate
    as: lu
  - LIVEUPDATE_IOCTL_CREATE_SESSION: {on: $lu, name: vm1}
    as: {session: fd}
  - LIVEUPDATE_SESSION_PRESERVE_FD: {on: $session, fd: $ram, token: 1}
`;
const UPDATED = `
name: a guest behind a live update
host: {preset: vmm-lab, name: unused, labels: {unused: "1"}}
steps:
  - use: vmm
  - kexecHost: live-update
`;

interface Listed {
  id: string;
  name: string;
  labels: object;
  kernel: number;
  expiresAt: string | null;
}

async function hostsOf(service: Service): Promise<Listed[]> {
  const { status, body } = await service.request('GET', '/v1/hosts', undefined, KEY);
  assert.equal(status, 200);
  return (body as { items: Listed[] }).items;
}

/** What the guest finds in its memory, by a new VMM. */
async function readGuest(service: Service, { id }: Listed): Promise<string> {
  const { body: vmm } = await service.request('POST', `/v1/hosts/${id}/processes`, {}, KEY);
  const calls = [
    { call: 'open', path: '/dev/liveupdate' },
    { call: 'ioctl', fd: 3, request: 'LIVEUPDATE_IOCTL_RETRIEVE_SESSION', arg: { name: 'vm1' } },
    { call: 'ioctl', fd: 4, request: 'LIVEUPDATE_SESSION_RETRIEVE_FD', arg: { token: 1 } },
    { call: 'pread', fd: 5, offset: 0, length: 5 },
  ];
  const path = `/v1/hosts/${id}/processes/${(vmm as { pid: number }).pid}/calls`;
  const { body } = await service.request('POST', path, { calls }, KEY);
  return Buffer.from((body as { results: { data?: string }[] }).results[3]!.data ?? '', 'base64').toString();
}

test('a host is there as its scenario leaves it, stays as it is at a second start, and is made anew where it is gone', async (t) => {
  const { directory, env } = seeded(t, {
    'a.yaml': host('scenarios/updated.yaml', ', labels: {suite: nightly}, ttlSeconds: 3600').replace(
      'hosts: [',
      'hosts: [{tenant: acme, name: lab, preset: vmm-lab}, ',
    ),
    'scenarios/updated.yaml': UPDATED,
    'scenarios/setups/vmm.yaml': VMM,
  });
  // Quotas are not looked at.
  const start = () =>
    startService(t, directory, { dev: false, env: { ...env, HOLDOVER_LANES: '2', HOLDOVER_QUOTAS: 'hosts=1' } });
  const first = await start();
  assert.equal((await fetch(`${first.url}/readyz`)).status, 200);
  const [lab, ready, ...none] = await hostsOf(first);
  assert.deepEqual(
    [lab?.name, ready?.name, ready?.kernel, ready?.labels, none],
    ['lab', 'ready', 2, { suite: 'nightly' }, []],
  );
  assert.ok(ready?.expiresAt);
  assert.equal(await readGuest(first, ready), 'guest');
  await first.stop();

  const second = await start();
  const again = await hostsOf(second);
  assert.deepEqual(
    again.map(({ id }) => id),
    [lab?.id, ready.id],
  );
  assert.equal(await readGuest(second, ready), '', 'it is retrieved once, and that was before');
  await second.request('DELETE', `/v1/hosts/${ready.id}`, undefined, KEY);
  await second.stop();

  const third = await start();
  const [, anew] = await hostsOf(third);
  assert.notEqual(anew?.id, ready.id);
  assert.equal(await readGuest(third, anew!), 'guest');
});

test('a scenario of the directory itself is no seed file, where a host has it', async (t) => {
  const { directory, env } = seeded(t, {
    'a.yaml': 'name: one\nsteps: [{createProcess: vmm}]',
    'b.yaml': host('./a.yaml'),
  });
  const service = await startService(t, directory, { dev: false, env });
  assert.deepEqual(
    (await hostsOf(service)).map(({ name }) => name),
    ['ready'],
  );
});

test('a start that is killed while a scenario runs leaves a host that the next one makes anew', async (t) => {
  const { directory, env, write } = seeded(t, {
    'a.yaml': host('dies.yaml'),
    'dies.yaml': UPDATED.replace('  - kexec', '  - armFault: service.death\n  - kexec'),
    'setups/vmm.yaml': VMM,
  });
  const settings = { ...env, HOLDOVER_PORT: '0', HOLDOVER_DATA_DIR: directory, HOLDOVER_ALLOW_SERVICE_DEATH: '1' };
  const killed = await runMain([], settings);
  assert.equal(killed.signal, 'SIGKILL', killed.output);
  // Nobody needs the seeds to see what it has left.
  const between = await startService(t, directory, { dev: false, env: { HOLDOVER_TENANTS: `acme:${KEY}` } });
  const [half] = await hostsOf(between);
  assert.deepEqual([half?.name, half?.labels], ['ready', { 'holdover/unfinished': 'seed' }]);
  await between.stop();

  write('dies.yaml', UPDATED);
  const service = await startService(t, directory, { dev: false, env });
  const [ready, ...none] = await hostsOf(service);
  assert.deepEqual([ready?.name, ready?.labels, none], ['ready', {}, []]);
  assert.notEqual(ready?.id, half?.id);
  assert.equal(await readGuest(service, ready!), 'guest');
});

test('a stop while a scenario runs is a stop in order', async (t) => {
  const { directory, env, write } = seeded(t, {
    'a.yaml': host('long.yaml').replace(
      '[{tenant: acme, name: ready',
      '[{tenant: acme, name: lab, devices: []}, {tenant: acme, name: ready',
    ),
    'long.yaml':
      'name: long\nsteps: [{for: {n: 1..1000000}, steps: [{createProcess: "p$n"}, {by: "p$n", killProcess: null}]}]',
  });
  const settings = { ...env, HOLDOVER_PORT: '0', HOLDOVER_DATA_DIR: directory };
  const { code, output } = await runMain([], settings, /host made from a seed file/);
  assert.equal(code, 0, output);
  assert.doesNotMatch(output, /listening|HOLDOVER_SEED_DIR/);
  write('long.yaml', 'name: short\nsteps: [{createProcess: vmm}]');
  const service = await startService(t, directory, { dev: false, env });
  assert.deepEqual(
    (await hostsOf(service)).map(({ name, labels }) => [name, labels]),
    [
      ['lab', {}],
      ['ready', {}],
    ],
  );
});

for (const [what, files, expected] of [
  [
    'a step that is refused',
    { 'a.yaml': host('s.yaml'), 's.yaml': 'name: s\nsteps:\n  - createProcess: vmm\n  - close: 9' },
    /a\.yaml \/hosts\/0\/scenario: \S+\/s\.yaml:4: the step was refused; expected success, got \{"errno":"EBADF".*\}\.$/,
  ],
  [
    'a step of a setup',
    {
      'a.yaml': host('s.yaml'),
      's.yaml': 'name: s\nsteps: [{use: x}]',
      'setups/x.yaml': 'steps:\n  - getDevice: 0000:09:00.0',
    },
    /\/setups\/x\.yaml:2: the step was refused \(in a setup, used at \S+\/s\.yaml:2\); expected success, got /,
  ],
  [
    'a host that cannot be made',
    { 'a.yaml': host('s.yaml'), 's.yaml': 'name: s\nhost: {preset: nothing}\nsteps: [{createProcess: vmm}]' },
    /\/s\.yaml:2: the host was refused; expected a host, got .*preset/,
  ],
  [
    'what is not known in a scenario',
    { 'a.yaml': host('s.yaml'), 's.yaml': 'name: s\nsteps:\n  - creatProcess: vmm' },
    /\/s\.yaml:3: `creatProcess` is not known here; did you mean `createProcess`/,
  ],
  [
    'a scenario that is not there',
    { 'a.yaml': host('s.yaml') },
    /\/scenario: \S+\/s\.yaml cannot be read \(ENOENT\)\.$/,
  ],
  [
    'several hosts',
    { 'a.yaml': host('s.yaml'), 's.yaml': 'name: s\nhosts: {a: {}, b: {}}\nsteps: [{host: a, createProcess: vmm}]' },
    /\/s\.yaml:2: it has `hosts`, and here it is of one host/,
  ],
  [
    'parameters',
    { 'a.yaml': host('s.yaml'), 's.yaml': 'name: s\nparameters: {n: [1]}\nsteps: [{createProcess: vmm}]' },
    /\/s\.yaml:2: it has `parameters`, and here it is run once/,
  ],
  [
    'several scenarios',
    {
      'a.yaml': host('x/s.yaml'),
      'x/s.yaml': 'name: s\nsteps: [{createProcess: v}]\n---\nname: t\nsteps: [{createProcess: v}]',
    },
    /\/x\/s\.yaml:4: it is the second scenario/,
  ],
  [
    'a machine beside the scenario',
    { 'a.yaml': host('s.yaml', ', preset: vmm-lab'), 's.yaml': 'name: s\nsteps: [{createProcess: vmm}]' },
    /a\.yaml \/hosts\/0\/preset: what machine it is says the scenario\.$/,
  ],
  [
    'a scenario that no host has',
    { 'a.yaml': TENANTS, 's.yaml': 'name: s\nsteps: [{createProcess: vmm}]' },
    /s\.yaml: it is a scenario, and no host of a seed file has it/,
  ],
] as const) {
  test(`${what} ends the start, and says where; nothing is left`, async (t) => {
    const { directory, env } = seeded(t, files);
    const settings = { HOLDOVER_PORT: '0', HOLDOVER_DATA_DIR: directory, HOLDOVER_LOG_LEVEL: 'silent' };
    const { code, output } = await runMain([], { ...settings, ...env });
    assert.equal(code, 1, output);
    assert.match(output.trim(), expected);
    assert.equal(output.trim().split('\n').length, 1, output);
    const service = await startService(t, directory, { dev: false, env: { HOLDOVER_TENANTS: `acme:${KEY}` } });
    assert.deepEqual(await hostsOf(service), []);
  });
}
