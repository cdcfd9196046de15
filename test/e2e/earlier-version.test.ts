/**
 * A data directory of the version before shapes (engine 6) opens, works and goes through a live update. It was made by
 * that version, over HTTP: `whole` and `journal-only` have all their commands; of `before`, `large`, `nested` and `after`
 * those that their older snapshot holds were deleted, as a long history has it. Each had two stops after 101 commands.
 *
 * - whole, journal-only: a VMM on D1, its memfd, iommufd and cdev in session `vm1`, as in `test/support/setups.ts`, with
 *   8 MiB; `whole` was updated behind its newest snapshot.
 * - before: two such VMMs, on D1 and D2, in sessions `vm1` and `vm2`; a third process with 133 pages mapped one by one,
 *   a copy of one, a legacy group in a container, and files it was sent; armed faults; a group of type identity.
 * - large: 16 GiB of a memfd mapped without huge pages on an AMD machine, some of it dirty.
 * - nested: vIOMMU, vDEVICE, queues with something in them, a nested HWPT with a PASID, an access that pins.
 * - after: four VMMs behind a live update: D1 in state L, D2 in A, D3 in S, D4 in X.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { zstdDecompressSync } from 'node:zlib';
import { ENGINE } from '../../src/lanes/engine-version.ts';
import { openStore } from '../../src/store/sqlite/store.ts';
import { D1, D2, D3, D4, Host, MIB } from '../support/client.ts';
import { type DirectoryApp, serveDirectory } from '../support/directory-app.ts';
import { Process } from '../support/process.ts';
import { IOVA } from '../support/setups.ts';

const DATA = new URL('../fixtures/engine-6.db.zst', import.meta.url);
const KEY = 'key-of-the-test-tenant';
const RAM = 8 * MIB;
const SHORTENED = ['before', 'large', 'nested', 'after'];

const directory = mkdtempSync(join(tmpdir(), 'holdover-test-'));
const ids = new Map<string, string>();
let app: DirectoryApp;

before(async () => {
  writeFileSync(join(directory, 'holdover.db'), zstdDecompressSync(readFileSync(DATA)));
  app = await serveDirectory(directory, KEY);
  const { body } = await app.agent.get('/v1/hosts').set('authorization', `Bearer ${KEY}`);
  for (const { id, name } of (body as { items: { id: string; name: string }[] }).items) ids.set(name, id);
});

after(async () => {
  await app.stop();
  rmSync(directory, { recursive: true });
});

const host = (name: string): Host => new Host(app, ids.get(name)!);
const text = (name: string): string => `written by ${name} before the kexec`;

/** Everything that can be read of a host, down to objects of iommufds. */
async function readAll(of: Host): Promise<void> {
  for (const path of ['', '/devices', '/groups', '/domains', '/sessions', '/processes', '/faults', '/events'])
    await of.request('get', path);
  const { items } = (await of.request('get', '/processes')) as {
    items: { pid: number; descriptors: { fd: number; kind: string }[] }[];
  };
  for (const { pid, descriptors } of items)
    for (const { fd } of descriptors.filter(({ kind }) => kind === 'iommufd')) {
      const path = `/processes/${pid}/iommufds/${fd}`;
      const { ioases, hwpts } = (await of.request('get', path)) as { ioases: number[]; hwpts: number[] };
      for (const ioas of ioases)
        for (const more of ['', '/mappings']) await of.request('get', `${path}/ioases/${ioas}${more}`);
      for (const hwpt of hwpts) await of.request('get', `${path}/hwpts/${hwpt}`);
    }
}

interface Retrieved {
  vmm: Process;
  session: number;
  memfd: number;
  iommufd: number;
  cdev: number;
}

/** The next kernel's share of a live update, up to the swap of the domain. */
async function retrieve(of: Host, bdf: string, name: string): Promise<Retrieved> {
  await of.bindDriver(bdf, 'vfio-pci');
  const vmm = await of.process({ name });
  const liveupdate = await vmm.openLiveupdate();
  const session = await vmm.retrieveSession(liveupdate, name);
  await vmm.close(liveupdate);
  const memfd = await vmm.retrieve(session, 1);
  const iommufd = await vmm.retrieve(session, 2);
  return { vmm, session, memfd, iommufd, cdev: await vmm.retrieve(session, 3) };
}

async function swap({ vmm, session, memfd, iommufd, cdev }: Retrieved, token: number): Promise<void> {
  const device = await vmm.bind(cdev, iommufd);
  const old = await vmm.restore(iommufd, token);
  const ioas = await vmm.allocIoas(iommufd);
  await vmm.mapFile(iommufd, ioas, IOVA, memfd, RAM);
  await vmm.attach(cdev, await vmm.allocHwpt(iommufd, device, ioas));
  await vmm.destroy(iommufd, old);
  await vmm.finish(session);
}

async function reads(of: Host, bdf: string, name: string): Promise<void> {
  assert.equal((await of.dmaRead(bdf, IOVA, text(name).length)).toString(), text(name));
}

test('every host can be read, and none is diverged or lost', async () => {
  assert.deepEqual([...ids.keys()].sort(), ['after', 'before', 'journal-only', 'large', 'nested', 'whole']);
  for (const name of ids.keys()) {
    await readAll(host(name));
    const { diverged } = (await host(name).request('get', '')) as { diverged: unknown };
    assert.equal(diverged, null, name);
  }
  assert.deepEqual(app.log, []);
});

