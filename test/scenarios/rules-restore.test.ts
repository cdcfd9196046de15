/** What R1 to R18 say beyond the scenarios: each test is named after its rule. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, D2, E1 } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';
import { adopt, buildSuccessor, IOVA, prepare, retrieveAll, setUpVmm, TOKEN, update } from '../support/setups.ts';

const app = useApp();

test('R1 what was not preserved is on its default domain, and ids of restored domains are taken', async () => {
  const { host, vmm, memfd, watch } = await prepare(app);
  const iommufd = await vmm.open('/dev/iommu');
  const cdev = await vmm.openCdev(D2);
  const device = await vmm.bind(cdev, iommufd);
  const ioas = await vmm.allocIoas(iommufd);
  await vmm.mapFile(iommufd, ioas, IOVA, memfd, 4096);
  await vmm.attach(cdev, await vmm.allocHwpt(iommufd, device, ioas));
  await host.dmaRead(D2, IOVA, 1);
  const { id } = (await host.device(D1)).domain;
  await host.kexec();

  assert.equal((await host.device(D2)).state, 'N');
  assert.equal((await host.device(D2)).domain.kind, 'default');
  await host.dmaFaults(D2, IOVA);
  await watch.noGap();
  await host.bindDriver(D2, 'vfio-pci');
  const next = await host.process();
  const fresh = await next.open('/dev/iommu');
  const bound = await next.bind(await next.openCdev(D2), fresh);
  for (let n = 0; n < 3; n++) {
    const hwpt = await next.allocHwpt(fresh, bound, await next.allocIoas(fresh));
    assert.notEqual((await next.hwpt(fresh, hwpt)).domain, id);
  }
});

test('R2 vfio-pci comes and goes in luo mode', async () => {
  const { host, watch } = await prepare(app);
  await host.kexec();
  for (let n = 0; n < 2; n++) {
    await host.bindDriver(D1, 'vfio-pci');
    assert.equal(await host.unbindDriver(D1), false);
    assert.equal((await host.device(D1)).state, 'L');
    await watch.noGap();
  }
  const { vmm, iommufd, cdev } = await retrieveAll(host, watch);
  await vmm.bind(cdev, iommufd);
  await watch.noGap();
});

test('R3 policy finish=strict', async () => {
  const q = await adopt(app, { policies: { finish: 'strict' } });
  const { host, vmm, session, iommufd, cdev } = q;
  await expectErrno('EBUSY', vmm.finish(session));
  await vmm.restore(iommufd, TOKEN);
  await expectErrno('EBUSY', vmm.finish(session));
  const { hwpt } = await buildSuccessor(q);
  await vmm.attach(cdev, hwpt);
  await vmm.finish(session);
  assert.equal((await host.device(D1)).state, 'S');
});

test('R3 policy finish=ignore', async () => {
  const { host, watch } = await prepare(app, { policies: { finish: 'ignore' } });
  await host.kexec();
  await host.bindDriver(D1, 'vfio-pci');
  const agent = await host.process();
  const session = await agent.retrieveSession(await agent.openLiveupdate(), 'vm1');
  const cursor = await host.cursor();
  await agent.finish(session);
  assert.ok((await host.hazards(cursor)).length >= 1, 'nobody can adopt it any more');
  assert.equal((await host.device(D1)).state, 'L');
  await watch.noGap();
  await expectErrno('ENOENT', agent.retrieve(session, 3));
  await agent.close(session);
  await expectErrno('EPERM', agent.bind(await agent.openCdev(D1), await agent.open('/dev/iommu')));
  await host.unbindDriver(D1);
  assert.equal((await host.device(D1)).state, 'L');
  await watch.noGap();
});

test('R6 a BIND that fails after the claim goes back to luo mode', async () => {
  const { host, vmm, iommufd, cdev, watch } = await update(app);
  for (const [point, errno] of [['vfio.open', 'EIO'] as const, ['allocation', 'ENOMEM'] as const]) {
    await host.armFault(point, { errno });
    await expectErrno(errno, vmm.bind(cdev, iommufd));
    const device = await host.device(D1);
    assert.deepEqual([device.state, device.owner], ['L', 'luo']);
    await expectErrno('ENODEV', vmm.restore(iommufd, TOKEN));
    await watch.noGap();
  }
  await vmm.bind(cdev, iommufd);
  assert.equal((await host.device(D1)).state, 'A');
  await watch.noGap();
});

test('R6 BIND judges its arguments before the claim', async () => {
  const { host, vmm, iommufd, cdev, watch } = await update(app);
  await expectErrno('EINVAL', vmm.ioctl(cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd, flags: 0x80 }));
  await expectErrno('EINVAL', vmm.bind(cdev, -1));
  await expectErrno('EBADF', vmm.bind(cdev, 777));
  await expectErrno('EBADFD', vmm.bind(cdev, await vmm.open('/dev/null')));
  assert.equal((await host.device(D1)).state, 'L');
  await watch.noGap();
});

test('R8 the HWPT appears by itself, and is no auto HWPT', async () => {
  const q = await update(app);
  const { vmm, iommufd, cdev, watch } = q;
  assert.deepEqual((await vmm.iommufd(iommufd)).hwpts, []);
  q.device = await vmm.bind(cdev, iommufd);
  const { hwpts, devices } = await vmm.iommufd(iommufd);
  const [hwpt] = hwpts;
  assert.ok(hwpts.length === 1 && hwpt !== undefined);
  assert.deepEqual(devices, [{ id: q.device, bdf: D1, hwpt }], 'the device counts as attached');
  const view = await vmm.hwpt(iommufd, hwpt);
  assert.deepEqual([view.restored, view.auto, view.ioas, view.devices], [true, false, null, [D1]]);
  assert.equal(await vmm.restore(iommufd, TOKEN), hwpt);

  await vmm.attach(cdev, (await buildSuccessor(q)).hwpt);
  assert.deepEqual((await vmm.hwpt(iommufd, hwpt)).devices, [], 'replaced, not destroyed');
  await watch.noGap();
});

test('R9 RESTORE only tells the id', async () => {
  const { host, vmm, iommufd, watch } = await adopt(app);
  await expectErrno('EOPNOTSUPP', vmm.ioctl(iommufd, 'IOMMU_HWPT_LU_RESTORE', { flags: 1, token: TOKEN }));
  const objects = (await vmm.iommufd(iommufd)).objects;
  const ids = [await vmm.restore(iommufd, TOKEN), await vmm.restore(iommufd, TOKEN)];
  assert.equal(ids[0], ids[1]);
  assert.deepEqual((await vmm.iommufd(iommufd)).objects, objects, 'nothing was made');
  assert.equal((await host.device(D1)).state, 'A');
  await watch.noGap();
});

test('R10 the table of states', async () => {
  const q = await update(app);
  const { host, vmm, session, iommufd, cdev } = q;
  const stranger = await host.process({ name: 'stranger' });
  const { group } = await host.device(D1);
  const x = await stranger.openCdev(D1);
  const other = await stranger.open('/dev/iommu');
  /** Doors that are shut in every state but N. */
  async function shut(state: string, foreignBind: string): Promise<void> {
    assert.equal((await host.device(D1)).state, state);
    await expectErrno('EBUSY', host.bindDriver(D1, 'nvme'));
    await expectErrno('EPERM', host.groupType(group!, 'identity'));
    await expectErrno(foreignBind, stranger.bind(x, other));
    await stranger.close(await stranger.openCdev(D1));
    if (state !== 'L') await expectErrno('EBUSY', stranger.open(`/dev/vfio/${group}`));
    if (state !== 'L') await expectErrno('EINVAL', vmm.bind(cdev, iommufd));
    if (state !== 'L') await expectErrno('ENOENT', vmm.attach(cdev, 4711));
    if (state !== 'L') await expectErrno('EINVAL', vmm.attach(cdev, q.device));
  }

  await shut('L', 'EPERM');
  await expectErrno('EINVAL', vmm.attach(cdev, 1));
  await expectErrno('EINVAL', vmm.detach(cdev));
  await expectErrno('EINVAL', vmm.resetDevice(cdev));
  await expectErrno('ENODEV', vmm.restore(iommufd, TOKEN));
  await expectErrno('ENOENT', vmm.destroy(iommufd, 1));
  await expectErrno('EBUSY', vmm.finish(session));

  q.device = await vmm.bind(cdev, iommufd);
  await shut('A', 'EINVAL');
  const restored = await vmm.restore(iommufd, TOKEN);
  assert.equal(await vmm.attach(cdev, restored), restored);
  await expectErrno('EBUSY', vmm.destroy(iommufd, restored));
  await expectErrno('EINVAL', vmm.bind(cdev, await vmm.open('/dev/iommu')));

  await vmm.detach(cdev);
  await shut('X', 'EINVAL');
  await host.dmaFaults(D1, IOVA);
  await vmm.detach(cdev);
  assert.equal(await vmm.restore(iommufd, TOKEN), restored);
  await expectErrno('EINVAL', vmm.attach(cdev, restored));

  const { hwpt } = await buildSuccessor(q);
  await vmm.attach(cdev, hwpt);
  await shut('S', 'EINVAL');
  await host.dmaRead(D1, IOVA, 1);
  await expectErrno('EINVAL', vmm.attach(cdev, restored));
  assert.equal(await vmm.restore(iommufd, TOKEN), restored);
  await vmm.destroy(iommufd, restored);
  await expectErrno('ENOENT', vmm.restore(iommufd, TOKEN));
  await vmm.detach(cdev);
  assert.equal((await host.device(D1)).state, 'X');
  await vmm.attach(cdev, hwpt);
  assert.equal((await host.device(D1)).state, 'S');

  await vmm.finish(session);
  await vmm.close(cdev);
  assert.equal((await host.device(D1)).state, 'N');
  await expectErrno('ENOENT', vmm.restore(iommufd, TOKEN));
  await stranger.bind(x, other);
  await stranger.close(x);
  await host.unbindDriver(D1);
  await host.groupType(group!, 'identity');
  await host.bindDriver(D1, 'nvme');
});

