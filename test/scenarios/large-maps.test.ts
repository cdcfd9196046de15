/** Guests of many gibibytes: what their maps cost, and which pages of them are dirty. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestApp } from '../support/app.ts';
import { useApp } from '../support/app.ts';
import { type Host, MIB } from '../support/client.ts';
import { expectErrno, hex } from '../support/kernel-error.ts';
import { MortalApp } from '../support/mortal-app.ts';
import { type Process, SIZE_SEALS } from '../support/process.ts';

const app = useApp();
const GIB = 1024 * MIB;
const PAGE = 4096;
const BDF = '0000:41:10.1';
const SECOND = '0000:42:10.1';
const IOVA = 2 ** 40;
const DIRTY_TRACKING = 2;
const NO_CLEAR = 1;
/** What one table of the lowest level maps. */
const TABLE = 2 * MIB;
/** Far more than any of this takes, and far less than a leaf at a time would. */
const MOST_MS = 3000;

interface Guest {
  host: Host;
  vmm: Process;
  memfd: number;
  iommufd: number;
  cdev: number;
  device: number;
  ioas: number;
}

/** A guest whose memory nothing shows yet, with a device that is bound. */
async function guest(served: TestApp, iommu: Record<string, unknown>, bytes: number): Promise<Guest> {
  const devices = [BDF, SECOND].map((bdf) => ({ bdf, driver: 'vfio-pci' }));
  const host = await served.host({ memory: '0x40000000000', iommus: [iommu], devices });
  const vmm = await host.process();
  const memfd = await vmm.memfd(bytes);
  await vmm.addSeals(memfd, SIZE_SEALS);
  const iommufd = await vmm.open('/dev/iommu');
  const cdev = await vmm.openCdev(BDF);
  const device = await vmm.bind(cdev, iommufd);
  return { host, vmm, memfd, iommufd, cdev, device, ioas: await vmm.allocIoas(iommufd) };
}

const tableBytes = (host: Host): Promise<number> => host.ownedBytes('page-table');

async function quickly<T>(work: Promise<T>): Promise<T> {
  const begun = performance.now();
  const result = await work;
  const took = performance.now() - begun;
  assert.ok(took < MOST_MS, `it took ${took} ms`);
  return result;
}

async function track({ vmm, iommufd }: Guest, hwpt: number): Promise<void> {
  await vmm.ioctl(iommufd, 'IOMMU_HWPT_SET_DIRTY_TRACKING', { hwpt_id: hwpt, flags: 1 });
}

/** Offsets of dirty pages. */
async function dirtyPages(
  { vmm, iommufd }: Guest,
  hwpt: number,
  offset: number,
  length: number,
  flags = NO_CLEAR,
): Promise<number[]> {
  const range = { iova: hex(IOVA + offset), length, page_size: PAGE };
  const { data } = await vmm.ioctl(iommufd, 'IOMMU_HWPT_GET_DIRTY_BITMAP', { hwpt_id: hwpt, flags, ...range });
  const bitmap = Buffer.from(String(data), 'base64');
  assert.equal(bitmap.length, Math.ceil(length / PAGE / 64) * 8);
  const pages: number[] = [];
  for (const [at, byte] of bitmap.entries())
    for (let bit = 0; bit < 8; bit++) if (byte & (1 << bit)) pages.push(offset + (at * 8 + bit) * PAGE);
  return pages;
}

/** Offsets at the ends and borders of tables and of the memory, and between. */
const scattered = (bytes: number): number[] => [
  0,
  TABLE - PAGE,
  TABLE,
  5 * PAGE,
  GIB,
  bytes / 2 - PAGE,
  bytes / 2 + 7 * TABLE + 3 * PAGE,
  bytes - TABLE - PAGE,
  bytes - PAGE,
];

const ascending = (numbers: readonly number[]): number[] => numbers.toSorted((a, b) => a - b);

async function write({ host }: Guest, offsets: readonly number[], bdf = BDF): Promise<void> {
  for (const offset of offsets) await host.dmaWrite(bdf, IOVA + offset + 8, `at ${offset}`);
}

async function readsBack({ host }: Guest, offsets: readonly number[]): Promise<void> {
  for (const offset of offsets) {
    const text = `at ${offset}`;
    assert.equal((await host.dmaRead(BDF, IOVA + offset + 8, text.length)).toString(), text);
  }
}

