/** What is kept of descriptors and of files beside their contents, and what poll says of them. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Process as KernelProcess } from '../../../src/kernel/process.ts';
import { Mock, words } from '../../selftests/mock.ts';
import { useApp } from '../../support/app.ts';
import { D1 } from '../../support/client.ts';
import { expectErrno } from '../../support/kernel-error.ts';
import { Process } from '../../support/process.ts';

const app = useApp();

const O_RDWR = 2;
const O_APPEND = 0x400;
const O_NONBLOCK = 0x800;
const O_LARGEFILE = 0x8000;
const IN = 0x1 | 0x40;
const OUT = 0x4;
const ALL = 0x3ff;

const control = async (process: Process, fd: number, cmd: string | number, arg?: unknown) =>
  (await process.call('fcntl', { fd, cmd, ...(arg !== undefined && { arg }) })).ret as number;
const ready = async (process: Process, ...fds: number[]) =>
  (await process.call('poll', { fds: fds.map((fd) => ({ fd, events: ALL })) })).revents;

test('status flags are those that the file was made with', async () => {
  const process = await (await app.host()).process();
  const iommufd = await process.open('/dev/iommu');
  const memfd = await process.memfd(4096);
  const queue = (await process.ioctl(iommufd, 'IOMMU_FAULT_QUEUE_ALLOC')).out_fault_fd as number;
  const session = await process.createSession(await process.openLiveupdate(), 'vm1');
  const flags = async (fd: number) => control(process, fd, 'F_GETFL');
  assert.equal(await flags(iommufd), O_RDWR | O_LARGEFILE);
  assert.equal(await flags(memfd), O_RDWR | O_LARGEFILE);
  assert.equal(await flags(queue), O_RDWR, 'an anonymous inode is not opened');
  assert.equal(await flags(session), O_RDWR);
  const copy = await process.dup(memfd);
  // Of what is not settable nothing is seen.
  assert.equal(await control(process, memfd, 4, ['O_NONBLOCK', 'O_APPEND']), 0);
  assert.equal(await flags(copy), O_RDWR | O_LARGEFILE | O_NONBLOCK | O_APPEND, 'flags are the file’s');
  assert.equal(await control(process, memfd, 'F_SETFL', 0x1 | 0x40 | 0x2000), 0);
  assert.equal(await flags(copy), O_RDWR | O_LARGEFILE);
  await expectErrno('EINVAL', control(process, memfd, 'F_SETFL', ['O_DIRECT']));
});

test('FD_CLOEXEC is the descriptor’s', async () => {
  const host = await app.host();
  const process = await host.process();
  const closes = async (fd: number) => control(process, fd, 'F_GETFD');
  const iommufd = await process.open('/dev/iommu');
  const memfd = (await process.call('memfd_create', { name: 'ram', flags: ['MFD_CLOEXEC'], size: 4096 })).ret as number;
  const queue = (await process.ioctl(iommufd, 'IOMMU_FAULT_QUEUE_ALLOC')).out_fault_fd as number;
  const session = await process.createSession(await process.openLiveupdate(), 'vm1');
  assert.deepEqual(
    [await closes(iommufd), await closes(memfd), await closes(queue), await closes(session)],
    [0, 1, 1, 1],
  );
  const copy = await process.dup(memfd);
  assert.equal(await closes(copy), 0, 'a copy is not closed');
  assert.equal(await control(process, copy, 'F_SETFD', 0xff), 0);
  assert.equal(await closes(copy), 1);
  await process.close(copy);
  assert.equal(await process.dup(iommufd), copy);
  assert.equal(await closes(copy), 0, 'nor is the next file of the number');
  const other = await host.process();
  assert.equal(await control(other, await process.sendFd(memfd, other), 'F_GETFD'), 0);
});

test('F_DUPFD takes the lowest free number from one on', async () => {
  const process = await (await app.host()).process();
  const fd = await process.open('/dev/null');
  assert.equal(await control(process, fd, 'F_DUPFD', 10), 10);
  assert.equal(await control(process, fd, 'F_DUPFD', 10), 11);
  assert.equal(await control(process, fd, 'F_DUPFD_CLOEXEC', 0), 4);
  assert.deepEqual([await control(process, 4, 'F_GETFD'), await control(process, 11, 'F_GETFD')], [1, 0]);
  assert.equal(await process.dup(fd), 5, 'the numbers between are free');
  const limit = KernelProcess.FIRST_DESCRIPTOR + 65536;
  assert.equal(await control(process, fd, 'F_DUPFD', limit - 1), limit - 1);
  await expectErrno('EMFILE', control(process, fd, 'F_DUPFD', limit - 1));
  await expectErrno('EINVAL', control(process, fd, 'F_DUPFD', limit));
  await expectErrno('EINVAL', control(process, fd, 'F_DUPFD', -1));
  await expectErrno('EBADF', control(process, 77, 'F_DUPFD', 0));
  await expectErrno('EINVAL', control(process, fd, 5));
  await expectErrno('EBADF', control(process, 77, 5));
});

test('seals by fcntl are those of add_seals and get_seals', async () => {
  const process = await (await app.host()).process();
  const memfd = await process.memfd(4096);
  assert.equal(await control(process, memfd, 'F_ADD_SEALS', ['F_SEAL_GROW', 'F_SEAL_SHRINK']), 0);
  assert.equal(await control(process, memfd, 1034), 6);
  assert.equal(await process.seals(memfd), 6);
  await expectErrno('EINVAL', control(process, await process.open('/dev/null'), 'F_GET_SEALS'));
});

describe('dup2', () => {
  const dup2 = async (process: Process, fd: number, to: number) => (await process.call('dup2', { fd, to })).ret;

  test('closes what was there, and keeps what is there already', async () => {
    const process = await (await app.host()).process();
    const memfd = await process.memfd(4096);
    const liveupdate = await process.openLiveupdate();
    assert.equal(await dup2(process, memfd, memfd), memfd);
    await control(process, liveupdate, 'F_SETFD', 1);
    assert.equal(await dup2(process, memfd, liveupdate), liveupdate);
    assert.equal(await control(process, liveupdate, 'F_GETFD'), 0);
    assert.equal(await process.size(liveupdate), 4096);
    assert.equal(await process.openLiveupdate(), 5, 'it could not be opened while it was open');
    assert.equal(await dup2(process, memfd, 9), 9);
    assert.equal(await process.dup(memfd), 6, 'numbers below stay free');
    await expectErrno('EBADF', dup2(process, 77, 3));
    await expectErrno('EBADF', dup2(process, memfd, -1));
    await expectErrno('EBADF', dup2(process, memfd, 65539));
    assert.equal(await process.size(3), 4096, 'a refused one has closed nothing');
  });

  test('to a standard stream replaces it for good', async () => {
    const process = await (await app.host()).process();
    const memfd = await process.memfd(4096);
    assert.equal(await dup2(process, memfd, 1), 1);
    assert.equal(await process.size(1), 4096);
    await process.close(1);
    assert.equal(await process.dup(memfd), 4);
  });
});

test('poll tells what is ready, and waits for nothing', async () => {
  const mock = await Mock.open(app);
  const { process, iommufd } = mock;
  const memfd = await process.memfd(4096);
  assert.deepEqual(await ready(process, memfd, iommufd, -1, 77), [0x145, 0x145, 0, 0x20]);
  const some = await process.call('poll', {
    fds: [
      { fd: memfd, events: ['POLLIN'] },
      { fd: memfd, events: 0 },
    ],
  });
  assert.deepEqual([some.ret, some.revents], [1, [1, 0]]);

  const { out_fault_id: fault, out_fault_fd: faults } = await process.ioctl(iommufd, 'IOMMU_FAULT_QUEUE_ALLOC');
  assert.deepEqual(await ready(process, faults as number), [OUT], 'responses are always taken');
  const ioas = await process.allocIoas(iommufd);
  const device = await mock.attach(ioas);
  const hwpt = await process.allocHwpt(iommufd, device.id, ioas, { flags: 4, fault_id: fault });
  await process.attach(device.cdev, hwpt);
  const page = { fd: iommufd, device: device.id, pasid: 0, grpid: 1, perm: 1, addr: 0 };
  await process.call('page_fault', page);
  assert.deepEqual(await ready(process, faults as number), [OUT | IN]);
  await process.call('read', { fd: faults, length: 40 });
  assert.deepEqual(await ready(process, faults as number), [OUT]);
});

test('a queue of events is readable while an event waits, or is lost; a read has room for a header at least', async () => {
  const mock = await Mock.open(app);
  const { process, iommufd } = mock;
  const ioas = await process.allocIoas(iommufd);
  const device = await mock.attach(ioas);
  const parent = await process.allocHwpt(iommufd, device.id, ioas, { flags: 1 });
  await process.attach(device.cdev, parent);
  const made = await process.ioctl(iommufd, 'IOMMU_VIOMMU_ALLOC', {
    type: 0xdeadbeef,
    dev_id: device.id,
    hwpt_id: parent,
  });
  const viommu = made.out_viommu_id as number;
  await process.ioctl(iommufd, 'IOMMU_VDEVICE_ALLOC', { viommu_id: viommu, dev_id: device.id, virt_id: 9 });
  const queue = await process.ioctl(iommufd, 'IOMMU_VEVENTQ_ALLOC', {
    viommu_id: viommu,
    type: 0xbeefbeef,
    veventq_depth: 1,
  });
  const fd = queue.out_veventq_fd as number;
  const nested = await process.allocHwpt(iommufd, device.id, viommu, {
    data_type: 0xdead,
    data_len: 8,
    data: words(1, 0),
  });
  await process.attach(device.cdev, nested);
  const read = async (length: number) => (await process.call('read', { fd, length })).ret;

  assert.deepEqual(await ready(process, fd), [0]);
  for (const length of [0, 7]) await expectErrno('EINVAL', read(length));
  assert.equal(await read(8), 0, 'of nothing');
  for (let event = 0; event < 2; event++) await process.call('trigger_event', { fd: iommufd, device: device.id });
  assert.deepEqual(await ready(process, fd), [IN]);
  await expectErrno('EINVAL', read(8));
  assert.equal(await read(12), 12);
  assert.deepEqual(await ready(process, fd), [IN], 'that one is lost is still to be told');
  assert.equal(await read(8), 8);
  assert.deepEqual(await ready(process, fd), [0]);
});

test('an eventfd is readable if it is not 0, and writable if 1 can be added', async () => {
  const process = await (await app.host()).process();
  const fd = (await process.call('eventfd', { initval: 0, flags: ['EFD_CLOEXEC', 'EFD_NONBLOCK'] })).ret as number;
  assert.equal(await control(process, fd, 'F_GETFD'), 1);
  assert.equal(await control(process, fd, 'F_GETFL'), O_RDWR | O_NONBLOCK);
  const add = (value: bigint) => {
    const data = Buffer.alloc(8);
    data.writeBigUInt64LE(value);
    return process.call('write', { fd, length: 8, data: data.toString('base64') });
  };
  assert.deepEqual(await ready(process, fd), [0x4]);
  await add(1n);
  assert.deepEqual(await ready(process, fd), [0x5]);
  await add(2n ** 64n - 3n);
  assert.deepEqual(await ready(process, fd), [0x1]);
});

test('a child has the descriptors of its parent, and their flags', async () => {
  const host = await app.host();
  const process = await host.process();
  const memfd = (await process.call('memfd_create', { name: 'ram', flags: ['MFD_CLOEXEC'], size: 4096 })).ret as number;
  const reopened = (await process.call('open', { path: `/proc/self/fd/${memfd}`, flags: ['O_CLOEXEC'] })).ret as number;
  const { ret: pid } = await process.call('fork', {});
  const child = new Process(host, pid as number);
  for (const fd of [memfd, reopened]) assert.equal(await control(child, fd, 'F_GETFD'), 1);
  await control(child, memfd, 'F_SETFD', 0);
  assert.equal(await control(process, memfd, 'F_GETFD'), 1);
});

test('a device of VFIO is always ready', async () => {
  const process = await (await app.host()).process();
  assert.deepEqual(await ready(process, await process.openCdev(D1)), [0x145]);
});
