/** Functions whose restored domain nobody has adopted yet, and that are removed; and what a domain owes to them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, D2, type Host } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';
import {
  adopt,
  buildSuccessor,
  IOVA,
  prepare,
  prepareTwoDevices,
  retrieveAll,
  TOKEN,
  update,
  updateTwoDevices,
} from '../support/setups.ts';

const app = useApp();

/** What to add a function with that is removed now; `blocked`: the removal waits. */
async function remove(host: Host, bdf: string): Promise<{ again: Record<string, unknown>; blocked: boolean }> {
  const { vendor, device, class: code, group } = await host.device(bdf);
  const answer = (await host.request('delete', `/devices/${bdf}`)) as { blocked?: boolean };
  return { again: { bdf, vendor, device, class: code, group }, blocked: answer.blocked === true };
}

async function hazardsOf(host: Host, after: string): Promise<unknown[]> {
  return (await host.hazards(after)).map((event) => [event.data.hazard, event.data.bdf]);
}

/** The device shows the default domain, and its DMA goes nowhere. */
async function isOnDefaultDomain(host: Host, bdf: string): Promise<void> {
  const { state, owner, domain } = await host.device(bdf);
  assert.deepEqual([state, owner, domain], ['N', null, { kind: 'default', id: null, restored: false }]);
  const translation = await host.request('get', `/devices/${bdf}/translation?iova=${IOVA}&length=0x1000`);
  assert.deepEqual((translation as { items: unknown[] }).items, []);
  const [result] = (
    (await host.request('post', `/devices/${bdf}/dma`, {
      accesses: [{ op: 'read', iova: `0x${IOVA.toString(16)}`, length: 1 }],
    })) as { results: { fault?: { reason: string } }[] }
  ).results;
  assert.equal(result?.fault?.reason, 'not-mapped', 'an empty table, not a missing entry');
}

test('R1 a function removed in luo mode is normal when it comes back, and its domain is dropped', async () => {
  const { host } = await prepare(app);
  const { id } = (await host.device(D1)).domain;
  await host.kexec();
  const [cursor, tables, free] = [await host.cursor(), await host.ownedBytes('page-table'), await host.freeBytes()];
  assert.ok(tables > 0);
  const { again, blocked } = await remove(host, D1);
  assert.equal(blocked, false);
  assert.deepEqual(await hazardsOf(host, cursor), [
    ['removed-before-adopted', D1],
    ['domain-dropped', undefined],
  ]);
  assert.equal(await host.domain(id ?? 0), undefined);
  assert.deepEqual([await host.ownedBytes('page-table'), await host.freeBytes()], [0, free + tables]);
  const dropped = (await host.events(cursor)).filter((event) => event.kind === 'restore.dropped');
  assert.deepEqual(
    dropped.map((event) => [event.data.id, event.data.rule]),
    [[id, 'R1']],
  );

  await host.request('post', '/devices', again);
  await isOnDefaultDomain(host, D1);
  await host.bindDriver(D1, 'nvme');
  assert.equal((await host.device(D1)).owner, 'kernel');
  await host.unbindDriver(D1);

  // The session is retrieved as ever, and nothing of the domain is left in it.
  const vmm = await host.process();
  const session = await vmm.retrieveSession(await vmm.openLiveupdate(), 'vm1');
  const iommufd = await vmm.retrieve(session, 2);
  await expectErrno('ENOENT', vmm.restore(iommufd, TOKEN));
  const memfd = await vmm.retrieve(session, 1);
  await host.bindDriver(D1, 'vfio-pci');
  const cdev = await vmm.openCdev(D1);
  const device = await vmm.bind(cdev, iommufd);
  const ioas = await vmm.allocIoas(iommufd);
  await vmm.mapFile(iommufd, ioas, IOVA, memfd, 4096);
  const hwpt = await vmm.allocHwpt(iommufd, device, ioas);
  assert.equal((await vmm.hwpt(iommufd, hwpt)).domain, id, 'its id can be given again');
});

test('R1 a function removed in luo mode: vfio-pci without an open file does not keep it', async () => {
  const { host } = await prepare(app);
  await host.kexec();
  await host.bindDriver(D1, 'vfio-pci');
  const { again, blocked } = await remove(host, D1);
  assert.equal(blocked, false);
  await host.request('post', '/devices', { ...again, driver: 'vfio-pci' });
  await isOnDefaultDomain(host, D1);
});

test('R1 a function whose restored cdev was retrieved is kept back by vfio-pci, in A, S and X as well', async () => {
  const q = await update(app);
  const { host, vmm, iommufd, cdev, watch } = q;
  assert.equal((await remove(host, D1)).blocked, true);
  assert.equal((await host.device(D1)).state, 'L');
  await watch.noGap();

  const other = await adopt(app);
  for (const [state, step] of [
    ['A', () => Promise.resolve()],
    ['S', async () => void (await other.vmm.attach(other.cdev, (await buildSuccessor(other)).hwpt))],
    ['X', () => other.vmm.detach(other.cdev)],
  ] as const) {
    await step();
    assert.equal((await remove(other.host, D1)).blocked, true, state);
    assert.equal((await other.host.device(D1)).state, state);
  }
  await vmm.bind(cdev, iommufd);
  assert.equal((await host.device(D1)).state, 'A', 'it can still be adopted, and then goes');
  await vmm.finish(q.session);
  await vmm.close(cdev);
  await assert.rejects(host.device(D1), /404|not found|no device/i);
});

