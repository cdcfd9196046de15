/** What descriptors are called, and what is said where a path or a descriptor is of no use. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, D3, D4, MIB } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';
import { HUGETLB, type Process } from '../support/process.ts';
import { adopt, prepare } from '../support/setups.ts';

const app = useApp();

const linkOf = async (process: Process, fd: number) =>
  (await process.view()).descriptors.find((descriptor) => descriptor.fd === fd)?.link;

test('links are those of /proc/PID/fd', async () => {
  const { host, vmm, memfd, iommufd, cdev, lu, session } = await prepare(app);
  const group = await vmm.open('/dev/vfio/2');
  await vmm.ioctl(group, 'VFIO_GROUP_SET_CONTAINER', { container: iommufd });
  const request = { request: 'VFIO_GROUP_GET_DEVICE_FD', arg: { name: '0000:03:00.0' } };
  const device = (await vmm.call('ioctl', { fd: group, ...request })).ret as number;
  const nothing = await vmm.open('/dev/null');
  const links = new Map((await vmm.view()).descriptors.map(({ fd, link }) => [fd, link]));
  assert.deepEqual(
    [memfd, iommufd, cdev, lu, session, group, device, nothing].map((fd) => links.get(fd)),
    [
      '/memfd:ram (deleted)',
      '/dev/iommu',
      '/dev/vfio/devices/vfio0',
      '/dev/liveupdate',
      'anon_inode:[luo_session] vm1',
      '/dev/vfio/2',
      'anon_inode:[vfio-device]',
      '/dev/null',
    ],
  );
  await host.unbindDriver(D1);
  assert.equal(await linkOf(vmm, cdev), '/dev/vfio/devices/vfio0 (deleted)');
  for (const bdf of [D3, D4]) await host.unbindDriver(bdf);
  assert.equal(await linkOf(vmm, group), '/dev/vfio/2 (deleted)');
});

test('links of what came out of a session', async () => {
  const { vmm, memfd, iommufd, cdev, session } = await adopt(app);
  const links = new Map((await vmm.view()).descriptors.map(({ fd, link }) => [fd, link]));
  assert.deepEqual(
    [memfd, iommufd, cdev, session].map((fd) => links.get(fd)),
    ['/ (deleted)', 'anon_inode:iommufd', 'anon_inode:[vfio-device-liveupdate]', 'anon_inode:[luo_session] vm1'],
  );
});

test('a node of VFIO that is not there says that the function is on no VFIO driver', async () => {
  const { host } = await prepare(app);
  await host.kexec();
  const vmm = await host.process();
  for (const path of ['/dev/vfio/devices/vfio0', '/dev/vfio/0']) {
    const { message } = await expectErrno('ENOENT', vmm.open(path));
    assert.match(message, /on (no|a) VFIO driver in this kernel.*bind vfio-pci/, path);
  }
  const other = await expectErrno('ENOENT', vmm.open('/dev/vfio/devices'));
  assert.match(other.message, /there is no \/dev\/vfio\/devices\)/);
});

test('what cannot be preserved says why not', async () => {
  const host = await app.host();
  const vmm = await host.process();
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm1');
  const why = async (fd: number) => (await expectErrno('ENOENT', vmm.preserve(session, fd, 1))).message;

  const iommufd = await vmm.open('/dev/iommu');
  const group = await vmm.open('/dev/vfio/0');
  await vmm.ioctl(group, 'VFIO_GROUP_SET_CONTAINER', { container: iommufd });
  const request = { request: 'VFIO_GROUP_GET_DEVICE_FD', arg: { name: D1 } };
  const device = (await vmm.call('ioctl', { fd: group, ...request })).ret as number;
  assert.match(
    await why(device),
    /anon_inode:\[vfio-device\]: 0000:01:00\.0 was opened through its legacy group \/dev\/vfio\/0; only what was opened as \/dev\/vfio\/devices\/vfio0/,
  );
  assert.match(
    await why(group),
    /nothing can preserve \/dev\/vfio\/0: this kernel has handlers of memfd-v2, iommufd-v1/,
  );
  await vmm.close(device);
  await vmm.close(group);
  assert.match(
    await why(await vmm.openCdev(D1)),
    /not bound to an iommufd: bind it first \(PUT .*\/iommufd, VFIO_DEVICE_BIND_IOMMUFD\)/,
  );
  assert.match(await why(await vmm.memfd(2 * MIB, HUGETLB)), /memfd of huge pages/);

  const mainline = await app.host({ profile: 'linux-7.3' });
  const there = await mainline.process();
  const empty = await there.createSession(await there.openLiveupdate(), 'vm1');
  const { message } = await expectErrno('ENOENT', there.preserve(empty, await there.open('/dev/iommu'), 1));
  assert.match(message, /this kernel has handlers of memfd-v2\)/);
});
