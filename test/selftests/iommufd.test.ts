/**
 * Fixtures `iommufd` and `change_process` of the kernel's selftests (tools/testing/selftests/iommu/iommufd.c): a
 * context with nothing in it, the requests of a VFIO container without an IOAS, and accounting that changes hands.
 *
 * In part: iommufd.cmd_fail without the null argument (a call here always has its struct); change_process.basic with
 * the counters that a host shows (locked memory of each process).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { expectErrno, hex } from '../support/kernel-error.ts';
import { APERTURE_START, BUFFER, FIXED, Mock, PAGE, READ_WRITE } from './mock.ts';

const app = useApp();

test('iommufd.simple_close', async () => {
  const mock = await Mock.open(app);
  await mock.process.close(mock.iommufd);
  await mock.closeAll();
});

test('iommufd.cmd_fail', async () => {
  const mock = await Mock.open(app);
  await mock.destroyRefused('ENOENT', 0);
  await mock.refuses('ENOTTY', '0x3b7f');
});

/** The least size of each struct, the whole of it, and an argument that does no harm. */
const STRUCTS: readonly (readonly [string, number, number])[] = [
  ['IOMMU_DESTROY', 8, 8],
  ['IOMMU_GET_HW_INFO', 32, 40],
  ['IOMMU_HWPT_ALLOC', 24, 48],
  ['IOMMU_HWPT_INVALIDATE', 32, 32],
  ['IOMMU_FAULT_QUEUE_ALLOC', 16, 16],
  ['IOMMU_IOAS_ALLOC', 12, 12],
  ['IOMMU_IOAS_IOVA_RANGES', 32, 32],
  ['IOMMU_IOAS_ALLOW_IOVAS', 24, 24],
  ['IOMMU_IOAS_MAP', 40, 40],
  ['IOMMU_IOAS_COPY', 40, 40],
  ['IOMMU_IOAS_UNMAP', 24, 24],
  ['IOMMU_OPTION', 24, 24],
  ['IOMMU_VFIO_IOAS', 12, 12],
  ['IOMMU_IOAS_MAP_FILE', 40, 40],
  ['IOMMU_VIOMMU_ALLOC', 24, 40],
  ['IOMMU_VDEVICE_ALLOC', 24, 24],
  ['IOMMU_IOAS_CHANGE_PROCESS', 8, 8],
];

test('iommufd.cmd_length', async () => {
  const mock = await Mock.open(app);
  for (const [request, least, whole] of STRUCTS) {
    await mock.refuses('EINVAL', request, { size: least - 1 });
    await mock.refuses('E2BIG', request, { size: whole + 1, tail: 1 });
    const exact = await mock.answer(request, { size: whole });
    const longer = await mock.answer(request, { size: whole + 1 });
    assert.equal(longer.errno, exact.errno, `${request} with a tail of zeroes`);
  }
});

test('iommufd.cmd_ex_fail', async () => {
  const mock = await Mock.open(app);
  await mock.refuses('ENOENT', 'IOMMU_DESTROY', { id: 0, size: 16 });
  await mock.refuses('E2BIG', 'IOMMU_DESTROY', { id: 0, size: 16, tail: 1 });
  await mock.refuses('ENOENT', 'IOMMU_DESTROY', { id: 0, size: 8 });
  await mock.refuses('EINVAL', 'IOMMU_DESTROY', { id: 0, size: 7 });
});

test('iommufd.global_options', async () => {
  const mock = await Mock.open(app);
  const rlimit = { option_id: 0, object_id: 0 };
  const mode = async (): Promise<number> => Number((await mock.ask('IOMMU_OPTION', { ...rlimit, op: 1 })).val64);
  assert.equal(await mode(), 0);
  await mock.ask('IOMMU_OPTION', { ...rlimit, op: 0, val64: 1 });
  assert.equal(await mode(), 1);
  await mock.refuses('EINVAL', 'IOMMU_OPTION', { ...rlimit, op: 0, val64: 2 });
  await mock.ask('IOMMU_OPTION', { ...rlimit, op: 0, val64: 0 });
  assert.equal(await mode(), 0);
  await mock.refuses('ENOENT', 'IOMMU_OPTION', { option_id: 1, op: 1, object_id: 0 });
  await mock.refuses('ENOENT', 'IOMMU_OPTION', { option_id: 1, op: 0, object_id: 0, val64: 1 });
});

test('iommufd.simple_ioctls', async () => {
  const mock = await Mock.open(app);
  assert.equal((await mock.answer('VFIO_GET_API_VERSION', {})).ret, 0);
  assert.equal((await mock.answer('VFIO_CHECK_EXTENSION', { extension: 3 })).ret, 1);
});

