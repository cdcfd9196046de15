/** VFIO_DEVICE_FEATURE, and the low power of a device that a program does not use for a while. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, D3, D4 } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';
import type { Process } from '../support/process.ts';

const app = useApp();

const GET = 0x10000;
const SET = 0x20000;
const PROBE = 0x40000;
const ENTRY = 3;
const WITH_WAKEUP = 4;
const EXIT = 5;

const AT = '0x600000000000';

const EFD_NONBLOCK = 0x800;

const feature = (vmm: Process, fd: number, flags: number, data?: Buffer) =>
  vmm.ioctl(fd, 'VFIO_DEVICE_FEATURE', { flags, ...(data && { data: data.toString('base64') }) });

function wakeupBy(eventfd: number, reserved = 0): Buffer {
  const data = Buffer.alloc(8);
  data.writeInt32LE(eventfd, 0);
  data.writeUInt32LE(reserved, 4);
  return data;
}

async function bound(bdf = D1) {
  const host = await app.host();
  const vmm = await host.process();
  const iommufd = await vmm.open('/dev/iommu');
  const cdev = await vmm.openCdev(bdf);
  await vmm.bind(cdev, iommufd);
  const eventfd = (await vmm.call('eventfd', { initval: 0, flags: EFD_NONBLOCK })).ret as number;
  /** How often the eventfd was signalled since it was asked. */
  const signals = async (): Promise<number> => {
    const [result] = await host.runCalls(vmm.pid, [{ call: 'read', fd: eventfd, length: 8 }]);
    if (result!.errno === 'EAGAIN') return 0;
    return Number(Buffer.from(result!.data!, 'base64').readBigUInt64LE());
  };
  return { host, vmm, iommufd, cdev, eventfd, signals };
}

test('which features there are', async () => {
  const { vmm, cdev } = await bound();
  for (const number of [ENTRY, WITH_WAKEUP, EXIT]) {
    await feature(vmm, cdev, PROBE | number);
    await feature(vmm, cdev, PROBE | SET | number);
    for (const flags of [PROBE | GET, PROBE | GET | SET, GET, 0])
      await expectErrno('EINVAL', feature(vmm, cdev, flags | number));
  }
  for (const number of [0, 1, 2, 6, 9, 10, 11, 13, 0xffff])
    for (const flags of [PROBE, PROBE | GET | SET, GET, SET, 0])
      await expectErrno('ENOTTY', feature(vmm, cdev, flags | number));
  // What cannot be asked at all is looked at before the number.
  for (const number of [0, EXIT, 12]) await expectErrno('EINVAL', feature(vmm, cdev, GET | SET | number));
  await expectErrno('EINVAL', feature(vmm, cdev, 0x80000 | PROBE));
  await expectErrno('EINVAL', vmm.ioctl(cdev, 'VFIO_DEVICE_FEATURE', { argsz: 7, flags: PROBE | EXIT }));
});

test('entry, and exit: one entry at a time, and none is left to the next user', async () => {
  const { vmm, cdev, iommufd } = await bound();
  await feature(vmm, cdev, SET | EXIT);
  await feature(vmm, cdev, SET | ENTRY);
  await vmm.ioctl(cdev, 'VFIO_DEVICE_GET_INFO');
  await vmm.resetDevice(cdev);
  await expectErrno('EINVAL', feature(vmm, cdev, SET | ENTRY));
  await feature(vmm, cdev, SET | EXIT);
  await feature(vmm, cdev, SET | ENTRY);
  await vmm.close(cdev);
  const next = await vmm.openCdev(D1);
  await vmm.bind(next, iommufd);
  await feature(vmm, next, SET | ENTRY);
});

test('with a wakeup eventfd, whatever comes first wakes the device: once, and for good', async () => {
  const { vmm, cdev, eventfd, signals } = await bound();
  const enter = () => feature(vmm, cdev, SET | WITH_WAKEUP, wakeupBy(eventfd));
  const wakers: (() => Promise<unknown>)[] = [
    () => vmm.ioctl(cdev, 'VFIO_DEVICE_GET_INFO'),
    () => expectErrno('ENOTTY', vmm.ioctl(cdev, 'VFIO_DEVICE_FEATURE', { flags: PROBE | 1 })),
    () => feature(vmm, cdev, SET | EXIT),
    () => vmm.read(cdev, 0x70000000000, 4),
  ];
  for (const wake of wakers) {
    await enter();
    assert.equal(await signals(), 0);
    await wake();
    assert.equal(await signals(), 1);
    await vmm.ioctl(cdev, 'VFIO_DEVICE_GET_INFO');
    assert.equal(await signals(), 0);
  }
  // The request that enters again is what wakes it.
  await enter();
  await enter();
  assert.equal(await signals(), 1);
  await feature(vmm, cdev, SET | ENTRY);
  assert.equal(await signals(), 1);
  await expectErrno('EINVAL', enter());
  // The end of the device is no wakeup.
  await feature(vmm, cdev, SET | EXIT);
  await enter();
  await vmm.close(cdev);
  assert.equal(await signals(), 0);
});

test('in low power BARs are out of reach where they are mapped, and come back at the exit', async () => {
  const bars = [{ index: 0, kind: 'mem32', address: '0xfe400000', size: '0x1000' }];
  const host = await app.host({ devices: [{ bdf: D1, driver: 'vfio-pci', config: { bars } }] });
  const vmm = await host.process();
  const cdev = await vmm.openCdev(D1);
  await vmm.bind(cdev, await vmm.open('/dev/iommu'));
  await vmm.call('mmap', { fd: cdev, offset: 0, length: 0x1000, addr: AT, shared: true, prot: 3 });
  const signal = async () => (await host.runCalls(vmm.pid, [{ call: 'peek', addr: AT, length: 4 }]))[0]!.signal;
  assert.equal(await signal(), undefined);
  await feature(vmm, cdev, SET | ENTRY);
  assert.equal(await signal(), 'SIGBUS');
  // The descriptor wakes the device, but not for mappings; nor does a reset.
  await vmm.read(cdev, 0, 4);
  await vmm.resetDevice(cdev);
  assert.equal(await signal(), 'SIGBUS');
  await feature(vmm, cdev, SET | EXIT);
  assert.equal(await signal(), undefined);
});

test('what is no eventfd is refused, and nothing is entered', async () => {
  const { vmm, cdev, iommufd, eventfd } = await bound();
  const enter = (data?: Buffer) => feature(vmm, cdev, SET | WITH_WAKEUP, data);
  await expectErrno('EINVAL', enter());
  await expectErrno('EINVAL', enter(wakeupBy(eventfd).subarray(0, 7)));
  await expectErrno('EINVAL', enter(wakeupBy(-1)));
  await expectErrno('EINVAL', enter(wakeupBy(eventfd, 1)));
  await expectErrno('EINVAL', enter(wakeupBy(iommufd)));
  await expectErrno('EBADF', enter(wakeupBy(777)));
  await feature(vmm, cdev, SET | ENTRY);
});

test('a hot reset wakes the other functions of the bus', async () => {
  const { vmm, iommufd, cdev, eventfd, signals } = await bound(D3);
  const sibling = await vmm.openCdev(D4);
  await vmm.bind(sibling, iommufd);
  await feature(vmm, sibling, SET | WITH_WAKEUP, wakeupBy(eventfd));
  await vmm.ioctl(cdev, 'VFIO_DEVICE_PCI_HOT_RESET');
  assert.equal(await signals(), 1);
});