test('R11 a restored HWPT has no IOAS: caches and new mappings', async () => {
  const q = await adopt(app);
  const { vmm, iommufd, watch } = q;
  const restored = await vmm.restore(iommufd, TOKEN);
  const invalidate = { hwpt_id: restored, data_type: 1, entry_len: 24, entry_num: 0 };
  await expectErrno('EINVAL', vmm.ioctl(iommufd, 'IOMMU_HWPT_INVALIDATE', invalidate));
  const { ioas } = await buildSuccessor(q);
  await vmm.unmap(iommufd, ioas, IOVA, 64 * 1024 * 1024);
  await watch.noGap();
});

test('R12 policy hitlessReplace=false', async () => {
  const q = await adopt(app, { policies: { hitlessReplace: false } });
  const { hwpt } = await buildSuccessor(q);
  const cursor = await q.host.cursor();
  await q.vmm.attach(q.cdev, hwpt);
  assert.equal((await q.host.hazards(cursor)).length, 1, 'the window in which DMA is refused');
  await q.host.dmaRead(D1, IOVA, 1);

  const hitless = await adopt(app);
  const successor = await buildSuccessor(hitless);
  const before = await hitless.host.cursor();
  await hitless.vmm.attach(hitless.cdev, successor.hwpt);
  assert.deepEqual(await hitless.host.hazards(before), []);
});