test('R1 two devices on one domain: the removal of one does not touch the other, the last one takes it along', async () => {
  const { host, secondWatch } = await prepareTwoDevices(app);
  const { id } = (await host.device(D1)).domain;
  await host.kexec();
  const cursor = await host.cursor();
  const first = await remove(host, D1);
  assert.deepEqual((await host.domain(id ?? 0))?.devices, [D2]);
  assert.deepEqual([(await host.device(D2)).state, (await host.device(D2)).domain.id], ['L', id]);
  await secondWatch.noGap();
  await host.request('post', '/devices', first.again);
  await isOnDefaultDomain(host, D1);
  await secondWatch.noGap();

  // The second one is adopted as ever.
  await host.bindDriver(D2, 'vfio-pci');
  const vmm = await host.process();
  const session = await vmm.retrieveSession(await vmm.openLiveupdate(), 'vm1');
  const iommufd = await vmm.retrieve(session, 2);
  await expectErrno('ENODEV', vmm.restore(iommufd, TOKEN));
  await vmm.bind(await vmm.retrieve(session, 4), iommufd);
  assert.deepEqual((await vmm.hwpt(iommufd, await vmm.restore(iommufd, TOKEN))).devices, [D2]);
  await secondWatch.noGap();
  assert.deepEqual(await hazardsOf(host, cursor), [['removed-before-adopted', D1]]);
});

test('R1 two devices on one domain, both removed: it is dropped with the second', async () => {
  const { host } = await prepareTwoDevices(app);
  const { id } = (await host.device(D1)).domain;
  await host.kexec();
  await remove(host, D1);
  assert.ok(await host.domain(id ?? 0));
  await remove(host, D2);
  assert.equal(await host.domain(id ?? 0), undefined);
  assert.equal(await host.ownedBytes('page-table'), 0);
});

test('R1 two devices on one domain: one that is adopted keeps the domain when the other is removed', async () => {
  const { host, secondWatch } = await prepareTwoDevices(app);
  await host.kexec();
  await host.bindDriver(D2, 'vfio-pci');
  const vmm = await host.process();
  const session = await vmm.retrieveSession(await vmm.openLiveupdate(), 'vm1');
  const iommufd = await vmm.retrieve(session, 2);
  await vmm.bind(await vmm.retrieve(session, 4), iommufd);
  await remove(host, D1);
  await secondWatch.noGap();
  assert.equal((await host.device(D2)).state, 'A');
  assert.ok((await vmm.restore(iommufd, TOKEN)) > 0);
});

test('R1 what was plugged into the group of a device in luo mode is on the default domain when that device goes', async () => {
  const { host, watch } = await prepare(app);
  await host.kexec();
  const { group, domain } = await host.device(D1);
  const mate = '0000:0a:00.0';
  await host.request('post', '/devices', { bdf: mate, group });
  assert.deepEqual((await host.device(mate)).domain, domain, 'a group has one domain');
  await watch.noGap();
  await remove(host, D1);
  await isOnDefaultDomain(host, mate);
  await host.bindDriver(mate, 'nvme');
});

test('R13 a restored HWPT is busy while a device that nobody has adopted is on its domain', async () => {
  const both = await updateTwoDevices(app);
  const { host, vmm, iommufd, cdev, second, secondWatch } = both;
  both.device = await vmm.bind(cdev, iommufd);
  const restored = await vmm.restore(iommufd, TOKEN);
  const { hwpt } = await buildSuccessor(both);
  await vmm.attach(cdev, hwpt);
  const refused = await expectErrno('EBUSY', vmm.destroy(iommufd, restored));
  assert.equal(refused.rule, 'R13');
  assert.equal((await host.device(D2)).state, 'L');
  await secondWatch.noGap();
  await vmm.bind(second, iommufd);
  await vmm.attach(second, hwpt);
  await vmm.destroy(iommufd, restored);
  await secondWatch.noGap();
});

test('R2 policy finish=ignore: the end of the iommufd leaves the domain to devices that nobody has adopted', async () => {
  const { host, watch, secondWatch } = await prepareTwoDevices(app, { policies: { finish: 'ignore' } });
  const { id } = (await host.device(D1)).domain;
  await host.kexec();
  const { vmm, session, iommufd, cdev } = await retrieveAll(host, watch);
  await vmm.bind(cdev, iommufd);
  await vmm.finish(session);
  await vmm.kill();
  assert.deepEqual([(await host.device(D1)).state, (await host.device(D2)).state], ['N', 'L']);
  await host.dmaFaults(D1, IOVA);
  await secondWatch.noGap();
  assert.deepEqual((await host.domain(id ?? 0))?.devices, [D2]);
  await remove(host, D2);
  assert.equal(await host.domain(id ?? 0), undefined);
  assert.equal(await host.ownedBytes('page-table'), 0);
});
