/** S34 to S41: devices that nobody adopts, deaths, several devices, further updates, the memory underneath. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, D2, type Host, type HostBody, MIB } from '../support/client.ts';
import { attachedKinds, DmaWatch } from '../support/dma-watch.ts';
import { expectErrno } from '../support/kernel-error.ts';
import { type Process, SIZE_SEALS } from '../support/process.ts';
import {
  type Adopted,
  adopt,
  buildSuccessor,
  IOVA,
  prepare,
  RAM,
  retrieveAll,
  TEXT,
  TOKEN,
  update,
  updateTwoDevices,
} from '../support/setups.ts';

const app = useApp();

async function stateOf(host: Host, bdf: string): Promise<string> {
  return (await host.device(bdf)).state;
}

test('S34 cdev never restored', async () => {
  const { host, watch } = await prepare(app);
  await host.kexec();
  const vmm = await host.process();
  const lu = await vmm.openLiveupdate();
  const session = await vmm.retrieveSession(lu, 'vm1');
  await vmm.retrieve(session, 1);
  await vmm.retrieve(session, 2);
  await expectErrno('EBUSY', vmm.finish(session));
  await watch.noGap();
  await vmm.close(session);
  await expectErrno('EINVAL', vmm.retrieveSession(lu, 'vm1'));
  await watch.noGap();
  await expectErrno('EBUSY', host.bindDriver(D1, 'nvme'));
  await host.bindDriver(D1, 'vfio-pci');
  await expectErrno('EPERM', vmm.bind(await vmm.openCdev(D1), await vmm.open('/dev/iommu')));
  assert.equal(await stateOf(host, D1), 'L');
  await watch.noGap();

  await host.kexec();
  assert.equal(await stateOf(host, D1), 'N');
  await host.dmaFaults(D1, IOVA);
  await host.bindDriver(D1, 'nvme');
  assert.equal((await host.device(D1)).owner, 'kernel');
});

test('S35 reaper', async () => {
  const { host, watch } = await prepare(app);
  const { id } = (await host.device(D1)).domain;
  await host.kexec();
  const tablePages = (await host.domain(id ?? 0))?.tablePages ?? 0;
  assert.ok(tablePages > 0);
  const reaper = await retrieveAll(host, watch);
  const { vmm, session, memfd, iommufd, cdev } = reaper;
  await vmm.bind(cdev, iommufd);
  await vmm.finish(session);
  await watch.noGap();
  const cursor = await host.cursor();
  const { resets } = await host.device(D1);
  const tables = await host.ownedBytes('page-table');
  for (const fd of [session, cdev, iommufd, memfd]) await vmm.close(fd);

  const log = await host.events(cursor);
  const ofD1 = log.filter((e) => e.data.bdf === D1 && (e.kind === 'pci.reset' || e.kind === 'iommu.attach'));
  assert.equal(ofD1[0]?.kind, 'pci.reset', 'the device stops before its translation goes');
  assert.deepEqual(attachedKinds(log, D1), ['blocked', 'default']);
  assert.equal((await host.device(D1)).resets, resets + 1);
  assert.equal(await stateOf(host, D1), 'N');
  assert.equal(await host.domain(id ?? 0), undefined, 'domain and its id are free');
  assert.equal(await host.ownedBytes('page-table'), tables - tablePages * 4096);
  assert.equal(await host.ownedBytes('memfd'), 0);
  await host.dmaFaults(D1, IOVA);

  assert.equal(await host.unbindDriver(D1), false);
  await host.bindDriver(D1, 'nvme');
});

test('S36 bound, never swapped, closed', async () => {
  const { host, vmm, session, iommufd, cdev, watch } = await adopt(app);
  const { id } = (await host.device(D1)).domain;
  await vmm.close(cdev);
  assert.equal(await stateOf(host, D1), 'A');
  await watch.noGap();
  const again = await vmm.retrieve(session, 3);
  await expectErrno('EINVAL', vmm.bind(again, iommufd));
  const restored = await vmm.restore(iommufd, TOKEN);
  assert.equal(await vmm.attach(again, restored), restored, 'it is bound: ATTACH works, here to where it is');
  await watch.noGap();
  await vmm.finish(session);
  assert.equal(await stateOf(host, D1), 'A');
  await watch.noGap();

  const cursor = await host.cursor();
  await vmm.close(again);
  const log = (await host.events(cursor)).filter((e) => e.data.bdf === D1);
  assert.deepEqual(
    log.filter((e) => e.kind === 'pci.reset' || e.kind === 'iommu.attach').map((e) => e.data.domain ?? 'reset'),
    ['reset', 'blocked', 'default'],
  );
  assert.equal(await stateOf(host, D1), 'N');
  await host.dmaFaults(D1, IOVA);
  assert.equal(await vmm.restore(iommufd, TOKEN), restored);
  assert.ok((await host.domain(id ?? 0)) !== undefined);
  await vmm.destroy(iommufd, restored);
  assert.equal(await host.domain(id ?? 0), undefined);
});

test('S36 bound, never swapped, closed: closing the iommufd frees the domain', async () => {
  const { host, vmm, session, iommufd, cdev } = await adopt(app);
  const { id } = (await host.device(D1)).domain;
  await vmm.finish(session);
  await vmm.close(cdev);
  assert.ok((await host.domain(id ?? 0)) !== undefined);
  await vmm.close(iommufd);
  assert.equal(await host.domain(id ?? 0), undefined);
});

test('S37 retrieved too early', async () => {
  const { host, watch } = await prepare(app);
  await host.kexec();
  const vmm = await host.process();
  const session = await vmm.retrieveSession(await vmm.openLiveupdate(), 'vm1');
  await expectErrno('ENODEV', vmm.retrieve(session, 3));
  await host.bindDriver(D1, 'vfio-pci');
  await expectErrno('ENODEV', vmm.retrieve(session, 3));
  await vmm.retrieve(session, 1);
  await vmm.retrieve(session, 2);
  await expectErrno('EBUSY', vmm.finish(session));
  await host.advanceClock('86400000000000');
  await expectErrno('EBUSY', vmm.finish(session));
  assert.equal(await stateOf(host, D1), 'L');
  await watch.noGap();

  await host.kexec();
  assert.equal(await stateOf(host, D1), 'N');
  await host.bindDriver(D1, 'nvme');
});

/** State A, adopted by a VMM; an agent holds the session, too, unless it is the VMM's own. */
async function adoptForAgent(): Promise<Adopted & { agent: Process; held: number }> {
  const { host, watch } = await prepare(app);
  await host.kexec();
  await host.bindDriver(D1, 'vfio-pci');
  const agent = await host.process({ name: 'agent' });
  const held = await agent.retrieveSession(await agent.openLiveupdate(), 'vm1');
  const vmm = await host.process({ name: 'vmm' });
  const session = await agent.sendFd(held, vmm);
  const memfd = await vmm.retrieve(session, 1);
  const iommufd = await vmm.retrieve(session, 2);
  const cdev = await vmm.retrieve(session, 3);
  const device = await vmm.bind(cdev, iommufd);
  return { host, vmm, lu: -1, session, memfd, iommufd, cdev, device, watch, agent, held };
}

