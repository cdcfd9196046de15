/** DMA that goes on by itself: an update and a hot-swap have no gap, for each page; a mistake has one, and it is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EngineView } from '../../src/host/views.ts';
import { useApp } from '../support/app.ts';
import { D1, E1, type Host, MIB } from '../support/client.ts';
import type { Process } from '../support/process.ts';
import {
  adopt,
  buildSuccessor,
  IOVA,
  prepare,
  preserveAll,
  RAM,
  retrieveAll,
  setUpVmm,
  TOKEN,
} from '../support/setups.ts';

const app = useApp();
const PAGES = RAM / 4096;

async function isWhole(host: Host, engine: EngineView): Promise<EngineView> {
  const report = await host.engine(engine);
  const { continuous, continuousPages, gaps, moved, freed, refused } = report;
  assert.deepEqual(
    { continuous, continuousPages, gaps, moved, freed, refused },
    { continuous: true, continuousPages: report.pages, gaps: [], moved: [], freed: [], refused: '0' },
  );
  return report;
}

test('over a kexec and a hot-swap each of 16,384 pages is reached at any time, and leads to the same memory', async () => {
  const { host, watch } = await prepare(app);
  const engine = await host.startEngine(D1, IOVA, RAM);
  assert.equal(engine.pages, 16384);
  await host.kexec();
  await isWhole(host, engine);
  const q = await retrieveAll(host, watch);
  q.device = await q.vmm.bind(q.cdev, q.iommufd);
  await isWhole(host, engine);
  const restored = await q.vmm.restore(q.iommufd, TOKEN);
  const { hwpt } = await buildSuccessor(q);
  await q.vmm.attach(q.cdev, hwpt);
  await q.vmm.destroy(q.iommufd, restored);
  await q.vmm.finish(q.session);
  await host.advanceClock('5000000000');
  const { accesses, until, since } = await isWhole(host, engine);
  // A GiB in a second is 262,144 pages.
  assert.equal(BigInt(accesses), ((BigInt(until) - BigInt(since)) * 262_144n) / 1_000_000_000n);
  assert.deepEqual(host.told, []);
  const last = (await host.request('delete', `/devices/${D1}/engines/${engine.id}`)) as EngineView;
  assert.equal(last.stopped, 'asked');
  assert.equal(last.continuous, true);
  await assert.rejects(host.engine(engine), /404/);
});

test('a device that is left behind has a gap from the boot on, over all of its pages', async () => {
  const { host } = await setUpVmm(app);
  const engine = await host.startEngine(D1, IOVA, RAM);
  const { hazards } = await host.kexec();
  assert.ok(hazards?.some(({ data }) => data.bdf === D1));
  const cursor = (await host.events()).find(({ kind }) => kind === 'engine.gap')!;
  assert.deepEqual([cursor.data.bdf, cursor.data.bytes], [D1, '0x4000000']);
  await host.advanceClock('1000000');
  const { gaps, continuousPages, refused, until } = await host.engine(engine);
  assert.equal(continuousPages, 0);
  assert.equal(gaps.length, 1);
  const [gap] = gaps;
  assert.deepEqual([gap!.until, gap!.iova, gap!.pages], [null, '0x100000000', PAGES]);
  const during = BigInt(until) - BigInt(gap!.since);
  assert.ok(BigInt(refused) >= (during * 262_144n) / 1_000_000_000n - 1n);
});

test('a hot-swap that maps half has a gap over the other half, until that is mapped', async () => {
  const q = await adopt(app);
  const { host } = q;
  const engine = await host.startEngine(D1, IOVA, RAM);
  const { ioas, hwpt } = await buildSuccessor(q, RAM / 2);
  await q.vmm.attach(q.cdev, hwpt);
  await host.advanceClock('1000000000');
  await q.vmm.mapFile(q.iommufd, ioas, IOVA + RAM / 2, q.memfd, RAM / 2, RAM / 2);
  const { gaps, continuousPages, moved } = await host.engine(engine);
  assert.equal(continuousPages, PAGES / 2);
  assert.deepEqual(moved, []);
  assert.equal(gaps.length, 1);
  const { since, until, iova, pages, refused } = gaps[0]!;
  assert.deepEqual([iova, pages], ['0x102000000', PAGES / 2]);
  const seconds = BigInt(until!) - BigInt(since);
  // Half of the pages, so half of the accesses, but for the part of a round at the ends.
  const expected = (seconds * 131_072n) / 1_000_000_000n;
  assert.ok(BigInt(refused) - expected <= BigInt(PAGES / 2) && expected - BigInt(refused) <= BigInt(PAGES / 2));
  const kinds = (await host.events()).map(({ kind }) => kind).filter((kind) => kind.startsWith('engine.'));
  assert.deepEqual(kinds, ['engine.gap', 'engine.resumed']);
});

test('a hot-swap to other memory moves all pages, without a gap', async () => {
  const q = await adopt(app);
  const { host } = q;
  const engine = await host.startEngine(D1, IOVA, RAM);
  const other = await q.vmm.memfd(RAM);
  const ioas = await q.vmm.allocIoas(q.iommufd);
  await q.vmm.mapFile(q.iommufd, ioas, IOVA, other, RAM);
  await q.vmm.attach(q.cdev, await q.vmm.allocHwpt(q.iommufd, q.device, ioas));
  const { gaps, moved, continuousPages } = await host.engine(engine);
  assert.deepEqual([gaps, continuousPages], [[], 0]);
  assert.deepEqual(
    moved.map(({ iova, pages }) => [iova, pages]),
    [['0x100000000', PAGES]],
  );
});

test('unmapping part of the set is a gap over that part; what is beside it is none of its concern', async () => {
  const { host, vmm, iommufd, ioas, memfd } = await setUpVmm(app);
  const engine = await host.startEngine(D1, IOVA, MIB, { access: 'read' });
  await vmm.mapFile(iommufd, ioas, IOVA + RAM, memfd, MIB);
  await vmm.unmap(iommufd, ioas, IOVA + RAM, MIB);
  await isWhole(host, engine);
  await vmm.unmap(iommufd, ioas, IOVA, RAM);
  const { gaps } = await host.engine(engine);
  assert.deepEqual(
    gaps.map(({ iova, pages }) => [iova, pages]),
    [['0x100000000', 256]],
  );
  const path = `/processes/${vmm.pid}/iommufds/${iommufd}/ioases/${ioas}/batch`;
  const map = { op: 'map-file', iova: '0x100000000', length: RAM, fd: memfd, start: 0 };
  await host.request('post', path, { operations: [map] });
  const after = await host.engine(engine);
  assert.notEqual(after.gaps[0]!.until, null);
  assert.deepEqual([after.moved, after.continuousPages], [[], 0]);
});

test('memory that is not preserved under a restored domain is freed under the engine, and a hazard', async () => {
  const { host, vmm, memfd, iommufd, cdev, hwpt } = await setUpVmm(app);
  await vmm.allocate(memfd, 4 * MIB, 2 * MIB, 3);
  await vmm.write(memfd, 4 * MIB, 'a new page');
  await preserveAll({ vmm, memfd, iommufd, cdev, hwpt });
  const engine = await host.startEngine(D1, IOVA, RAM);
  await host.kexec();
  const { gaps, freed, continuousPages } = await host.engine(engine);
  assert.deepEqual(gaps, []);
  assert.deepEqual(
    freed.map(({ iova, pages }) => [iova, pages]),
    [['0x100400000', 512]],
  );
  assert.equal(continuousPages, PAGES - 512);
  const told = host.told.map(({ data }) => data.hazard);
  assert.ok(told.includes('stray-write') || told.includes('foreign-write'), String(told));
});

/** What an engine has left at an offset of a memfd: IOVA, engine, round, time. */
async function recordAt(vmm: Process, memfd: number, offset: number): Promise<bigint[]> {
  const path = `/processes/${vmm.pid}/memfds/${memfd}/data?offset=${offset}&length=32`;
  const { data } = (await vmm.host.request('get', path)) as { data: string };
  const bytes = Buffer.from(data, 'base64');
  return [0, 8, 16, 24].map((at) => bytes.readBigUInt64LE(at));
}

