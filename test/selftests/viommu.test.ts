/**
 * Fixture `iommufd_viommu` of the kernel's selftests: vIOMMUs, vDEVICEs, their caches, event queues and hardware
 * queues.
 *
 * In part: vdevice_alloc and viommu_alloc_nested_iopf read queues that never block.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { expectErrno, hex } from '../support/kernel-error.ts';
import {
  APERTURE_START,
  BUFFER,
  BUFFER_BYTES,
  DATA_SELFTEST,
  FAULT_ID_VALID,
  INVALIDATE_SELFTEST,
  Mock,
  type MockDevice,
  NEST_PARENT,
  PAGE,
  words,
} from './mock.ts';

const app = useApp();

const VIOMMU_SELFTEST = 0xdeadbeef;
const VEVENTQ_SELFTEST = 0xbeefbeef;
const HW_QUEUE_SELFTEST = 0xdeadbeef;
const ABSENT = 0x7fffffff;
const NO_ENTRY = 0xbaddad;
const ENTRIES = 4;
const UMAX = '0xffffffffffffffff';

const nested = { data_type: DATA_SELFTEST, data_len: 4, data: words(0xbeef) };

interface Fixture {
  mock: Mock;
  ioas: number;
}

interface WithViommu extends Fixture {
  device: MockDevice;
  parent: number;
  viommu: number;
}

async function setUp(): Promise<Fixture> {
  const mock = await Mock.open(app);
  return { mock, ioas: await mock.allocIoas() };
}

/** A device on a nesting parent, and a vIOMMU of that. */
async function setUpViommu(): Promise<WithViommu> {
  const { mock, ioas } = await setUp();
  const device = await mock.attach(ioas);
  const parent = await mock.allocHwpt(device.id, ioas, NEST_PARENT);
  await mock.replace(device, parent);
  return { mock, ioas, device, parent, viommu: await allocViommu(mock, device.id, parent) };
}

const viommuArg = (device: number, parent: number, type = VIOMMU_SELFTEST) => ({
  dev_id: device,
  hwpt_id: parent,
  type,
});

async function allocViommu(mock: Mock, device: number, parent: number): Promise<number> {
  return (await mock.ask('IOMMU_VIOMMU_ALLOC', viommuArg(device, parent))).out_viommu_id as number;
}

async function allocVdevice({ mock, device, viommu }: WithViommu, virt_id: number): Promise<number> {
  const arg = { viommu_id: viommu, dev_id: device.id, virt_id };
  return (await mock.ask('IOMMU_VDEVICE_ALLOC', arg)).out_vdevice_id as number;
}

/** With a vIOMMU; and without one or a device. */
function testViommu(
  name: string,
  run: (fixture: WithViommu) => Promise<void>,
  without?: (fixture: Fixture) => Promise<void>,
) {
  test(`iommufd_viommu.${name} (mock_viommu)`, async () => run(await setUpViommu()));
  if (without) test(`iommufd_viommu.${name} (no_viommu)`, async () => without(await setUp()));
}

testViommu(
  'viommu_auto_destroy',
  async ({ mock }) => mock.closeAll(),
  async ({ mock }) => mock.closeAll(),
);

testViommu(
  'viommu_negative_tests',
  async ({ mock, ioas, device, parent, viommu }) => {
    await mock.refuses('ENOENT', 'IOMMU_VIOMMU_ALLOC', viommuArg(device.id, 0));
    const noParent = await mock.allocHwpt(device.id, ioas);
    await mock.refuses('EINVAL', 'IOMMU_VIOMMU_ALLOC', viommuArg(device.id, noParent));
    await mock.refuses('EOPNOTSUPP', 'IOMMU_VIOMMU_ALLOC', viommuArg(device.id, parent, 0xdead));
    await mock.destroyRefused('EBUSY', parent);
    const hwpt = await mock.allocHwpt(device.id, viommu, 0, nested);
    await mock.destroyRefused('EBUSY', viommu);
    await mock.destroy(hwpt);
    await mock.destroy(viommu);
  },
  async ({ mock, ioas }) => {
    await mock.refuses('ENOENT', 'IOMMU_VIOMMU_ALLOC', viommuArg(ioas, 0));
  },
);