test('S38 death of the VMM in state A, agent holds the session', async () => {
  const first = await adoptForAgent();
  const { host, agent, held, watch } = first;
  const restored = await first.vmm.restore(first.iommufd, TOKEN);
  await first.vmm.kill();
  assert.equal(await stateOf(host, D1), 'A');
  await watch.noGap();

  const vmm = await host.process({ name: 'vmm' });
  const session = await agent.sendFd(held, vmm);
  const memfd = await vmm.retrieve(session, 1);
  const iommufd = await vmm.retrieve(session, 2);
  const cdev = await vmm.retrieve(session, 3);
  await expectErrno('EINVAL', vmm.bind(cdev, iommufd));
  assert.equal(await vmm.restore(iommufd, TOKEN), restored);
  const { hwpt } = await buildSuccessor({ ...first, vmm, session, memfd, iommufd, cdev });
  await vmm.attach(cdev, hwpt);
  await vmm.destroy(iommufd, restored);
  await vmm.finish(session);
  assert.equal(await stateOf(host, D1), 'S');
  await watch.noGap();
});

test('S38 death of the VMM in state A: it held the session itself', async () => {
  const { host, vmm, session } = await adopt(app);
  const { domain, resets } = await host.device(D1);
  assert.ok(session >= 0);
  await vmm.kill();
  const device = await host.device(D1);
  assert.equal(device.state, 'N');
  assert.equal(device.resets, resets + 1, 'the reset stopped its DMA');
  assert.equal(await host.domain(domain.id ?? 0), undefined);
  await host.dmaFaults(D1, IOVA);
});