test('iommufd.unmap_cmd', async () => {
  const mock = await Mock.open(app);
  const arg = { iova: hex(APERTURE_START), size: PAGE };
  await mock.refuses('EINVAL', 'VFIO_IOMMU_UNMAP_DMA', { ...arg, argsz: 1 });
  await mock.refuses('EINVAL', 'VFIO_IOMMU_UNMAP_DMA', { ...arg, flags: (1 << 31) >>> 0 });
  await mock.refuses('ENODEV', 'VFIO_IOMMU_UNMAP_DMA', arg);
});

test('iommufd.map_cmd', async () => {
  const mock = await Mock.open(app);
  const arg = { iova: hex(APERTURE_START), size: PAGE, vaddr: hex(BUFFER) };
  await mock.refuses('EINVAL', 'VFIO_IOMMU_MAP_DMA', { ...arg, argsz: 1 });
  await mock.refuses('EINVAL', 'VFIO_IOMMU_MAP_DMA', { ...arg, flags: (1 << 31) >>> 0 });
  await mock.refuses('ENODEV', 'VFIO_IOMMU_MAP_DMA', { ...arg, flags: 3 });
});

test('iommufd.info_cmd', async () => {
  const mock = await Mock.open(app);
  await mock.refuses('EINVAL', 'VFIO_IOMMU_GET_INFO', { argsz: 1 });
  await mock.refuses('ENODEV', 'VFIO_IOMMU_GET_INFO', { argsz: 24 });
});

test('iommufd.set_iommu_cmd', async () => {
  const mock = await Mock.open(app);
  for (const type of [1, 3]) await mock.refuses('ENODEV', 'VFIO_SET_IOMMU', { type });
});

test('iommufd.vfio_ioas', async () => {
  const mock = await Mock.open(app);
  const [get, set, clear] = [0, 1, 2];
  await mock.refuses('ENODEV', 'IOMMU_VFIO_IOAS', { op: get });
  await mock.refuses('ENOENT', 'IOMMU_VFIO_IOAS', { op: set, ioas_id: 0 });
  const ioas_id = await mock.allocIoas();
  await mock.ask('IOMMU_VFIO_IOAS', { op: set, ioas_id });
  assert.equal((await mock.ask('IOMMU_VFIO_IOAS', { op: get })).ioas_id, ioas_id);
  await mock.ask('IOMMU_VFIO_IOAS', { op: clear });
  await mock.refuses('ENODEV', 'IOMMU_VFIO_IOAS', { op: get });
});

for (const account of ['account_none', 'account_user', 'account_mm'] as const)
  test(`change_process.basic (${account})`, async () => {
    const mock = await Mock.open(app);
    const { process, iommufd, host } = mock;
    const counted = account === 'account_none' ? 0 : PAGE;
    if (account === 'account_mm') await mock.ask('IOMMU_OPTION', { option_id: 0, op: 0, val64: 1 });
    // What is counted of a user shows in a limit, what is counted of a process in its own figure, too.
    if (account !== 'account_none') await process.call('setuid', { uid: 1000 });
    const ioas = await mock.allocIoas();
    await mock.attach(ioas);
    await process.mmap(BUFFER, PAGE);
    await mock.mapFixed(ioas, BUFFER, PAGE, APERTURE_START);
    await mock.refuses('EINVAL', 'IOMMU_IOAS_CHANGE_PROCESS');
    await mock.unmap(ioas, APERTURE_START, PAGE);

    const memfd = await process.memfd(PAGE);
    const file = { flags: READ_WRITE | FIXED, fd: memfd, start: 0, length: PAGE, iova: hex(APERTURE_START) };
    await mock.ask('IOMMU_IOAS_MAP_FILE', { ...file, ioas_id: ioas });
    await mock.ask('IOMMU_IOAS_CHANGE_PROCESS');

    const child = await host.process();
    if (account !== 'account_none') await child.call('setuid', { uid: 1001 });
    const theirs = await process.sendFd(iommufd, child);
    const lockedBy = async (of: typeof child): Promise<number> => Number((await of.view()).lockedBytes);
    const inMm = account === 'account_mm' ? counted : 0;
    assert.equal(await lockedBy(process), inMm);
    await child.call('setrlimit', { memlock: 0 });
    if (counted > 0) await expectErrno('ENOMEM', child.ioctl(theirs, 'IOMMU_IOAS_CHANGE_PROCESS'));
    assert.equal(await lockedBy(process), inMm);
    const heir = await host.process();
    if (account !== 'account_none') await heir.call('setuid', { uid: 1001 });
    await heir.ioctl(await process.sendFd(iommufd, heir), 'IOMMU_IOAS_CHANGE_PROCESS');
    assert.equal(await lockedBy(process), 0);
    assert.equal(await lockedBy(heir), inMm);
  });
