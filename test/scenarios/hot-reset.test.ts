/** Resets of all functions behind a port, by a cdev and by legacy groups, and what a last close does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D3, D4, type Host } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';
import type { Process } from '../support/process.ts';

const app = useApp();

const INFO = 'VFIO_DEVICE_GET_PCI_HOT_RESET_INFO';
const RESET = 'VFIO_DEVICE_PCI_HOT_RESET';

const info = (process: Process, fd: number) => process.ioctl(fd, INFO, { argsz: 12 + 8 * 8 });

const resetsOf = (host: Host, ...functions: string[]): Promise<number[]> =>
  Promise.all(functions.map(async (bdf) => (await host.device(bdf)).resets));

/** Two functions of one device, in groups of their own. */
const SEPARATE = {
  devices: ['0000:01:00.0', '0000:01:00.1'].map((bdf, group) => ({ bdf, group, driver: 'vfio-pci', reset: false })),
};
const [A, B] = ['0000:01:00.0', '0000:01:00.1'];

async function openBound(host: Host, bdf: string, process?: Process) {
  const vmm = process ?? (await host.process());
  const iommufd = await vmm.open('/dev/iommu');
  const cdev = await vmm.openCdev(bdf);
  const device = await vmm.bind(cdev, iommufd);
  return { vmm, iommufd, cdev, device };
}

async function openGroup(vmm: Process, group: number, container: number, bdf: string) {
  const file = await vmm.open(`/dev/vfio/${group}`);
  await vmm.ioctl(file, 'VFIO_GROUP_SET_CONTAINER', { container });
  const device = (await vmm.call('ioctl', { fd: file, request: 'VFIO_GROUP_GET_DEVICE_FD', arg: { name: bdf } })).ret;
  return { file, device: device as number };
}

test('a cdev: what is in its group is its own, open or not', async () => {
  const host = await app.host();
  const { vmm, cdev, device } = await openBound(host, D3);
  assert.deepEqual(await info(vmm, cdev), {
    flags: 3,
    count: 2,
    devices: [
      { devid: device, segment: 0, bus: 3, devfn: 0 },
      { devid: 0, segment: 0, bus: 3, devfn: 1 },
    ],
  });
  const before = await resetsOf(host, D3, D4);
  await vmm.ioctl(cdev, RESET);
  assert.deepEqual(
    await resetsOf(host, D3, D4),
    before.map((count) => count + 1),
  );
  const { why } = (await host.events()).filter(({ kind }) => kind === 'pci.reset').at(-1)!.data as { why: string };
  assert.equal(why, 'VFIO_DEVICE_PCI_HOT_RESET');
});

test('a sibling that is on no VFIO driver is nobody here: nothing is reset', async () => {
  const host = await app.host();
  const { vmm, cdev, device } = await openBound(host, D3);
  await host.unbindDriver(D4);
  const { flags, devices } = await info(vmm, cdev);
  assert.deepEqual([flags, (devices as { devid: number }[]).map(({ devid }) => devid)], [1, [device, -1]]);
  const before = await resetsOf(host, D3, D4);
  const { message } = await expectErrno('EINVAL', vmm.ioctl(cdev, RESET));
  assert.match(message, /0000:03:00\.1.*no VFIO driver/);
  assert.deepEqual(await resetsOf(host, D3, D4), before);
});

test('groups of their own: each function has to be bound to the same iommufd', async () => {
  const host = await app.host(SEPARATE);
  const { vmm, iommufd, cdev, device } = await openBound(host, A!);
  const ids = async () => ((await info(vmm, cdev)).devices as { devid: number }[]).map(({ devid }) => devid);
  assert.deepEqual(await ids(), [device, -1]);
  await expectErrno('EINVAL', vmm.ioctl(cdev, RESET));
  const other = await openBound(host, B!);
  assert.deepEqual(await ids(), [device, -1]);
  await expectErrno('EINVAL', vmm.ioctl(cdev, RESET));
  await other.vmm.kill();
  const sibling = await vmm.bind(await vmm.openCdev(B!), iommufd);
  assert.deepEqual(await ids(), [device, sibling]);
  const before = await resetsOf(host, A!, B!);
  await vmm.ioctl(cdev, RESET);
  assert.deepEqual(
    await resetsOf(host, A!, B!),
    before.map((count) => count + 1),
  );
});