test('S39 two devices, one domain', async () => {
  const both = await updateTwoDevices(app);
  const { host, vmm, session, iommufd, cdev, second, watch, secondWatch } = both;
  both.device = await vmm.bind(cdev, iommufd);
  const restored = await vmm.restore(iommufd, TOKEN);
  assert.equal(await stateOf(host, D2), 'L');
  await secondWatch.noGap();
  await expectErrno('EBUSY', vmm.finish(session));
  await vmm.bind(second, iommufd);
  assert.equal(await vmm.restore(iommufd, TOKEN), restored);
  assert.deepEqual((await vmm.hwpt(iommufd, restored)).devices.sort(), [D1, D2]);
  const { hwpt } = await buildSuccessor(both);
  await vmm.attach(cdev, hwpt);
  await expectErrno('EBUSY', vmm.destroy(iommufd, restored));
  assert.deepEqual([await stateOf(host, D1), await stateOf(host, D2)], ['S', 'A']);
  await watch.noGap();
  await secondWatch.noGap();
  await vmm.attach(second, hwpt);
  await vmm.destroy(iommufd, restored);
  await vmm.finish(session);
  await watch.noGap();
  await secondWatch.noGap();
});

test('S39 two devices, one domain: the failure of one leaves the other alone', async () => {
  const { host, vmm, iommufd, cdev, second, watch, secondWatch } = await updateTwoDevices(app);
  await vmm.bind(cdev, iommufd);
  const restored = await vmm.restore(iommufd, TOKEN);
  await host.armFault('vfio.open', { errno: 'EIO' });
  await expectErrno('EIO', vmm.bind(second, iommufd));
  assert.deepEqual([await stateOf(host, D1), await stateOf(host, D2)], ['A', 'L']);
  assert.deepEqual((await vmm.hwpt(iommufd, restored)).devices, [D1]);
  await watch.noGap();
  await secondWatch.noGap();
  await vmm.bind(second, iommufd);
  assert.equal(await stateOf(host, D2), 'A');
  await secondWatch.noGap();
});

test('S40 second update with restored domains', async () => {
  const q = await adopt(app);
  const { host, vmm, lu, session, memfd, iommufd, cdev, watch } = q;
  const outgoing = await vmm.createSession(lu, 't2');
  await expectErrno('EBUSY', vmm.preserve(outgoing, iommufd, 2));
  await vmm.finish(session);
  const restored = await vmm.restore(iommufd, TOKEN);
  await expectErrno('EINVAL', vmm.mark(iommufd, restored, 9));
  await vmm.preserve(outgoing, memfd, 1);
  await vmm.preserve(outgoing, iommufd, 2);
  await expectErrno('EINVAL', vmm.preserve(outgoing, cdev, 3));
  await vmm.close(outgoing);

  const { ioas, hwpt } = await buildSuccessor(q);
  const above = IOVA + RAM;
  await vmm.mapFile(iommufd, ioas, above, memfd, MIB);
  await vmm.attach(cdev, hwpt);
  await vmm.mark(iommufd, hwpt, 9);
  await vmm.close(session);
  const right = await vmm.createSession(lu, 'vm1');
  await vmm.preserve(right, memfd, 1);
  await vmm.preserve(right, iommufd, 2);
  await vmm.preserve(right, cdev, 3);
  await host.kexec();

  assert.equal(await stateOf(host, D1), 'L');
  await watch.noGap();
  assert.equal((await host.dmaRead(D1, above, TEXT.length)).toString(), TEXT, 'the mappings of the new HWPT');
  const third = await retrieveAll(host, watch);
  await third.vmm.bind(third.cdev, third.iommufd);
  assert.ok((await third.vmm.restore(third.iommufd, 9)) > 0);
  await expectErrno('ENOENT', third.vmm.restore(third.iommufd, TOKEN));
  await watch.noGap();
});

test('S40 second update with restored domains: before the first is finished', async () => {
  const { host, vmm, lu, iommufd } = await adopt(app);
  const outgoing = await vmm.createSession(lu, 't2');
  await expectErrno('EBUSY', vmm.preserve(outgoing, iommufd, 2));
  await host.kexec();
  assert.equal(await stateOf(host, D1), 'N');
  await host.dmaFaults(D1, IOVA);
  const third = await host.process();
  await expectErrno('ENOENT', third.retrieveSession(await third.openLiveupdate(), 'vm1'));
});

