/** What `holdover` asks of a service, what it shows of the answers, and how it ends. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1 } from '../support/client.ts';
import { ADMIN_KEY } from '../support/keys.ts';
import { temporaryDirectory } from '../support/service.ts';
import { prepare } from '../support/setups.ts';
import { command, type Given } from './command.ts';

const app = useApp();

/** Ends with 0, and has said this. */
async function done(args: readonly string[], given?: Given): Promise<string> {
  const { code, output, errors } = await command(args, app, given);
  assert.equal(code, 0, errors);
  return output;
}

const json = async (args: readonly string[], given?: Given): Promise<unknown> =>
  JSON.parse(await done([...args, '--json'], given));

const newHost = async (...args: string[]): Promise<string> => (await done(['hosts', 'create', ...args])).trim();

test('hosts are made, listed, shown and deleted', async () => {
  const id = await newHost('--name', 'lab');
  assert.match(id, /^h-\w+$/, 'the id alone, for scripts');
  assert.match(await done(['hosts']), new RegExp(`^HOST +NAME +MADE +STATE\n(.*\n)*${id} +lab .* ok\n`));
  assert.match(await done(['hosts', 'show', id]), new RegExp(`^${D1} +0 +vfio-pci +N +/dev/vfio/devices/vfio0`, 'm'));
  const { devices, kernel } = (await json(['hosts', 'show', id])) as { devices: object[]; kernel: number };
  assert.deepEqual([devices.length, kernel], [5, 1]);
  assert.deepEqual(await json(['hosts', 'delete', id]), { deleted: [id] });
  const left = (await json(['hosts'])) as { id: string }[];
  assert.ok(!left.some((host) => host.id === id));
});

test('a host is made of a description, also from standard input', async () => {
  const given = { input: '{"devices": [{"bdf": "0000:07:00.0", "class": "0108"}], "iommus": [{"kind": "amd-vi"}]}' };
  const id = (await done(['hosts', 'create', '--file', '-'], given)).trim();
  assert.match(await done(['hosts', 'show', id]), /^0000:07:00\.0 /m);
});

test('calls of a file are run, and one that fails is told by the exit code', async (t) => {
  const id = await newHost();
  const calls = '[{"call": "open", "path": "/dev/iommu"}, {"call": "close", "fd": 9}]';
  const failed = await command(['calls', id], app, { input: calls });
  assert.equal(failed.code, 1);
  assert.equal(failed.output, 'process 1\n  0  3\n  1  EBADF file_close_fd: process 1 has no descriptor 9 open\n');
  const again = { input: '{"calls": [{"call": "close", "fd": 3}]}' };
  assert.deepEqual(await json(['calls', id, '-', '--pid', '1'], again), { pid: 1, results: [{ ret: 0 }] });
  const file = join(temporaryDirectory(t), 'no.json');
  const missing = await command(['calls', id, file], app);
  assert.deepEqual([missing.code, missing.errors], [2, `holdover: ${file} cannot be read (ENOENT).\n`]);
});

test('preflight and kexec tell what becomes of devices, and events tell both kernels', async () => {
  const id = await newHost();
  assert.match(
    await done(['preflight', id]),
    /^A kexec would be taken\.\nlive-update, (.*\n)+.*0000:04:00\.0 +quiesced/,
  );
  assert.match(await done(['kexec', id]), /^kernel 2: running\nlive-update, .* no kernel for 1\.000001 s\n/);
  assert.match(await done(['events', id]), /^kernel 1\n +0\.000000 +boot +booted cold\n(.*\n)+\nkernel 2\n/);
  const lines = (await done(['events', id, '--kind', 'boot', 'kexec', '--json'])).trim().split('\n');
  assert.deepEqual(
    lines.map((line) => (JSON.parse(line) as { kind: string }).kind),
    ['boot', 'kexec', 'boot'],
  );
});

test('a kexec that would be refused is told beforehand, and refused with errno and reason', async () => {
  const { host } = await prepare(app);
  await host.request('patch', `/devices/${D1}`, { interruptsEnabled: true });
  const before = await command(['preflight', host.id], app);
  const refused = await command(['kexec', host.id], app);
  assert.deepEqual([before.code, refused.code], [1, 1], before.output + refused.output);
  const [, errno] = /^refused: (E\w+) /.exec(before.output) ?? assert.fail(before.output);
  assert.match(refused.errors, new RegExp(`^holdover: ${errno} \\(\\w+\\): `));
  const { errors } = await command(['kexec', host.id, '--json'], app);
  assert.equal((JSON.parse(errors) as { errno: string }).errno, errno);
});

test('a host is cloned as it is and as it was, and goes through a file', async (t) => {
  const id = await newHost();
  await done(['kexec', id]);
  const kernelOf = async (host: string): Promise<number> =>
    ((await json(['hosts', 'show', host])) as { kernel: number }).kernel;
  assert.equal(await kernelOf((await done(['clone', id])).trim()), 2);
  assert.equal(await kernelOf((await done(['clone', id, '--at', '0', '--name', 'before'])).trim()), 1);
  const file = join(temporaryDirectory(t), 'host.json');
  const { bytes } = (await json(['export', id, file])) as { bytes: number };
  assert.equal(readFileSync(file).length, bytes);
  assert.equal(await done(['export', id, '-']), readFileSync(file, 'utf8'));
  assert.equal(await kernelOf((await done(['import', file])).trim()), 2);
});

