/** Hosts as files: what comes out of one is the host that went in, and nothing else is taken for one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type HostFile, sealOf } from '../../src/lanes/host-file.ts';
import { atOnce } from '../../src/lanes/slices.ts';
import { LARGE } from '../../src/limits.ts';
import { useApp } from '../support/app.ts';
import { D1, Host, type HostMaker } from '../support/client.ts';
import { serveDirectory } from '../support/directory-app.ts';
import { ADMIN_KEY } from '../support/keys.ts';
import { temporaryDirectory } from '../support/service.ts';
import { adopt, IOVA, prepare, TEXT, TOKEN } from '../support/setups.ts';

const app = useApp();

interface File {
  origin: { id: string; name: string };
  sequence: number;
  digest: string;
  history: { sequence: number; op: string }[];
  state: string[];
  sha256: string;
  signature: string;
  [field: string]: unknown;
}

const fileOf = async (host: Host, query = ''): Promise<File> => (await host.request('get', `/export${query}`)) as File;
const digestOf = async (host: Host): Promise<string> => ((await host.view()) as unknown as File).digest;

async function taken(file: unknown, by: HostMaker = app): Promise<Host> {
  return new Host(by, ((await new Host(by, '').ask('post', '/v1/hosts/import', file)) as { id: string }).id);
}

test('a host of a file is the same, and answers the same calls in the same way', async () => {
  const first = await adopt(app);
  const file = await fileOf(first.host);
  assert.equal(file.digest, await digestOf(first.host));
  assert.deepEqual(
    file.history.map(({ sequence }) => sequence),
    Array.from({ length: file.sequence }, (_, index) => index + 1),
  );
  const second = await taken(file);
  assert.equal(await digestOf(second), file.digest);
  const [begin] = await second.events();
  assert.deepEqual(
    [begin?.kind, begin?.data],
    ['copy', { of: first.host.id, sequence: file.sequence, state: 'running' }],
  );

  const { vmm, iommufd, cdev, session } = first;
  const { pid } = vmm;
  const go = async (host: Host): Promise<unknown[]> => [
    await host.runCalls(pid, [
      { call: 'ioctl', fd: iommufd, request: 'IOMMU_HWPT_LU_RESTORE', arg: { token: TOKEN } },
      { call: 'ioctl', fd: session, request: 'LIVEUPDATE_SESSION_FINISH', arg: {} },
      { call: 'close', fd: cdev },
    ]),
    String(await host.dmaRead(D1, IOVA, TEXT.length).catch((error: Error) => error.message.replace(/h-\w+/g, ''))),
    (await host.device(D1)).state,
    await digestOf(host),
  ];
  assert.deepEqual(await go(second), await go(first.host));
});

test('between two kernels nothing is lost: the file of a prepared host is updated elsewhere', async () => {
  const { host } = await prepare(app);
  const other = await taken(await fileOf(host));
  await other.kexec();
  assert.equal((await other.device(D1)).state, 'L');
  assert.equal(String(await other.dmaRead(D1, IOVA, TEXT.length)), TEXT);
  assert.equal((await host.device(D1)).state, 'N');
  const again = await taken(await fileOf(other));
  assert.equal(await digestOf(again), await digestOf(other));
});

test('without memory all is as it was, but for what was written there', async () => {
  const { host, vmm, memfd } = await prepare(app);
  const file = await fileOf(host, '?without=memory');
  assert.ok(!JSON.stringify(file).includes(Buffer.from(TEXT).toString('base64')));
  assert.notEqual(file.digest, await digestOf(host));
  const other = await taken(file);
  const path = `/devices/${D1}/translation?iova=${IOVA}&length=4096`;
  assert.deepEqual(await other.request('get', path), await host.request('get', path));
  await other.kexec();
  assert.equal((await other.device(D1)).state, 'L');
  assert.equal(String(await other.dmaRead(D1, IOVA, TEXT.length)), '\0'.repeat(TEXT.length));
  // What is handed over and not retrieved yet is as little told.
  const again = await taken(await fileOf(other, '?without=memory'));
  assert.equal((await again.device(D1)).state, 'L');
  assert.equal(await vmm.read(memfd, 0, TEXT.length), TEXT);
  await host.kexec();
  const late = await taken(await fileOf(host, '?without=memory'));
  assert.equal(String(await late.dmaRead(D1, IOVA, TEXT.length)), '\0'.repeat(TEXT.length));
  assert.equal(String(await host.dmaRead(D1, IOVA, TEXT.length)), TEXT);
});

test('what a host was brought back to is not in its file', async () => {
  const { host } = await prepare(app);
  await host.request('put', '/snapshots/ready');
  await host.request('post', '/snapshots/ready/restore');
  const { history } = await fileOf(host, '?without=memory');
  const last = history.at(-1) as { op: string; payload?: string };
  assert.deepEqual([last.op, last.payload], ['restore', undefined]);
});

test('a large one is read in another thread', async () => {
  const { host, vmm, iommufd } = await prepare(app);
  await vmm.mmap(0x7f00_0000_0000, 4096);
  const ioas = await vmm.allocIoas(iommufd);
  const operations = Array.from({ length: 20_000 }, (_, index) => ({
    op: 'map',
    iova: `0x${(0x10_0000_0000 + ((index * 7919) % 20_000) * 0x4000).toString(16)}`,
    length: 4096,
    userVa: '0x7f0000000000',
  }));
  const path = `/processes/${vmm.pid}/iommufds/${iommufd}/ioases/${ioas}/batch`;
  const { applied } = (await host.request('post', path, { operations })) as { applied: number };
  assert.equal(applied, operations.length);
  const file = await fileOf(host);
  assert.ok(JSON.stringify(file).length > 10 * LARGE);
  assert.equal(await digestOf(await taken(file)), file.digest);
});

test('a file that is not what it was, is none, or is from elsewhere is refused by name, and nothing is made', async () => {
  const { host } = await prepare(app);
  const file = await fileOf(host);
  const count = async (): Promise<number> =>
    ((await new Host(app, '').ask('get', '/v1/hosts?limit=1000')) as { items: unknown[] }).items.length;
  const before = await count();
  const zeroes = '0'.repeat(64);
  const [first, ...rest] = file.state;
  const wrong: [string, unknown, RegExp][] = [
    ['a piece of it is missing', { ...file, state: rest }, /400 .*\/sha256.*not what it was/],
    ['a character has changed', { ...file, state: [`A${first!.slice(1)}`, ...rest] }, /400 .*\/sha256/],
    ['another description', { ...file, spec: { machine: { functions: [], iommus: [] } } }, /400 .*\/sha256/],
    ['its history is another one', { ...file, history: [] }, /400 .*\/sha256/],
    ['somebody else has signed it', { ...file, signature: zeroes }, /400 .*\/signature.*HOLDOVER_FILE_KEY/],
    ['a field is missing', { ...file, digest: undefined }, /400 .*\/digest/],
    ['a later kind of file', { ...file, format: 'holdover-host/9' }, /400 .*\/format/],
    ['something else', { preset: 'vmm-lab' }, /400 .*\/format/],
  ];
  for (const [what, body, refusal] of wrong) await assert.rejects(taken(body), refusal, what);
  const junk = `[${'{},'.repeat(2 ** 20)}{}]`;
  const answer = await app.agent
    .post('/v1/hosts/import')
    .set('authorization', `Bearer ${app.key}`)
    .set('content-type', 'application/json')
    .send(junk);
  assert.deepEqual([answer.status, answer.body.type], [413, '/problems/body-too-large'], 'too many values');
  assert.equal(await count(), before);
  await taken(JSON.parse(JSON.stringify(file, null, 2)));
  assert.equal(await count(), before + 1);
});

test('another tenant’s host cannot be saved, as it is not there; a file is for whoever has it', async () => {
  const host = await app.host();
  const made = await app.agent
    .post('/v1/admin/tenants')
    .set('authorization', `Bearer ${ADMIN_KEY}`)
    .send({ name: 'filer' });
  const { key } = made.body as { key: string };
  const auth = `Bearer ${key}`;
  assert.equal((await app.agent.get(`/v1/hosts/${host.id}/export`).set('authorization', auth)).status, 404);
  const answer = await app.agent
    .post('/v1/hosts/import')
    .set('authorization', auth)
    .send(await fileOf(host));
  assert.equal(answer.status, 201, answer.text);
  assert.equal(answer.headers.location, `/v1/hosts/${answer.body.id}`);
});

test('whoever runs the service takes files of others, too; those which hold no host are still refused', async (t) => {
  const { host } = await prepare(app);
  const file = await fileOf(host);
  const own = await serveDirectory(temporaryDirectory(t), 'key-of-mine', { dev: true });
  t.after(() => own.stop());
  const made = async (changes: object): Promise<Host> => {
    const { signature, sha256: _, ...rest } = { ...file, ...changes };
    const sha256 = atOnce(sealOf(rest as unknown as HostFile));
    return await taken({ ...rest, sha256, signature }, own);
  };
  assert.equal(await digestOf(await made({})), file.digest);
  const digest = '0'.repeat(64);
  const cases: [object, RegExp][] = [
    [{ state: [] }, /400 .*\/state: this version cannot read it/],
    [{ state: ['AAAA'] }, /400 .*\/state: this version cannot read it/],
    [{ state: file.state.slice(1) }, /400 .*\/state: this version cannot read it/],
    [{ engine: '0123456789abcdef' }, /400 .*\/state: .*no upgrade step leads here/],
    [{ digest }, /400 .*\/digest: the host in `state` is another one/],
  ];
  for (const [changes, refusal] of cases) await assert.rejects(made(changes), refusal);
});
