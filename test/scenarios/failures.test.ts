/** S42 to S45: crash, a freeze that fails, resets, mapping errors that come late. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, MIB } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';
import { buildSuccessor, IOVA, prepare, RAM, TEXT, TOKEN, update } from '../support/setups.ts';

const app = useApp();

test('S42 crash', async () => {
  const { host } = await prepare(app);
  await host.crash();
  assert.equal((await host.view()).state, 'kdump');
  await expectErrno('ENOENT', (await host.process()).openLiveupdate());
  await host.powerCycle();
  const device = await host.device(D1);
  assert.deepEqual([device.state, device.domain.kind], ['N', 'default']);
  await host.dmaFaults(D1, IOVA);
  const process = await host.process();
  await expectErrno('ENOENT', process.retrieveSession(await process.openLiveupdate(), 'vm1'));
  assert.equal(await host.reservedBytes(), 0);
});

test('S42 crash: power loss between the freeze and the next kernel', async () => {
  const { host } = await prepare(app);
  await host.armFault('kexec.power-loss');
  await host.kexec();
  const view = await host.view();
  assert.deepEqual([view.state, view.liveupdateNumber, view.kexecCount], ['running', 0, 0]);
  assert.equal((await host.device(D1)).state, 'N');
  await host.dmaFaults(D1, IOVA);
  const process = await host.process();
  await expectErrno('ENOENT', process.retrieveSession(await process.openLiveupdate(), 'vm1'));
});

test('S43 kexec fails after vfio froze', async () => {
  const { host, vmm, session, memfd, iommufd, cdev, ioas, watch } = await prepare(app);
  await vmm.preserve(session, await vmm.memfd(MIB), 4);
  await host.armFault('memfd.freeze', { nth: 2, errno: 'EIO' });
  await expectErrno('EIO', host.kexec());
  await watch.noGap();
  assert.equal((await host.device(D1)).preserved, true);
  await expectErrno('EBUSY', vmm.unmap(iommufd, ioas, IOVA, RAM));
  await expectErrno('EBUSY', vmm.detach(cdev));
  await expectErrno('EPERM', vmm.truncate(memfd, 0));
  await vmm.ioctl(cdev, 'VFIO_DEVICE_GET_INFO');
  await host.kexec();
  assert.equal((await host.device(D1)).state, 'L');
  await watch.noGap();
});

test('S43 kexec fails after vfio froze: policy vfioFreezeResets=true', async () => {
  const { host, vmm, session, cdev } = await prepare(app, { policies: { vfioFreezeResets: true } });
  await vmm.preserve(session, await vmm.memfd(MIB), 4);
  await host.armFault('memfd.freeze', { nth: 2, errno: 'EIO' });
  const { resets } = await host.device(D1);
  await expectErrno('EIO', host.kexec());
  assert.equal((await host.device(D1)).resets, resets + 1);
  await expectErrno('EIO', vmm.ioctl(cdev, 'VFIO_DEVICE_GET_INFO'));
  await expectErrno('EIO', vmm.resetDevice(cdev));
  assert.equal(await vmm.sessionName(session), 'vm1');
  assert.equal((await host.device(D1)).preserved, true);
});

test('S43 kexec fails after vfio froze: interrupts still enabled', async () => {
  const { host, watch } = await prepare(app);
  await host.request('patch', `/devices/${D1}`, { interruptsEnabled: true });
  await expectErrno('EINVAL', host.kexec());
  assert.equal((await host.view()).kernel, 1);
  await watch.noGap();
  await host.request('patch', `/devices/${D1}`, { interruptsEnabled: false });
  await host.kexec();
  assert.equal((await host.device(D1)).state, 'L');
});

test('S44 FLR', async () => {
  const q = await update(app);
  const { host, vmm, session, iommufd, cdev } = q;
  const before = await host.device(D1);
  await host.reset(D1);
  const after = await host.device(D1);
  assert.equal(after.resets, before.resets + 1, "the device's own state, its DMA included, is gone");
  assert.deepEqual({ ...after, resets: 0 }, { ...before, resets: 0 }, 'domain and ownership are not');
  assert.equal((await host.dmaRead(D1, IOVA, TEXT.length)).toString(), TEXT);

  q.device = await vmm.bind(cdev, iommufd);
  const restored = await vmm.restore(iommufd, TOKEN);
  await vmm.resetDevice(cdev);
  assert.equal((await host.device(D1)).resets, after.resets + 1);
  assert.equal((await host.device(D1)).state, 'A');
  assert.deepEqual((await vmm.hwpt(iommufd, restored)).devices, [D1]);
  assert.equal((await host.dmaRead(D1, IOVA, TEXT.length)).toString(), TEXT);

  const { hwpt } = await buildSuccessor(q);
  await vmm.attach(cdev, hwpt);
  await vmm.destroy(iommufd, restored);
  await vmm.finish(session);
  assert.equal((await host.dmaRead(D1, IOVA, TEXT.length)).toString(), TEXT);
});

test('S45 late mapping errors of MAP_FILE', async () => {
  const host = await app.host();
  const vmm = await host.process();
  const iommufd = await vmm.open('/dev/iommu');
  const ioas = await vmm.allocIoas(iommufd);
  const nothing = await vmm.open('/dev/null');
  const short = await vmm.memfd(MIB);
  const cdev = await vmm.openCdev(D1);
  const device = await vmm.bind(cdev, iommufd);
  const bad = [nothing, short];
  for (const file of bad) {
    await vmm.mapFile(iommufd, ioas, IOVA, file, 2 * MIB);
    await expectErrno('EINVAL', vmm.allocHwpt(iommufd, device, ioas));
    await expectErrno('EINVAL', vmm.attach(cdev, ioas));
    await host.dmaFaults(D1, IOVA);
    await vmm.unmap(iommufd, ioas, IOVA, 2 * MIB);
  }
  const hwpt = await vmm.allocHwpt(iommufd, device, ioas);
  await vmm.attach(cdev, hwpt);
  for (const file of bad) await expectErrno('EINVAL', vmm.mapFile(iommufd, ioas, IOVA, file, 2 * MIB));
});