for (const kind of ['intel-vtd', 'amd-vi', 'arm-smmuv3'])
  test(`64 GiB on ${kind} take a few large leaves where nothing tracks dirty pages`, async () => {
    const g = await guest(app, { kind }, 64 * GIB);
    const { host, vmm, memfd, iommufd, cdev, ioas } = g;
    await vmm.attach(cdev, ioas);
    await quickly(vmm.mapFile(iommufd, ioas, IOVA, memfd, 64 * GIB));
    assert.ok((await tableBytes(host)) < 16 * PAGE, `${await tableBytes(host)} bytes of tables`);
    await write(g, scattered(64 * GIB));
    await readsBack(g, scattered(64 * GIB));
    await host.dmaFaults(BDF, IOVA + 64 * GIB);
    await quickly(vmm.unmap(iommufd, ioas, IOVA, 64 * GIB));
    await host.dmaFaults(BDF, IOVA);
  });

for (const kind of ['amd-vi', 'arm-smmuv3'])
  test(`64 GiB on ${kind} with dirty tracking: each page has its bit, and all come in one bitmap`, async () => {
    const bytes = 64 * GIB;
    const g = await guest(app, { kind }, bytes);
    const { host, vmm, memfd, iommufd, cdev, device, ioas } = g;
    const hwpt = await vmm.allocHwpt(iommufd, device, ioas, { flags: DIRTY_TRACKING });
    await vmm.attach(cdev, hwpt);
    await quickly(vmm.mapFile(iommufd, ioas, IOVA, memfd, bytes));
    assert.ok((await tableBytes(host)) > (bytes / TABLE) * PAGE, 'a table for each 2 MiB');
    await write(g, [GIB + TABLE]);
    await quickly(track(g, hwpt));
    assert.deepEqual(await quickly(dirtyPages(g, hwpt, 0, bytes)), []);
    const written = scattered(bytes);
    await write(g, written);
    await host.dmaRead(BDF, IOVA + 3 * GIB, 8);
    assert.deepEqual(await quickly(dirtyPages(g, hwpt, 0, bytes)), ascending(written));
    // Of a region as a VMM has it, of the page behind it, and none of them twice.
    assert.deepEqual(await dirtyPages(g, hwpt, bytes - 14 * GIB, 14 * GIB, 0), [bytes - TABLE - PAGE, bytes - PAGE]);
    assert.deepEqual(await dirtyPages(g, hwpt, TABLE, TABLE, 0), [TABLE]);
    const left = ascending(written).filter((offset) => offset !== TABLE && offset < bytes - 14 * GIB);
    assert.deepEqual(await dirtyPages(g, hwpt, 0, bytes, 0), left);
    assert.deepEqual(await dirtyPages(g, hwpt, 0, bytes), []);
    await readsBack(g, written);
    await expectErrno('ENOMEM', dirtyPages(g, hwpt, 0, bytes + PAGE));
    await quickly(vmm.unmap(iommufd, ioas, IOVA, bytes));
    assert.ok((await tableBytes(host)) < 16 * PAGE);
    await vmm.kill();
    assert.equal(await host.ownedBytes('memfd'), 0);
  });

test('areas that share tables with those unmapped between them keep their leaves and their bits', async () => {
  const g = await guest(app, { kind: 'amd-vi' }, 8 * GIB);
  const { host, vmm, memfd, iommufd, cdev, device, ioas } = g;
  const hwpt = await vmm.allocHwpt(iommufd, device, ioas, { flags: DIRTY_TRACKING });
  await vmm.attach(cdev, hwpt);
  // Borders in the middle of tables.
  const [first, second] = [3 * GIB + 5 * PAGE, 5 * GIB - 9 * PAGE];
  await vmm.mapFile(iommufd, ioas, IOVA, memfd, first, 0);
  await vmm.mapFile(iommufd, ioas, IOVA + first, memfd, second - first, first);
  await vmm.mapFile(iommufd, ioas, IOVA + second, memfd, 8 * GIB - second, second);
  await track(g, hwpt);
  const kept = [0, 3 * GIB, first - PAGE, second, second + PAGE, 8 * GIB - PAGE];
  await write(g, [...kept, first, second - PAGE, 4 * GIB]);
  assert.equal((await dirtyPages(g, hwpt, 0, 8 * GIB)).length, 9);
  const before = await tableBytes(host);
  await vmm.unmap(iommufd, ioas, IOVA + first, second - first);
  const tables = Math.floor(second / TABLE) - Math.ceil(first / TABLE);
  assert.ok(before - (await tableBytes(host)) >= tables * PAGE, 'tables of the hole are free');
  for (const offset of [first, 4 * GIB, second - PAGE]) await host.dmaFaults(BDF, IOVA + offset);
  await readsBack(g, kept);
  // A hole ends a bitmap.
  assert.deepEqual(await dirtyPages(g, hwpt, 0, 8 * GIB), [0, 3 * GIB, first - PAGE]);
  assert.deepEqual(await dirtyPages(g, hwpt, second, 8 * GIB - second), [second, second + PAGE, 8 * GIB - PAGE]);
  // What was there comes back clean.
  await vmm.mapFile(iommufd, ioas, IOVA + first, memfd, second - first, first);
  assert.deepEqual(await dirtyPages(g, hwpt, 0, 8 * GIB), ascending(kept));
  await readsBack(g, [first, 4 * GIB, second - PAGE]);
});