test('R16 FINISH may be the last close', async () => {
  const { host, vmm, session, iommufd, cdev } = await adopt(app);
  const { resets, domain } = await host.device(D1);
  await vmm.close(cdev);
  assert.equal((await host.device(D1)).state, 'A');
  await vmm.finish(session);
  const device = await host.device(D1);
  assert.deepEqual([device.state, device.resets, device.domain.kind], ['N', resets + 1, 'default']);
  await host.dmaFaults(D1, IOVA);
  const restored = await vmm.restore(iommufd, TOKEN);
  assert.equal((await vmm.hwpt(iommufd, restored)).domain, domain.id);
  await vmm.destroy(iommufd, restored);
});

test('R17 retrieved, never bound', async () => {
  const { host, vmm, session, iommufd, cdev, watch } = await update(app);
  await expectErrno('EINVAL', vmm.ioctl(cdev, 'VFIO_DEVICE_GET_INFO'));
  await expectErrno('EINVAL', vmm.attach(cdev, 1));
  await expectErrno('EINVAL', vmm.detach(cdev));
  await expectErrno('EINVAL', vmm.resetDevice(cdev));
  await expectErrno('EBUSY', vmm.finish(session));
  await vmm.close(cdev);
  assert.equal((await host.device(D1)).state, 'L');
  await watch.noGap();
  await vmm.bind(await vmm.retrieve(session, 3), iommufd);
  await watch.noGap();
});

test('R25 nothing happens by itself', async () => {
  const { host, watch } = await prepare(app);
  await host.kexec();
  await host.advanceClock('31536000000000000');
  assert.equal((await host.device(D1)).state, 'L');
  await watch.noGap();
  const { vmm, iommufd, cdev, session } = await retrieveAll(host, watch);
  await vmm.bind(cdev, iommufd);
  await vmm.finish(session);
  await host.advanceClock('31536000000000000');
  assert.equal((await host.device(D1)).state, 'A');
  await watch.noGap();
});

test('R25 profile linux-7.3 has none of it', async () => {
  const { host, vmm, memfd, iommufd, cdev, hwpt } = await setUpVmm(app, { profile: 'linux-7.3' });
  await expectErrno('ENOTTY', vmm.mark(iommufd, hwpt, 7));
  await expectErrno('ENOTTY', vmm.restore(iommufd, 7));
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm1');
  await vmm.preserve(session, memfd, 1);
  await expectErrno('ENOENT', vmm.preserve(session, iommufd, 2));
  await expectErrno('ENOENT', vmm.preserve(session, cdev, 3));
  await host.kexec();
  assert.equal((await host.device(D1)).state, 'N');
  assert.equal((await host.device(E1)).state, 'N');
  await host.dmaFaults(D1, IOVA);
});