testViommu(
  'viommu_alloc_nested_iopf',
  async (fixture) => {
    const { mock, device, viommu } = fixture;
    const { process, iommufd } = mock;
    const queue = await mock.ask('IOMMU_FAULT_QUEUE_ALLOC');
    const [fault_id, fd] = [queue.out_fault_id as number, queue.out_fault_fd as number];
    await mock.hwptRefused('ENOENT', device.id, viommu, FAULT_ID_VALID, { ...nested, fault_id: ABSENT });
    await mock.hwptRefused('EOPNOTSUPP', device.id, viommu, FAULT_ID_VALID | 0x40000000, { ...nested, fault_id });
    const hwpt = await mock.allocHwpt(device.id, viommu, FAULT_ID_VALID, { ...nested, fault_id });

    await mock.replaceRefused('ENOENT', device, hwpt);
    await allocVdevice(fixture, 0x99);
    await mock.replace(device, hwpt);
    await mock.destroyRefused('EBUSY', hwpt);
    await process.call('page_fault', { fd: iommufd, device: device.id, pasid: 0, grpid: 1, perm: 1, addr: 0x1000 });
    const [{ cookie }] = (await process.call('read', { fd, length: 40 })).faults as [{ cookie: number }];
    assert.equal((await process.call('write', { fd, length: 8, responses: [{ cookie, code: 0 }] })).ret, 8);
    await mock.replace(device, fixture.parent);
    await mock.destroy(hwpt);
    await process.close(fd);
    await mock.destroy(fault_id);
  },
  async ({ mock, ioas }) => {
    await mock.hwptRefused('ENOENT', ioas, ioas, FAULT_ID_VALID, nested);
  },
);

testViommu('viommu_alloc_with_data', async ({ mock, device, parent }) => {
  const { process, iommufd } = mock;
  const given = Buffer.alloc(24);
  given.writeUInt32LE(0xdadbeef, 0);
  const data = { data_len: 24, data: given.toString('base64') };
  const answer = await mock.ask('IOMMU_VIOMMU_ALLOC', { ...viommuArg(device.id, parent), ...data });
  const back = Buffer.from(String(answer.data), 'base64');
  assert.equal(back.readUInt32LE(4), 0xdadbeef);
  const [offset, length] = [Number(back.readBigUInt64LE(8)), Number(back.readBigUInt64LE(16))];

  const page = { addr: hex(BUFFER), fd: iommufd, offset, length, shared: true };
  await expectErrno('ENXIO', process.call('mmap', { ...page, offset: offset + PAGE }));
  await expectErrno('ENXIO', process.call('mmap', { ...page, length: length / 2 }));
  await process.call('mmap', page);
  const shown = await process.call('peek', { addr: hex(BUFFER), length: 4 });
  assert.equal(Buffer.from(shown.data!, 'base64').readUInt32LE(), 0xdadbeef);
  await mock.destroyRefused('EBUSY', answer.out_viommu_id as number);
  await process.call('munmap', { addr: hex(BUFFER), length });
  await mock.destroy(answer.out_viommu_id as number);
});

testViommu('vdevice_alloc', async (fixture) => {
  const { mock, device, parent, viommu } = fixture;
  const { process, iommufd } = mock;
  const hwpt = await mock.allocHwpt(device.id, viommu, 0, nested);
  await mock.replaceRefused('ENOENT', device, hwpt);

  const queueArg = { viommu_id: viommu, type: VEVENTQ_SELFTEST, veventq_depth: 2 };
  const queue = await mock.ask('IOMMU_VEVENTQ_ALLOC', queueArg);
  const fd = queue.out_veventq_fd as number;
  await mock.refuses('EEXIST', 'IOMMU_VEVENTQ_ALLOC', queueArg);

  const vdevice = await allocVdevice(fixture, 0x99);
  for (const virtId of [0x99, 0x88]) await expectErrno('EEXIST', allocVdevice(fixture, virtId));
  const trigger = (): Promise<unknown> => process.call('trigger_event', { fd: iommufd, device: device.id });
  const read = async (): Promise<unknown> => (await process.call('read', { fd, length: 200 })).events;
  await mock.replace(device, hwpt);
  await trigger();
  assert.deepEqual(await read(), [{ flags: 0, sequence: 0, virt_id: 0x99 }]);

  // Three events, two of which find room.
  for (let i = 0; i < 3; i++) await trigger();
  assert.deepEqual(await read(), [
    { flags: 0, sequence: 1, virt_id: 0x99 },
    { flags: 0, sequence: 2, virt_id: 0x99 },
    { flags: 1, sequence: 3 },
  ]);

  // A new number, once the device has come to the vIOMMU anew.
  await mock.replace(device, parent);
  await mock.destroy(vdevice);
  const renamed = await allocVdevice(fixture, 0x88);
  await mock.replace(device, hwpt);
  await trigger();
  assert.deepEqual(await read(), [{ flags: 0, sequence: 4, virt_id: 0x88 }]);

  await mock.replace(device, parent);
  await process.close(fd);
  for (const id of [queue.out_veventq_id as number, renamed, hwpt, viommu]) await mock.destroy(id);
});