test('S41 memory under the domain', async () => {
  const { vmm, memfd } = await adopt(app);
  await expectErrno('EPERM', vmm.truncate(memfd, 0));
});

/**
 * A memfd without seals under a restored domain. It must have been sealed when it was mapped, but only seals that it had
 * when it was preserved reach the next kernel: preserve, then seal, then map.
 */
async function adoptUnsealed(body: HostBody = {}): Promise<Adopted> {
  const host = await app.host(body);
  const before = await host.process();
  const session = await before.createSession(await before.openLiveupdate(), 'vm1');
  const memfd = await before.memfd(RAM);
  await before.write(memfd, 0, TEXT);
  await before.preserve(session, memfd, 1);
  await before.addSeals(memfd, SIZE_SEALS);
  const iommufd = await before.open('/dev/iommu');
  const cdev = await before.openCdev(D1);
  const device = await before.bind(cdev, iommufd);
  const ioas = await before.allocIoas(iommufd);
  await before.mapFile(iommufd, ioas, IOVA, memfd, RAM);
  const hwpt = await before.allocHwpt(iommufd, device, ioas);
  await before.attach(cdev, hwpt);
  await before.mark(iommufd, hwpt, TOKEN);
  await before.preserve(session, iommufd, 2);
  await before.preserve(session, cdev, 3);
  const watch = await new DmaWatch(host, D1, IOVA, TEXT).start();
  await host.kexec();
  const q = await retrieveAll(host, watch);
  assert.equal(await q.vmm.seals(q.memfd), 0);
  return { ...q, device: await q.vmm.bind(q.cdev, q.iommufd) };
}

test('S41 memory under the domain: without seals', async () => {
  const q = await adoptUnsealed();
  const { vmm, session, memfd, iommufd, cdev, watch } = q;
  await expectErrno('EPERM', vmm.truncate(memfd, 0));
  await vmm.finish(session);
  await expectErrno('EPERM', vmm.truncate(memfd, MIB));
  await expectErrno('EPERM', vmm.allocate(memfd, 0, MIB));
  await watch.noGap();
  const restored = await vmm.restore(iommufd, TOKEN);
  const { hwpt } = await buildSuccessor(q);
  await vmm.attach(cdev, hwpt);
  await expectErrno('EPERM', vmm.truncate(memfd, 0));
  await vmm.destroy(iommufd, restored);
  await vmm.truncate(memfd, MIB);
  await watch.noGap();
});

test('S41 memory under the domain: policy freezeRestoredMemfd=false', async () => {
  const { host, vmm, memfd, watch } = await adoptUnsealed({ policies: { freezeRestoredMemfd: false } });
  const cursor = await host.cursor();
  await vmm.truncate(memfd, 0);
  assert.ok((await host.hazards(cursor)).length >= 1);
  assert.equal(await vmm.size(memfd), 0);
  await watch.noGap();
});

test('S41 memory under the domain: memfd un-retrieved at finish', async () => {
  const { host, watch } = await prepare(app);
  await host.kexec();
  await host.bindDriver(D1, 'vfio-pci');
  const vmm = await host.process();
  const session = await vmm.retrieveSession(await vmm.openLiveupdate(), 'vm1');
  const iommufd = await vmm.retrieve(session, 2);
  const cdev = await vmm.retrieve(session, 3);
  const device = await vmm.bind(cdev, iommufd);
  const cursor = await host.cursor();
  await vmm.finish(session);
  assert.ok((await host.hazards(cursor)).length >= 1);
  await expectErrno('ENOENT', vmm.retrieve(session, 1));
  await watch.noGap();

  const restored = await vmm.restore(iommufd, TOKEN);
  const memfd = await vmm.sealedMemfd(MIB);
  const ioas = await vmm.allocIoas(iommufd);
  await vmm.mapFile(iommufd, ioas, IOVA, memfd, MIB);
  await vmm.attach(cdev, await vmm.allocHwpt(iommufd, device, ioas));
  const free = await host.freeBytes();
  await vmm.destroy(iommufd, restored);
  assert.ok((await host.freeBytes()) >= free + RAM, 'the pages are free');
  assert.notEqual((await host.dmaRead(D1, IOVA, TEXT.length)).toString(), TEXT);
});

test('S41 memory under the domain: nothing is restored twice', async () => {
  const { host } = await update(app);
  assert.ok((await host.ownedBytes('memfd')) >= RAM);
  assert.ok((await host.reservedBytes()) < RAM, 'retrieved memory is no longer reserved');
});