test('tenants are made and listed with the key of the administration, and the new key works', async () => {
  const env = { HOLDOVER_ADMIN_KEY: ADMIN_KEY };
  const key = (await done(['tenants', 'create', 'acme'], { env })).trim();
  assert.match(await done(['tenants', '--admin-key', ADMIN_KEY]), / acme /);
  assert.equal(
    (await command(['hosts'], { url: app.url, key })).output.split('\n')[0],
    'There is no host yet. "holdover hosts create" makes one.',
  );
  const without = await command(['tenants'], app);
  assert.equal(without.code, 2);
  assert.match(without.errors, /HOLDOVER_ADMIN_KEY/);
});

test('what is wrong is told with what to do, and by the exit code', async () => {
  const gone = { url: 'http://127.0.0.1:2', key: app.key };
  const cases: [args: string[], place: { url: string; key: string }, code: number, errors: RegExp][] = [
    [['hosts'], gone, 3, /^holdover: No Holdover answers at http:\/\/127\.0\.0\.1:2 \(ECONNREFUSED\)\. Start one with/],
    [['hosts'], { ...app, url: app.url, key: 'wrong' }, 1, /Nobody has this key\..* HOLDOVER_KEY/],
    [['hosts', 'show', 'h-none'], app, 1, /^holdover: There is no such host\./],
    [['hostz'], app, 2, /unknown command 'hostz'\n\(Did you mean hosts\?\)/],
    [['kexec'], app, 2, /missing required argument 'host'/],
    [['kexec', 'h', '--mode', 'soft'], app, 2, /Allowed choices are live-update, plain/],
    [['clone', 'h', '--at', 'x'], app, 2, /It has to be a whole number/],
    [[], app, 2, /^Usage: holdover/],
  ];
  for (const [args, place, code, errors] of cases) {
    const ended = await command(args, place);
    assert.deepEqual([ended.code, ended.output], [code, ''], `${args.join(' ')}: ${ended.errors}`);
    assert.match(ended.errors, errors);
  }
  const { code, output } = await command(['--help']);
  assert.equal(code, 0);
  assert.match(output, /Exit codes: 0 done/);
});

test('colours are for terminals', async () => {
  const { output } = await command(['hosts'], app, { env: { TERM: 'xterm', FORCE_COLOR: '1' } });
  assert.ok(!output.includes('\u001b'));
});

/** As ftrace prints it; the last unmap is of what is not mapped. */
const TRACE = `# tracer: nop
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
       swapper/0-1       [000] .....     1.151388: add_device_to_group: IOMMU: groupID=1 device=0000:00:02.0
 qemu-system-x86-69      [000] .....     5.001043: map: IOMMU: iova=0x0000000100000000 - 0x0000000100010000 paddr=0x0000000126e00000 size=65536
 qemu-system-x86-69      [000] .....     5.001050: map: IOMMU: iova=0x0000000100020000 - 0x0000000100021000 paddr=0x0000000126ec0000 size=4096
 qemu-system-x86-69      [000] .....     5.001061: unmap: IOMMU: iova=0x0000000100020000 - 0x0000000100021000 size=4096 unmapped_size=4096
 qemu-system-x86-69      [000] .....     5.001072: unmap: IOMMU: iova=0x0000000100000000 - 0x0000000100001000 size=4096 unmapped_size=4096
`;

test('replay does what a trace of a real machine says, and tells what was refused', async () => {
  const { code, output } = await command(['replay', '-', '--batch', '3', '--json'], app, { input: TRACE });
  const { errors, ...told } = JSON.parse(output);
  assert.equal(code, 1);
  assert.deepEqual([told.operations, told.applied, told.failed], [4, 3, 1]);
  assert.deepEqual([errors[0].index, errors[0].errno], [3, 'ENOENT']);
  const path = `/v1/hosts/${told.host}/processes/${told.pid}/iommufds/${told.iommufd}/ioases/${told.ioas}/mappings`;
  const { body } = await app.agent.get(path).set('authorization', `Bearer ${app.key}`);
  assert.deepEqual(
    body.items.map(({ iova, length }: { iova: string; length: string }) => [iova, length]),
    [['0x100000000', '0x10000']],
  );
  const again = [
    '--host',
    told.host,
    '--pid',
    told.pid,
    '--iommufd',
    told.iommufd,
    '--ioas',
    told.ioas,
    '--memfd',
    told.memfd,
  ];
  const second = await command(['replay', '-', ...again.map(String)], app, { input: TRACE });
  assert.match(second.output, /2 of 4 operations done, 2 refused\n +0 {2}EEXIST /);
  const none = await command(['replay', '-'], app, { input: 'nothing' });
  assert.deepEqual([none.code, none.output], [2, '']);
  assert.match(none.errors, /No line of it is of iommu:map/);
});