test('a guest of 64 GiB moves to a HWPT with dirty tracking, and to a copy of its IOAS', async () => {
  const bytes = 64 * GIB;
  const g = await guest(app, { kind: 'amd-vi' }, bytes);
  const { host, vmm, memfd, iommufd, cdev, device, ioas } = g;
  await vmm.attach(cdev, ioas);
  await vmm.mapFile(iommufd, ioas, IOVA, memfd, bytes);
  const tracked = await quickly(vmm.allocHwpt(iommufd, device, ioas, { flags: DIRTY_TRACKING }));
  await quickly(vmm.attach(cdev, tracked));
  await track(g, tracked);
  await write(g, scattered(bytes));
  assert.deepEqual(await dirtyPages(g, tracked, 0, bytes), ascending(scattered(bytes)));

  const other = await vmm.allocIoas(iommufd);
  const second = await vmm.openCdev(SECOND);
  const copy = await vmm.allocHwpt(iommufd, await vmm.bind(second, iommufd), other, { flags: DIRTY_TRACKING });
  await vmm.attach(second, copy);
  await quickly(vmm.copy(iommufd, other, IOVA, ioas, IOVA, bytes));
  await track(g, copy);
  await write(g, [bytes / 2], SECOND);
  assert.deepEqual(await dirtyPages(g, copy, 0, bytes), [bytes / 2]);
  await readsBack(g, [bytes / 2, ...scattered(bytes)]);
  await quickly(vmm.unmap(iommufd, ioas, IOVA, bytes));
  await host.dmaFaults(BDF, IOVA);
  assert.equal((await host.dmaRead(SECOND, IOVA + 8, 4)).toString(), 'at 0');
  await quickly(vmm.kill());
  assert.equal(await host.ownedBytes('memfd'), 0);
  assert.equal(await tableBytes(host), 0);
});

test('memory that lies askew to its IOVA has small leaves on every unit, and is mapped as fast', async () => {
  const g = await guest(app, { kind: 'intel-vtd' }, 64 * GIB + PAGE);
  const { host, vmm, memfd, iommufd, cdev, ioas } = g;
  await vmm.attach(cdev, ioas);
  await quickly(vmm.mapFile(iommufd, ioas, IOVA, memfd, 64 * GIB, PAGE));
  await write(g, scattered(64 * GIB));
  await readsBack(g, scattered(64 * GIB));
  assert.equal(await vmm.read(memfd, PAGE + 8, 4), 'at 0');
  await quickly(vmm.unmap(iommufd, ioas, IOVA, 64 * GIB));
  assert.ok((await tableBytes(host)) < 16 * PAGE);
});