test('what a device writes while the kernel is replaced is in the memory of its guest afterwards', async () => {
  const { host, vmm: before, watch, memfd: old } = await prepare(app);
  const engine = await host.startEngine(D1, IOVA + MIB, RAM - MIB, { access: 'write' });
  assert.deepEqual(await recordAt(before, old, RAM - 32), [0n, 0n, 0n, 0n], 'it has not come so far yet');
  await host.kexec();
  const { vmm, memfd } = await retrieveAll(host, watch);
  const now = BigInt((await host.engine(engine)).until);
  for (const offset of [MIB, 8 * MIB + 4064, RAM - 32]) {
    const [iova, id, round, time] = await recordAt(vmm, memfd, offset);
    assert.deepEqual([iova, id], [BigInt(IOVA + offset), 1n]);
    // 63 MiB at a GiB in a second are gone through in 61 ms.
    assert.ok(now - time! < 63_000_000n, `${now - time!} ns ago`);
    assert.ok(round! > 0n);
  }
  // What a process writes stays until the device comes by again.
  await vmm.write(memfd, MIB + 100, 'of the process');
  assert.equal(await vmm.read(memfd, MIB + 100, 14), 'of the process');
  assert.equal((await recordAt(vmm, memfd, MIB + 96 + 32))[0], BigInt(IOVA + MIB + 128));
  await host.advanceClock('70000000');
  assert.equal((await recordAt(vmm, memfd, MIB + 96))[0], BigInt(IOVA + MIB + 96));
});

