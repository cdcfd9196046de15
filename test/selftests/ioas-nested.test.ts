/** Fixture `iommufd_ioas` of the kernel's selftests: alloc_hwpt_nested, nested HWPTs from their making to their end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { type Ioas, setUpIoas, VARIANTS } from './ioas-setup.ts';
import {
  DATA_SELFTEST,
  FAULT_ID_VALID,
  INVALIDATE_SELFTEST,
  type Mock,
  type MockDevice,
  NEST_PARENT,
  words,
} from './mock.ts';

const app = useApp();

const ENTRIES = 4;
const INITIAL = 0xbeef;
const ABSENT = 0x7fffffff;
const ENTRY_BYTES = 8;

const nested = { data_type: DATA_SELFTEST, data_len: 4, data: words(INITIAL) };

for (const variant of VARIANTS)
  test(`iommufd_ioas.alloc_hwpt_nested (${variant.name})`, async () => {
    const fixture = await setUpIoas(app, variant);
    const [device] = fixture.devices;
    if (device) await withDevice(fixture, device);
    else await withoutDevice(fixture);
    await fixture.mock.closeAll();
  });

async function withoutDevice({ mock, ioas }: Ioas): Promise<void> {
  await mock.hwptRefused('ENOENT', ioas, ioas);
  await mock.hwptRefused('ENOENT', ioas, ioas, NEST_PARENT);
  await mock.hwptRefused('ENOENT', ioas, ioas, 0, nested);
  await mock.refuses('ENOENT', 'IOMMU_HWPT_INVALIDATE', {
    hwpt_id: ABSENT,
    data_type: INVALIDATE_SELFTEST,
    entry_len: ENTRY_BYTES,
    entry_num: 1,
    data: words(1, 0),
  });
}

async function withDevice({ mock, ioas }: Ioas, device: MockDevice): Promise<void> {
  // What cannot be a parent, or a device.
  await mock.hwptRefused('ENOENT', ioas, device.id);
  await mock.hwptRefused('EINVAL', device.id, device.id);
  await mock.hwptRefused('EOPNOTSUPP', device.id, ioas, NEST_PARENT | FAULT_ID_VALID);
  const parent = await mock.allocHwpt(device.id, ioas, NEST_PARENT);
  const noParent = await mock.allocHwpt(device.id, ioas);

  await mock.hwptRefused('EINVAL', device.id, parent, 0, { data_type: 0, data_len: 4, data: words(0) });
  await mock.hwptRefused('EOPNOTSUPP', device.id, parent, 0, { ...nested, data_type: DATA_SELFTEST + 1 });
  await mock.hwptRefused('EINVAL', device.id, parent, 0, { ...nested, data_len: 3 });
  await mock.hwptRefused('EFAULT', device.id, parent, 0, { data_type: DATA_SELFTEST, data_len: 4 });
  await mock.hwptRefused('EOPNOTSUPP', device.id, parent, NEST_PARENT, nested);
  await mock.hwptRefused('EINVAL', device.id, noParent, 0, nested);
  await mock.destroy(noParent);

  // Two nested HWPTs, and one whose faults go to a queue.
  const first = await mock.allocHwpt(device.id, parent, 0, nested);
  const second = await mock.allocHwpt(device.id, parent, 0, nested);
  const queue = await mock.ask('IOMMU_FAULT_QUEUE_ALLOC');
  const fault = queue.out_fault_id as number;
  const faultFd = queue.out_fault_fd as number;
  await mock.hwptRefused('ENOENT', device.id, parent, FAULT_ID_VALID, { ...nested, fault_id: ABSENT });
  await mock.hwptRefused('EOPNOTSUPP', device.id, parent, FAULT_ID_VALID | 0x40000000, { ...nested, fault_id: fault });
  const faulting = await mock.allocHwpt(device.id, parent, FAULT_ID_VALID, { ...nested, fault_id: fault });
  for (const hwpt of [first, second, faulting]) await checkAll(mock, hwpt, Array(ENTRIES).fill(INITIAL));

  await mock.hwptRefused('EINVAL', device.id, first, 0, nested);
  await mock.destroyRefused('EBUSY', parent);
  await invalidate(mock, parent, first);

  // From one to the other; each can be destroyed once nothing is on it.
  await mock.replace(device, first);
  await mock.destroyRefused('EBUSY', first);
  await mock.replace(device, second);
  await mock.destroyRefused('EBUSY', second);
  await mock.destroy(first);
  await mock.replace(device, faulting);
  await mock.destroyRefused('EBUSY', faulting);
  await mock.destroy(second);
  await answerPageFault(mock, device, faultFd);

  await mock.replace(device, parent);
  await mock.destroyRefused('EBUSY', parent);
  await mock.destroy(faulting);
  await mock.replace(device, ioas);
  await mock.destroy(parent);
  await mock.destroyRefused('EBUSY', fault);
  await mock.process.close(faultFd);
  await mock.destroy(fault);
}

async function answerPageFault(mock: Mock, device: MockDevice, fd: number): Promise<void> {
  const { process, iommufd } = mock;
  await process.call('page_fault', { fd: iommufd, device: device.id, pasid: 0, grpid: 1, perm: 1, addr: 0x1000 });
  const { ret, faults } = await process.call('read', { fd, length: 40 });
  assert.equal(ret, 40);
  const [{ dev_id, cookie }] = faults as [{ dev_id: number; cookie: number }];
  assert.equal(dev_id, device.id);
  assert.equal((await process.call('write', { fd, length: 8, responses: [{ cookie, code: 0 }] })).ret, 8);
}

async function checkAll(mock: Mock, hwpt: number, values: readonly number[]): Promise<void> {
  for (const [index, value] of values.entries())
    await mock.process.call('check_iotlb', { fd: mock.iommufd, hwpt, index, value });
}

async function invalidate(mock: Mock, parent: number, hwpt: number): Promise<void> {
  const arg = { data_type: INVALIDATE_SELFTEST, entry_len: ENTRY_BYTES, hwpt_id: hwpt };
  const ask = async (more: Record<string, unknown>): Promise<[string | undefined, unknown]> => {
    const { errno, arg: out } = await mock.answer('IOMMU_HWPT_INVALIDATE', { ...arg, ...more });
    return [errno, out?.entry_num];
  };
  const one = { entry_num: 1, data: words(0, 0) };
  assert.deepEqual(await ask({ ...one, hwpt_id: parent }), ['EINVAL', 0]);
  assert.deepEqual(await ask({ entry_num: 0 }), [undefined, 0]);
  assert.deepEqual(await ask({ ...one, data_type: INVALIDATE_SELFTEST + 1 }), ['EINVAL', 0]);
  assert.deepEqual(await ask({ ...one, entry_len: ENTRY_BYTES + 1, data: words(0, 0, 0) }), ['EINVAL', 0]);
  assert.deepEqual(await ask({ ...one, entry_len: ENTRY_BYTES / 2 }), ['EINVAL', 0]);
  assert.deepEqual(await ask({ ...one, data: words(0xffffffff, 0) }), ['EOPNOTSUPP', 0]);
  assert.deepEqual(await ask({ entry_num: 1 }), ['EINVAL', 0]);
  assert.deepEqual(await ask({ ...one, entry_len: 0 }), ['EINVAL', 0]);
  assert.deepEqual(await ask({ ...one, data: words(0, ENTRIES) }), ['EINVAL', 0]);

  // The first of two is done, the second is not.
  assert.deepEqual(await ask({ entry_num: 2, data: words(0, 0, 0xffffffff, 1) }), ['EOPNOTSUPP', 1]);
  await checkAll(mock, hwpt, [0, INITIAL, INITIAL, INITIAL]);
  assert.deepEqual(await ask({ entry_num: 2, data: words(0, 1, 0, ENTRIES) }), ['EINVAL', 1]);
  await checkAll(mock, hwpt, [0, 0, INITIAL, INITIAL]);
  assert.deepEqual(await ask({ entry_num: 1, data: words(0, 2) }), [undefined, 1]);
  await checkAll(mock, hwpt, [0, 0, 0, INITIAL]);
  assert.deepEqual(await ask({ entry_num: 1, data: words(1, 0) }), [undefined, 1]);
  await checkAll(mock, hwpt, [0, 0, 0, 0]);
}
