/** Devices that write into memory which is not theirs (any more): what a real machine would only show as corruption. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, D2, E1, type Host, MIB } from '../support/client.ts';
import type { DmaWatch } from '../support/dma-watch.ts';
import { adopt, buildSuccessor, IOVA, preserveAll, retrieveAll, setUpVmm, TOKEN } from '../support/setups.ts';

const app = useApp();
const PUNCH_HOLE = 3;
const AT = 0x7f0000000000;
/** Of a VMM's memory, as mapped: the part whose pages are replaced. */
const HOLE = { offset: 4 * MIB, length: 2 * MIB };

/**
 * A live update of a VMM that has punched a hole into its memory while it was mapped. The seals permit that: the file gets
 * new pages there, which are preserved, and the domain goes on mapping the old ones, which are free in the next kernel.
 */
async function updateWithHole(): Promise<{ host: Host; watch: DmaWatch; id: number; atBoot: string }> {
  const { host, vmm, memfd, iommufd, cdev, hwpt, watch } = await setUpVmm(app);
  await vmm.allocate(memfd, HOLE.offset, HOLE.length, PUNCH_HOLE);
  await vmm.write(memfd, HOLE.offset, 'a new page');
  await preserveAll({ vmm, memfd, iommufd, cdev, hwpt });
  const { id } = (await host.device(D1)).domain;
  const atBoot = await host.cursor();
  await host.kexec();
  return { host, watch, id: id ?? 0, atBoot };
}

async function hazardsOf(host: Host, after: string): Promise<unknown[]> {
  return (await host.hazards(after)).map(({ data }) => [data.hazard, data.bdf ?? data.id, data.owner ?? null]);
}

test('R20 what a restored domain maps and nobody has preserved is told at boot, and when a device writes there', async () => {
  const { host, watch, id, atBoot } = await updateWithHole();
  assert.deepEqual(await hazardsOf(host, atBoot), [['memory-lost-under-domain', id, null]]);
  await watch.noGap();

  const free = await host.cursor();
  await host.dmaWrite(D1, IOVA + HOLE.offset, 'stray');
  await host.dmaWrite(D1, IOVA + HOLE.offset - MIB, 'its own');
  assert.deepEqual(await hazardsOf(host, free), [['stray-write', D1, null]]);

  // Whatever is free is somebody else's from now on.
  const other = await host.process({ name: 'other' });
  await other.mmap(AT, await host.freeBytes());
  const taken = await host.cursor();
  await host.dmaWrite(D1, IOVA + HOLE.offset, 'foreign');
  await host.dmaWrite(D1, IOVA + HOLE.offset - MIB, 'its own');
  assert.deepEqual(await hazardsOf(host, taken), [['foreign-write', D1, 'anonymous']]);
  await host.dmaRead(D1, IOVA + HOLE.offset, 7);
  assert.equal((await hazardsOf(host, taken)).length, 1, 'a read does no harm');
  await other.kill();
  const gone = await host.cursor();
  await host.dmaWrite(D1, IOVA + HOLE.offset, 'stray again');
  assert.deepEqual(await hazardsOf(host, gone), [['stray-write', D1, null]]);
});

test('R20 a write into the memory of another VMM is told, although that one has pinned it', async () => {
  const { host, watch } = await updateWithHole();
  await host.bindDriver(D2, 'vfio-pci');
  const other = await host.process({ name: 'other' });
  const memfd = await other.sealedMemfd(HOLE.length);
  const iommufd = await other.open('/dev/iommu');
  const cdev = await other.openCdev(D2);
  const device = await other.bind(cdev, iommufd);
  const ioas = await other.allocIoas(iommufd);
  await other.mapFile(iommufd, ioas, IOVA, memfd, HOLE.length);
  await other.attach(cdev, await other.allocHwpt(iommufd, device, ioas));
  // The lowest memory that fits is what the hole has left behind.
  const cursor = await host.cursor();
  for (let offset = 0; offset < HOLE.length; offset += MIB / 2)
    await host.dmaWrite(D1, IOVA + HOLE.offset + offset, 'foreign');
  assert.deepEqual(
    await hazardsOf(host, cursor),
    Array.from({ length: 4 }, () => ['foreign-write', D1, 'memfd']),
  );
  assert.equal(await other.read(memfd, MIB, 7), 'foreign');

  // The other VMM's device writes where it may.
  const own = await host.cursor();
  await host.dmaWrite(D2, IOVA, 'its own');
  await host.dmaWrite(D2, IOVA + MIB, 'its own');
  assert.deepEqual(await hazardsOf(host, own), []);

  // The domain is freed as any other, and takes nobody's memory along.
  const q = await retrieveAll(host, watch);
  q.device = await q.vmm.bind(q.cdev, q.iommufd);
  const restored = await q.vmm.restore(q.iommufd, TOKEN);
  const { hwpt } = await buildSuccessor(q);
  await q.vmm.attach(q.cdev, hwpt);
  const free = await host.freeBytes();
  const tables = await host.ownedBytes('page-table');
  await q.vmm.destroy(q.iommufd, restored);
  assert.equal((await host.freeBytes()) - free, tables - (await host.ownedBytes('page-table')));
  const swapped = await host.cursor();
  await host.dmaWrite(D1, IOVA + HOLE.offset, 'its own');
  assert.deepEqual(await hazardsOf(host, swapped), []);
  assert.equal(await q.vmm.read(q.memfd, HOLE.offset, 7), 'its own');
});

test('R20 memory that a restored domain keeps is nobody else’s, whatever becomes of its memfd', async () => {
  const q = await adopt(app, { policies: { finish: 'ignore', freezeRestoredMemfd: false } });
  const { host, vmm, memfd, session, watch } = q;
  const cursor = await host.cursor();
  await vmm.finish(session);
  await vmm.close(memfd);
  await vmm.mmap(AT, await host.freeBytes());
  await host.dmaWrite(D1, IOVA + MIB, 'into what the domain keeps');
  await watch.noGap();
  assert.deepEqual(
    (await host.hazards(cursor)).filter(({ data }) => /write/.test(String(data.hazard))),
    [],
  );
});

test('a device without translation that writes into a table of the IOMMU', async () => {
  const host = await app.host();
  const { group, driver } = await host.device(E1);
  if (driver !== null) await host.unbindDriver(E1);
  await host.groupType(group!, 'identity');
  await host.bindDriver(E1, 'nvme');
  const cursor = await host.cursor();
  // The root table is what the first kernel asks for first; nothing reads its last byte.
  await host.dmaWrite(E1, 0x1fff, '\0');
  const [hazard] = await host.hazards(cursor);
  assert.deepEqual([hazard?.data.hazard, hazard?.data.owner], ['foreign-write', 'context-table']);
});