test('a live update hands small leaves over, whether something was written through them or not', async () => {
  const bytes = 16 * GIB;
  const wide = { kind: 'generic', aperture: { start: '0x0', last: '0xffffffffffff' } };
  const g = await guest(app, wide, bytes);
  const { host, vmm, memfd, iommufd, cdev, device, ioas } = g;
  const hwpt = await vmm.allocHwpt(iommufd, device, ioas, { flags: DIRTY_TRACKING });
  await vmm.attach(cdev, hwpt);
  await vmm.mapFile(iommufd, ioas, IOVA, memfd, bytes);
  await track(g, hwpt);
  await write(g, scattered(bytes));
  assert.deepEqual(await dirtyPages(g, hwpt, 0, bytes), ascending(scattered(bytes)));
  const before = await tableBytes(host);
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm');
  await vmm.preserve(session, memfd, 1);
  await vmm.mark(iommufd, hwpt, 7);
  await vmm.preserve(session, iommufd, 2);
  await vmm.preserve(session, cdev, 3);
  await quickly(host.kexec());
  assert.equal(await tableBytes(host), before);
  await readsBack(g, scattered(bytes));
  await host.dmaFaults(BDF, IOVA + bytes);

  await host.bindDriver(BDF, 'vfio-pci');
  const next = await host.process();
  const incoming = await next.retrieveSession(await next.openLiveupdate(), 'vm');
  const [ram, context, file] = [
    await next.retrieve(incoming, 1),
    await next.retrieve(incoming, 2),
    await next.retrieve(incoming, 3),
  ];
  const bound = await next.bind(file, context);
  const old = await next.restore(context, 7);
  const { dirtyTracking } = await next.hwpt(context, old);
  assert.equal(dirtyTracking, true, 'the context entry of the device says so, as it did');
  const successor: Guest = { ...g, vmm: next, memfd: ram, iommufd: context, device: bound };
  const ioas2 = await next.allocIoas(context);
  await next.mapFile(context, ioas2, IOVA, ram, bytes);
  const hwpt2 = await next.allocHwpt(context, bound, ioas2, { flags: DIRTY_TRACKING });
  const cursor = await host.cursor();
  await quickly(next.attach(file, hwpt2));
  assert.deepEqual(await host.hazards(cursor), []);
  await next.destroy(context, old);
  assert.equal(await tableBytes(host), before);
  await track(successor, hwpt2);
  await write(successor, [5 * PAGE, 3 * GIB]);
  assert.deepEqual(await dirtyPages(successor, hwpt2, 0, bytes), [5 * PAGE, 3 * GIB]);
  await readsBack(successor, scattered(bytes));
});

test('bits survive a clean stop, with its snapshot, and a kill', async (t) => {
  const bytes = 16 * GIB;
  const mortal = new MortalApp(t);
  await mortal.start();
  const g = await guest(mortal, { kind: 'amd-vi' }, bytes);
  const { vmm, memfd, iommufd, cdev, device, ioas } = g;
  const hwpt = await vmm.allocHwpt(iommufd, device, ioas, { flags: DIRTY_TRACKING });
  await vmm.attach(cdev, hwpt);
  await vmm.mapFile(iommufd, ioas, IOVA, memfd, bytes);
  await track(g, hwpt);
  await write(g, scattered(bytes));
  // Worth a snapshot.
  for (let times = 0; times < 100; times++) await g.host.advanceClock('1');
  assert.deepEqual(await mortal.service.stop(), { code: 0, signal: null });
  await mortal.start();
  assert.deepEqual(await dirtyPages(g, hwpt, 0, bytes, 0), ascending(scattered(bytes)));
  await write(g, [7 * TABLE, bytes - PAGE]);
  await mortal.service.stop('SIGKILL');
  await mortal.start();
  assert.deepEqual(await dirtyPages(g, hwpt, 0, bytes), [7 * TABLE, bytes - PAGE]);
  await readsBack(g, [7 * TABLE, ...scattered(bytes)]);
});

test('a device that writes all the time makes pages dirty in its own time', async () => {
  const g = await guest(app, { kind: 'amd-vi' }, GIB);
  const { host, vmm, memfd, iommufd, cdev, device, ioas } = g;
  await vmm.mapFile(iommufd, ioas, IOVA, memfd, GIB);
  const hwpt = await vmm.allocHwpt(iommufd, device, ioas, { flags: DIRTY_TRACKING });
  await vmm.attach(cdev, hwpt);
  const engine = await host.startEngine(BDF, IOVA, GIB, { access: 'write' });
  const rounds = async (): Promise<number> => Number((await host.engine(engine)).accesses) / (GIB / PAGE);
  await host.advanceClock('300000000');
  await track(g, hwpt);
  const first = Math.ceil((await rounds()) * (GIB / PAGE)) * PAGE;
  await host.advanceClock('100000000');
  const dirty = await quickly(dirtyPages(g, hwpt, 0, GIB, 0));
  // What was written before it was tracked is none of them; a command takes a quarter of an access.
  assert.ok(Math.abs(dirty[0]! - first) <= PAGE, `${dirty[0]} and ${first}`);
  assert.deepEqual(
    dirty,
    dirty.map((_, at) => dirty[0]! + at * PAGE),
  );
  assert.ok(Math.abs(dirty.length - (0.1 * GIB) / PAGE) <= 2, String(dirty.length));
  assert.ok((await dirtyPages(g, hwpt, 0, GIB, 0)).length <= 1);
  await host.advanceClock('1000000000');
  assert.equal((await quickly(dirtyPages(g, hwpt, 0, GIB))).length, GIB / PAGE);
});