test('memory that was freed under a device, and is somebody else’s now, is written over: a hazard that names the owner', async () => {
  const { host, vmm, memfd, iommufd, cdev, hwpt } = await setUpVmm(app);
  await vmm.allocate(memfd, 4 * MIB, 2 * MIB, 3);
  await vmm.write(memfd, 4 * MIB, 'a new page');
  await preserveAll({ vmm, memfd, iommufd, cdev, hwpt });
  const engine = await host.startEngine(D1, IOVA + 4 * MIB, 2 * MIB, { access: 'write' });
  await host.kexec();
  const seen = host.told.length;
  const stranger = await host.process({ name: 'stranger' });
  const other = await stranger.memfd(128 * MIB);
  for (let offset = 0; offset < 128 * MIB; offset += 2 * MIB) await stranger.allocate(other, offset, 2 * MIB);
  const { reused } = await host.engine(engine);
  assert.equal(
    reused.reduce((sum, { pages }) => sum + pages, 0),
    512,
  );
  const [told] = host.told.slice(seen);
  assert.deepEqual([told?.data.hazard, told?.data.bdf, told?.data.owner], ['foreign-write', D1, 'memfd']);
  // A page of a memfd that nobody has written to reads as zeros, whatever is in its frame.
  for (let offset = 0; offset < 128 * MIB; offset += MIB) await stranger.write(other, offset + 32, 'a text');
  await host.advanceClock('10000000');
  const found: bigint[] = [];
  for (let offset = 0; offset < 128 * MIB; offset += MIB) {
    const [iova, id] = await recordAt(stranger, other, offset);
    if (id === 1n) found.push(iova! - BigInt(IOVA));
    assert.equal((await stranger.read(other, offset + 32, 6)) === 'a text', id === 0n);
  }
  assert.deepEqual(found, [BigInt(4 * MIB), BigInt(5 * MIB)]);
});

test('a reset ends it, and so do the driver at a kexec, the removal of the device, and a power cycle', async () => {
  const { host } = await prepare(app);
  const reset = await host.startEngine(D1, IOVA, MIB);
  await host.reset(D1);
  assert.equal((await host.engine(reset)).stopped, 'reset');
  await host.bindDriver(E1, 'nvme').catch(() => {});
  const driven = await host.startEngine(E1, 0, MIB);
  const cycled = await host.startEngine(D1, IOVA, MIB);
  await host.kexec();
  assert.equal((await host.engine(driven)).stopped, 'quiesced');
  assert.equal((await host.engine(cycled)).stopped, null);
  await host.powerCycle();
  assert.equal((await host.engine(cycled)).stopped, 'power-cycle');
  const unpowered = await host.startEngine(D1, IOVA, MIB);
  await host.armFault('kexec.power-loss');
  await host.kexec();
  assert.equal((await host.engine(unpowered)).stopped, 'power-cycle');
  const removed = await host.startEngine(E1, 0, MIB);
  await host.request('delete', `/devices/${E1}`);
  assert.equal((await host.engine(removed)).stopped, 'removed');
  const why = (await host.events()).filter(({ kind }) => kind === 'engine.stopped').map(({ data }) => data.why);
  assert.deepEqual(why, ['reset', 'quiesced', 'power-cycle', 'power-cycle', 'removed']);
});

test('what is there from the beginning, and what is not, is known when the host is built anew', async () => {
  const { host } = await setUpVmm(app);
  const engine = await host.startEngine(D1, IOVA + RAM - MIB, 2 * MIB);
  assert.deepEqual([engine.continuousPages, engine.gaps.length], [256, 1]);
  const { id } = (await host.ask('post', '/v1/hosts', { from: host.id })) as { id: string };
  const path = `/v1/hosts/${id}/devices/${D1}/engines/${engine.id}`;
  assert.deepEqual(await host.ask('get', path), engine);
  await host.ask('post', `/v1/hosts/${id}/clock`, { advance: '1000' });
  const later = (await host.ask('get', path)) as EngineView;
  assert.deepEqual([later.continuousPages, later.gaps.length], [256, 1]);
});

test('what is wrong with a range is said, and nothing runs', async () => {
  const { host } = await setUpVmm(app);
  const wrong: [Record<string, unknown>, RegExp][] = [
    [{ ranges: [{ iova: '0x1001', length: '0x1000' }] }, /\/ranges\/0.*whole pages/],
    [{ ranges: [{ iova: '0x1000', length: '0x0' }] }, /\/ranges\/0.*whole pages/],
    [{ ranges: [{ iova: '0xfffffffffffff000', length: '0x2000' }] }, /\/ranges\/0.*64 bits/],
    [
      {
        ranges: [
          { iova: '0x2000', length: '0x2000' },
          { iova: '0x3000', length: '0x1000' },
        ],
      },
      /\/ranges\/1\/iova.*ascend/,
    ],
    [{ ranges: [{ iova: '0x0', length: '0x100001000' }] }, /\/ranges.*1048576 pages/],
    [{ ranges: [{ iova: '0x0', length: '0x1000' }], bytesPerSecond: 1 }, /\/bytesPerSecond.*4096/],
    [{ ranges: [] }, /\/ranges/],
  ];
  for (const [body, refusal] of wrong)
    await assert.rejects(host.request('post', `/devices/${D1}/engines`, body), refusal);
  const { items } = (await host.request('get', `/devices/${D1}/engines`)) as { items: unknown[] };
  assert.deepEqual(items, []);
});