test('hosts with all their commands are what they were', async () => {
  await reads(host('journal-only'), D1, 'vm1');
  await swap(await retrieve(host('journal-only'), D1, 'vm1'), 7);
  await reads(host('journal-only'), D1, 'vm1');
  await reads(host('whole'), D1, 'vm1');
});

test('before: maps and unmaps go on, and two sessions go through a live update', async () => {
  const of = host('before');
  await reads(of, D1, 'vm1');
  assert.equal((await of.dmaRead(D1, IOVA + 4096, 6)).toString(), 'by DMA');
  const other = new Process(of, 3);
  const { items } = (await of.request('get', '/processes/3/iommufds/3/ioases/1/mappings')) as {
    items: { iova: string }[];
  };
  assert.equal(items.length, 133);
  await other.map(3, 1, 0x2000_0000, 0x7000_0000_0000, 4096);
  await other.unmap(3, 1, 0x2000_0000 + 8192, 4096);
  // Where it fits, the kernel chooses the hole that has come about.
  const { iova } = await other.ioctl(3, 'IOMMU_IOAS_MAP', {
    flags: 6,
    ioas_id: 1,
    user_va: '0x700000001000',
    length: 4096,
  });
  assert.equal(iova, '0x1000');
  const { armed } = (await of.request('get', '/faults')) as { armed: { point: string; nth: number }[] };
  assert.deepEqual(
    armed.map(({ point }) => point),
    ['memfd.freeze', 'allocation'],
  );
  await of.kexec();
  await reads(of, D1, 'vm1');
  await reads(of, D2, 'vm2');
  await swap(await retrieve(of, D1, 'vm1'), 7);
  await swap(await retrieve(of, D2, 'vm2'), 9);
  await reads(of, D1, 'vm1');
  await reads(of, D2, 'vm2');
});

test('large: which pages are dirty is known, and its tables are taken apart', async () => {
  const vmm = new Process(host('large'), 1);
  const range = { hwpt_id: 3, iova: '0x10000000000', length: 16 * MIB, page_size: 4096 };
  const { data } = await vmm.ioctl(4, 'IOMMU_HWPT_GET_DIRTY_BITMAP', range);
  const bitmap = Buffer.from(String(data), 'base64');
  assert.deepEqual(
    [...bitmap.entries()].filter(([, byte]) => byte !== 0),
    [
      [0, 0b100001],
      [(2 * MIB) / 4096 / 8, 0b10],
    ],
  );
  await host('large').dmaWrite(D1, 2 ** 40 + 5 * MIB, 'dirty');
  await vmm.unmap(4, 2, 2 ** 40, 16 * 1024 * MIB);
  await host('large').dmaFaults(D1, 2 ** 40);
  await host('large').kexec();
  assert.equal(await host('large').ownedBytes('memfd'), 0);
});

test('nested: queues hold what they held, and everything goes with its process', async () => {
  const process = new Process(host('nested'), 1);
  const { faults } = await process.call('read', { fd: 5, length: 40 });
  assert.deepEqual(
    (faults as { grpid: number; cookie: number }[]).map(({ grpid, cookie }) => [grpid, cookie]),
    [[2, 2]],
  );
  assert.equal((await process.call('write', { fd: 5, length: 8, responses: [{ cookie: 1, code: 0 }] })).ret, 8);
  const { events } = await process.call('read', { fd: 6, length: 36 });
  assert.deepEqual(events, [
    { flags: 0, sequence: 0, virt_id: 9 },
    { flags: 0, sequence: 1, virt_id: 9 },
    { flags: 1, sequence: 3 },
  ]);
  await process.kill();
  await host('nested').kexec();
});

test('after: devices in all states of a restored domain go on from there', async () => {
  const of = host('after');
  const states = await Promise.all([D1, D2, D3, D4].map(async (bdf) => (await of.device(bdf)).state));
  assert.deepEqual(states, ['L', 'A', 'S', 'X']);
  await reads(of, D1, 'vm1');
  assert.equal((await of.dmaRead(D1, IOVA + 4096, 18)).toString(), 'by DMA, in state L');
  const vmm = new Process(of, 1);
  await swap({ vmm, session: 4, memfd: 5, iommufd: 6, cdev: 7 }, 7);
  await reads(of, D1, 'vm1');
  const adopted = new Process(of, 2);
  await adopted.finish(4);
  await reads(of, D2, 'vm2');
  // One more live update, of what has just been swapped.
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'again');
  await vmm.preserve(session, 5, 1);
  const hwpts = (await vmm.iommufd(6)).hwpts;
  await vmm.mark(6, hwpts.at(-1)!, 8);
  await vmm.preserve(session, 6, 2);
  await vmm.preserve(session, 7, 3);
  await of.kexec();
  await reads(of, D1, 'vm1');
  await swap(await retrieve(of, D1, 'again'), 8);
  await reads(of, D1, 'vm1');
});

test('after a stop they are stored as this version does it, and are the same', async () => {
  const digests = new Map<string, string>();
  const digestOf = async (name: string): Promise<string> =>
    ((await host(name).request('get', '')) as { digest: string }).digest;
  for (const name of ids.keys()) digests.set(name, await digestOf(name));
  await app.stop();
  const store = openStore({ directory });
  for (const name of SHORTENED)
    assert.equal((await store.snapshots.before(ids.get(name)!, Number.MAX_SAFE_INTEGER))?.engine, ENGINE, name);
  await store.close();
  app = await serveDirectory(directory, KEY);
  for (const [name, digest] of digests) assert.equal(await digestOf(name), digest, name);
  assert.deepEqual(app.log, []);
});