test('the legacy path: the descriptors of all groups', async () => {
  const host = await app.host(SEPARATE);
  const vmm = await host.process();
  const container = await vmm.open('/dev/vfio/vfio');
  const a = await openGroup(vmm, 0, container, A!);
  assert.deepEqual(await info(vmm, a.device), {
    flags: 0,
    count: 2,
    devices: [
      { group_id: 0, segment: 0, bus: 1, devfn: 0 },
      { group_id: 1, segment: 0, bus: 1, devfn: 1 },
    ],
  });
  const reset = (...fds: number[]) => vmm.ioctl(a.device, RESET, { count: fds.length, group_fds: fds });
  const b = await vmm.open('/dev/vfio/1');
  const before = await resetsOf(host, A!, B!);
  await expectErrno('EINVAL', reset());
  await expectErrno('EINVAL', reset(a.file));
  await expectErrno('EINVAL', reset(a.file, a.file));
  await expectErrno('EINVAL', reset(a.file, b, b));
  await expectErrno('EBADF', reset(a.file, 777));
  await expectErrno('EINVAL', reset(a.file, container));
  assert.deepEqual(await resetsOf(host, A!, B!), before);
  // The group of a function that nobody has opened will do, without a container.
  await reset(a.file, b);
  assert.deepEqual(
    await resetsOf(host, A!, B!),
    before.map((count) => count + 1),
  );
});

test('how a device was opened decides how it is asked', async () => {
  const host = await app.host();
  const { vmm, cdev } = await openBound(host, D3);
  await expectErrno('EINVAL', vmm.ioctl(cdev, RESET, { count: 1, group_fds: [cdev] }));
  await expectErrno('EINVAL', vmm.ioctl(cdev, RESET, { flags: 1 }));
  const [room] = await host.runCalls(vmm.pid, [{ call: 'ioctl', fd: cdev, request: INFO, arg: { argsz: 27 } }]);
  assert.deepEqual([room!.errno, room!.arg], ['ENOSPC', { flags: 0, count: 2 }]);
  // A bus with a host bridge on it is a root bus: nothing is above it.
  const root = await app.host({
    devices: [
      { bdf: '0000:40:00.0', class: '0600' },
      { bdf: '0000:40:02.0', driver: 'vfio-pci' },
    ],
  });
  const integrated = await openBound(root, '0000:40:02.0');
  for (const request of [INFO, RESET]) await expectErrno('ENODEV', integrated.vmm.ioctl(integrated.cdev, request));
});

test('the link that does not come back: ENOTTY, and all is reset, attached and translated as before', async () => {
  const host = await app.host();
  const { vmm, iommufd, cdev } = await openBound(host, D3);
  const ioas = await vmm.allocIoas(iommufd);
  await vmm.attach(cdev, ioas);
  const memfd = await vmm.memfd(0x1000);
  await vmm.mapFile(iommufd, ioas, 0x100000, memfd, 0x1000);
  const before = await resetsOf(host, D3, D4);
  await host.armFault('pci.link');
  await expectErrno('ENOTTY', vmm.ioctl(cdev, RESET));
  assert.deepEqual(
    await resetsOf(host, D3, D4),
    before.map((count) => count + 1),
  );
  await host.dmaWrite(D3, 0x100000, 'still');
  assert.equal(await vmm.read(memfd, 0, 5), 'still');
  await vmm.ioctl(cdev, RESET);
});

test('what cannot be reset alone is reset with its bus, when the last device of the bus is closed', async () => {
  const host = await app.host(SEPARATE);
  const first = await openBound(host, A!);
  const second = await openBound(host, B!);
  await first.vmm.close(first.cdev);
  assert.deepEqual(await resetsOf(host, A!, B!), [0, 0]);
  await second.vmm.close(second.cdev);
  assert.deepEqual(await resetsOf(host, A!, B!), [1, 1]);
  // Nobody may have another function that the bus reset would reset.
  const third = await openBound(host, A!);
  await host.unbindDriver(B!);
  await third.vmm.close(third.cdev);
  assert.deepEqual(await resetsOf(host, A!, B!), [1, 1]);
});
