/** What C1 to C7 say beyond the scenarios: each test is named after its rule. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, D2, MIB } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';
import { adopt, IOVA, prepare, RAM, setUpVmm, TOKEN } from '../support/setups.ts';

const app = useApp();
const ADDRESS = 0x7f00_0000_0000;
const ELSEWHERE = 0x2000_0000;

test('C1 marking again, and what a token may be', async () => {
  const { vmm, iommufd, hwpt } = await setUpVmm(app);
  await expectErrno('EOPNOTSUPP', vmm.ioctl(iommufd, 'IOMMU_HWPT_LU_SET_PRESERVE', { flags: 1, hwpt_id: hwpt }));
  await vmm.mark(iommufd, hwpt, TOKEN);
  await vmm.mark(iommufd, hwpt, TOKEN);
  for (const token of [0, '0xffffffffffffffff', '0x100000007']) await vmm.mark(iommufd, hwpt, token);
  assert.equal((await vmm.hwpt(iommufd, hwpt)).token, '0x100000007');
});

test('C1 a mark alone changes nothing else', async () => {
  const { vmm, memfd, iommufd, device, ioas, hwpt, watch } = await setUpVmm(app);
  await vmm.mark(iommufd, hwpt, TOKEN);
  await vmm.mapFile(iommufd, ioas, ELSEWHERE, memfd, MIB);
  await vmm.unmap(iommufd, ioas, ELSEWHERE, MIB);
  const other = await vmm.allocHwpt(iommufd, device, ioas);
  await vmm.mark(iommufd, other, 8);
  await vmm.destroy(iommufd, other);
  await watch.noGap();
});

test('C2 of two faulty HWPTs the one with the lower id decides', async () => {
  const { vmm, iommufd, device } = await setUpVmm(app);
  const lu = await vmm.openLiveupdate();
  const stranger = await vmm.sealedMemfd(MIB);
  await vmm.mmap(ADDRESS, MIB);
  const byAddress = await vmm.allocIoas(iommufd);
  await vmm.map(iommufd, byAddress, ELSEWHERE, ADDRESS, MIB);
  const notInSession = await vmm.allocIoas(iommufd);
  await vmm.mapFile(iommufd, notInSession, ELSEWHERE, stranger, MIB);
  for (const [first, second, errno] of [
    [byAddress, notInSession, 'EINVAL'] as const,
    [notInSession, byAddress, 'ENOENT'] as const,
  ]) {
    const lower = await vmm.allocHwpt(iommufd, device, first);
    const higher = await vmm.allocHwpt(iommufd, device, second);
    assert.ok(lower < higher);
    await vmm.mark(iommufd, lower, 21);
    await vmm.mark(iommufd, higher, 22);
    const session = await vmm.createSession(lu, 'vm1');
    await expectErrno(errno, vmm.preserve(session, iommufd, 2));
    // All IOAS are mutable again.
    await vmm.map(iommufd, byAddress, ELSEWHERE + MIB, ADDRESS, 4096);
    await vmm.unmap(iommufd, byAddress, ELSEWHERE + MIB, 4096);
    await vmm.close(session);
    for (const hwpt of [lower, higher]) await vmm.destroy(iommufd, hwpt);
  }
});

test('C2 a fault of the mappings wins over an IOMMU driver that cannot preserve', async () => {
  const amd = { iommus: [{ kind: 'amd-vi' }], devices: [{ bdf: D1, driver: 'vfio-pci' }] };
  const { vmm, memfd, iommufd, ioas, hwpt } = await setUpVmm(app, amd);
  await vmm.mark(iommufd, hwpt, TOKEN);
  await vmm.mmap(ADDRESS, MIB);
  await vmm.map(iommufd, ioas, ELSEWHERE, ADDRESS, MIB);
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm1');
  await vmm.preserve(session, memfd, 1);
  await expectErrno('EINVAL', vmm.preserve(session, iommufd, 2));
  await vmm.unmap(iommufd, ioas, ELSEWHERE, MIB);
  await expectErrno('EOPNOTSUPP', vmm.preserve(session, iommufd, 2));
});

test('C2 EBUSY of an immutable IOAS has its place among the checks', async () => {
  const { vmm, memfd, iommufd, device, ioas, hwpt } = await prepare(app);
  const fixed = { flags: 7, ioas_id: ioas, fd: memfd, start: 0, length: MIB, iova: ELSEWHERE };
  const mapFile = (change: object): Promise<unknown> =>
    vmm.ioctl(iommufd, 'IOMMU_IOAS_MAP_FILE', { ...fixed, ...change });
  await expectErrno('EOPNOTSUPP', mapFile({ flags: 0x80 }));
  await expectErrno('ENOENT', mapFile({ ioas_id: 4711 }));
  await expectErrno('EINVAL', mapFile({ length: 0 }));
  await expectErrno('EBADF', mapFile({ fd: 777 }));
  await expectErrno('EBUSY', mapFile({ iova: ELSEWHERE + 1 }));
  await expectErrno('EBUSY', mapFile({ iova: IOVA }));
  await expectErrno('EBUSY', vmm.unmap(iommufd, ioas, ELSEWHERE, MIB));
  await expectErrno('ENOENT', vmm.unmap(iommufd, 4711, IOVA, RAM));
  // Other HWPTs stay usable, one of the same IOAS included.
  await vmm.destroy(iommufd, await vmm.allocHwpt(iommufd, device, ioas));
  await expectErrno('EBUSY', vmm.mark(iommufd, hwpt, 9));
});

test('C2 a marked HWPT without a device is accepted, and dropped at boot', async () => {
  const { host, vmm, memfd, iommufd, cdev, device, ioas, hwpt } = await setUpVmm(app);
  await vmm.mark(iommufd, hwpt, TOKEN);
  const unattached = await vmm.allocHwpt(iommufd, device, ioas);
  await vmm.mark(iommufd, unattached, 8);
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm1');
  await vmm.preserve(session, memfd, 1);
  await vmm.preserve(session, iommufd, 2);
  await vmm.preserve(session, cdev, 3);
  await expectErrno('EBUSY', vmm.destroy(iommufd, unattached));
  await host.kexec();
  assert.equal((await host.domains()).length, 1);
  await host.bindDriver(D1, 'vfio-pci');
  const next = await host.process();
  const retrieved = await next.retrieveSession(await next.openLiveupdate(), 'vm1');
  const restored = await next.retrieve(retrieved, 2);
  await next.bind(await next.retrieve(retrieved, 3), restored);
  await next.restore(restored, TOKEN);
  await expectErrno('ENOENT', next.restore(restored, 8));
});

test('C3 the iommufd must be in the same session', async () => {
  const { vmm, memfd, iommufd, cdev, hwpt } = await setUpVmm(app);
  const lu = await vmm.openLiveupdate();
  await vmm.mark(iommufd, hwpt, TOKEN);
  const first = await vmm.createSession(lu, 'first');
  await vmm.preserve(first, memfd, 1);
  await vmm.preserve(first, iommufd, 2);
  const second = await vmm.createSession(lu, 'second');
  await expectErrno('ENOENT', vmm.preserve(second, cdev, 3));
  await vmm.preserve(first, cdev, 3);
  await expectErrno('EBUSY', vmm.preserve(second, cdev, 3));
});

test('C3 vfio-pci cannot be unbound while LUO holds the file', async () => {
  const { host, vmm, session, cdev, watch } = await prepare(app);
  await vmm.close(cdev);
  await watch.noGap();
  assert.equal(await host.unbindDriver(D1), true);
  assert.equal((await host.device(D1)).unbinding, true);
  await watch.noGap();
  await vmm.close(session);
  const device = await host.device(D1);
  assert.deepEqual([device.unbinding, device.driver], [false, null]);
  await host.dmaFaults(D1, IOVA);
});

test('C3 whether the device can be reset is taken from the record', async () => {
  const fixed = { devices: [{ bdf: D1, driver: 'vfio-pci', reset: false }] };
  const { vmm, cdev, watch } = await adopt(app, fixed);
  assert.equal(Number((await vmm.ioctl(cdev, 'VFIO_DEVICE_GET_INFO')).flags) & 1, 0);
  await expectErrno('EINVAL', vmm.resetDevice(cdev));
  await watch.noGap();
  const resettable = await adopt(app);
  assert.equal(Number((await resettable.vmm.ioctl(resettable.cdev, 'VFIO_DEVICE_GET_INFO')).flags) & 1, 1);
  await resettable.vmm.resetDevice(resettable.cdev);
});

test('C4 retrieve in any order', async () => {
  const { host, watch } = await prepare(app);
  await host.kexec();
  await host.bindDriver(D1, 'vfio-pci');
  const vmm = await host.process();
  const session = await vmm.retrieveSession(await vmm.openLiveupdate(), 'vm1');
  const cdev = await vmm.retrieve(session, 3);
  const iommufd = await vmm.retrieve(session, 2);
  await vmm.bind(cdev, iommufd);
  await watch.noGap();
  await vmm.retrieve(session, 1);
  await vmm.finish(session);
});

test('C5 nothing of the preserved state is left after an abort', async () => {
  const { host, vmm, session, memfd, iommufd, cdev, hwpt, lu, watch } = await prepare(app);
  assert.equal((await host.domains()).find(({ devices }) => devices.includes(D1))?.preserved, true);
  await vmm.close(session);
  assert.equal((await host.view()).memory.preserved, '0x0');
  assert.equal((await host.device(D1)).preserved, false);
  assert.equal((await host.domains()).find(({ devices }) => devices.includes(D1))?.preserved, false);
  assert.equal((await vmm.hwpt(iommufd, hwpt)).token, '0x7', 'the mark stays');
  await vmm.truncate(memfd, RAM);
  await watch.noGap();
  const again = await vmm.createSession(lu, 'vm1');
  for (const [fd, token] of [[memfd, 1] as const, [iommufd, 2] as const, [cdev, 3] as const]) {
    await vmm.preserve(again, fd, token);
  }
  await host.kexec();
  assert.equal((await host.device(D1)).state, 'L');
  await watch.noGap();
});

test('C6 translation stays on through the kexec for preserved devices only', async () => {
  const { host, watch } = await prepare(app);
  const cursor = await host.cursor();
  await host.kexec();
  await watch.noGap();
  const faults = (await host.events(cursor)).filter((event) => event.kind === 'dma.fault' && event.data.bdf === D1);
  assert.deepEqual(faults, []);
  assert.equal((await host.device(D2)).domain.kind, 'default');
});

test('C7 the group has an owner before anybody asks', async () => {
  const { host } = await prepare(app);
  await host.kexec();
  const device = await host.device(D1);
  const group = (await host.request('get', `/groups/${device.group}`)) as Record<string, unknown>;
  assert.deepEqual([group.owner, group.ownerCount], ['luo', 1]);
  const [domain] = await host.domains();
  assert.ok(domain !== undefined);
  assert.deepEqual([domain.id, domain.restored, domain.devices], [device.domain.id, true, [D1]]);
  assert.ok(domain.tablePages > 0);
});