testViommu('vdevice_cache', async (fixture) => {
  const { mock, device, viommu } = fixture;
  await allocVdevice(fixture, 0x99);
  const check = async (...values: number[]): Promise<void> => {
    for (const [index, value] of values.entries())
      await mock.process.call('check_dev_cache', { fd: mock.iommufd, device: device.id, index, value });
  };
  const arg = { hwpt_id: viommu, data_type: INVALIDATE_SELFTEST, entry_len: 12 };
  const ask = async (more: Record<string, unknown>): Promise<[string | undefined, unknown]> => {
    const { errno, arg: out } = await mock.answer('IOMMU_HWPT_INVALIDATE', { ...arg, ...more });
    return [errno, out?.entry_num];
  };
  const one = { entry_num: 1, data: words(0, 0x99, 0) };
  await check(NO_ENTRY, NO_ENTRY, NO_ENTRY, NO_ENTRY);
  assert.deepEqual(await ask({ entry_num: 0 }), [undefined, 0]);
  assert.deepEqual(await ask({ ...one, data_type: INVALIDATE_SELFTEST + 1 }), ['EINVAL', 0]);
  assert.deepEqual(await ask({ ...one, entry_len: 16, data: words(0, 0x99, 0, 1) }), ['E2BIG', 0]);
  assert.deepEqual(await ask({ ...one, data: words(0xffffffff, 0x99, 0) }), ['EOPNOTSUPP', 0]);
  assert.deepEqual(await ask({ entry_num: 1 }), ['EINVAL', 0]);
  assert.deepEqual(await ask({ ...one, entry_len: 0 }), ['EINVAL', 0]);
  assert.deepEqual(await ask({ ...one, data: words(0, 0x99, ENTRIES) }), ['EINVAL', 0]);
  assert.deepEqual(await ask({ ...one, data: words(0, 0x9, 0) }), ['EINVAL', 0]);

  assert.deepEqual(await ask({ entry_num: 2, data: words(0, 0x99, 0, 0xffffffff, 0x99, 1) }), ['EOPNOTSUPP', 1]);
  await check(0, NO_ENTRY, NO_ENTRY, NO_ENTRY);
  assert.deepEqual(await ask({ entry_num: 2, data: words(0, 0x99, 1, 0, 0x99, ENTRIES) }), ['EINVAL', 1]);
  await check(0, 0, NO_ENTRY, NO_ENTRY);
  assert.deepEqual(await ask({ entry_num: 1, data: words(0, 0x99, 2) }), [undefined, 1]);
  await check(0, 0, 0, NO_ENTRY);
  assert.deepEqual(await ask({ entry_num: 1, data: words(1, 0x99, 0) }), [undefined, 1]);
  await check(0, 0, 0, 0);
});

const queueOf = (viommu: number, more: Record<string, unknown> = {}) => ({
  viommu_id: viommu,
  type: HW_QUEUE_SELFTEST,
  index: 0,
  nesting_parent_iova: hex(APERTURE_START),
  length: PAGE,
  ...more,
});

testViommu(
  'hw_queue',
  async ({ mock, ioas, viommu }) => {
    const refused = (errno: string, more: Record<string, unknown>): Promise<void> =>
      mock.refuses(errno, 'IOMMU_HW_QUEUE_ALLOC', queueOf(viommu, more));
    const alloc = async (more: Record<string, unknown>): Promise<number> =>
      (await mock.ask('IOMMU_HW_QUEUE_ALLOC', queueOf(viommu, more))).out_hw_queue_id as number;
    await refused('EOPNOTSUPP', { type: 0 });
    await refused('EINVAL', { length: 0 });
    await refused('EOVERFLOW', { nesting_parent_iova: UMAX });
    await refused('ENOENT', {});

    await mock.process.mmap(BUFFER, BUFFER_BYTES);
    await mock.mapFixed(ioas, BUFFER, PAGE, APERTURE_START);
    await mock.mapFixed(ioas, BUFFER, PAGE, APERTURE_START + PAGE);
    const second = { index: 1, nesting_parent_iova: hex(APERTURE_START + PAGE / 2), length: PAGE / 2 };
    await refused('EIO', second);
    await refused('EINVAL', { index: 2 });
    const queues = [await alloc({})];
    await refused('EEXIST', {});
    queues.push(await alloc(second));

    // The memory of a queue stays mapped, other memory need not.
    await mock.unmapRefused('EBUSY', ioas, APERTURE_START, PAGE);
    assert.equal(await mock.unmap(ioas, APERTURE_START + PAGE, PAGE), PAGE);
    await mock.destroyRefused('EBUSY', queues[0]!);
    await mock.destroy(queues[1]!);
    await mock.destroy(queues[0]!);
    assert.equal(await mock.unmap(ioas, APERTURE_START, PAGE), PAGE);
  },
  async ({ mock, ioas }) => {
    await mock.refuses('ENOENT', 'IOMMU_HW_QUEUE_ALLOC', queueOf(ioas));
  },
);

testViommu('vdevice_tombstone', async (fixture) => {
  const { mock, device, viommu } = fixture;
  const vdevice = await allocVdevice(fixture, 0x99);
  await mock.remove(device);
  await mock.destroyRefused('ENOENT', vdevice);
  await mock.destroy(viommu);
});
