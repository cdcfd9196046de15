/**
 * Fixture `iommufd_device_pasid` of the kernel's selftests: address spaces of a device beside its own.
 *
 * In part: a PASID that is attached cannot be attached a second time here (EBUSY), nor one that is not be replaced
 * (EINVAL): the request of a VFIO device does what fits. The failure of the driver at PASID 1024 is a fault point.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { expectErrno } from '../support/kernel-error.ts';
import { DATA_SELFTEST, FAULT_ID_VALID, Mock, type MockDevice, NEST_PARENT, PASID, words } from './mock.ts';

const app = useApp();

const WITH_PASID = 1;
const NUMBER = 100;
const nested = { data_type: DATA_SELFTEST, data_len: 4, data: words(0xbeef) };

class Pasids {
  readonly mock: Mock;
  readonly device: MockDevice;

  constructor(mock: Mock, device: MockDevice) {
    this.mock = mock;
    this.device = device;
  }

  /** Attached, or moved if it is attached. */
  async attach(pt: number, pasid = NUMBER): Promise<number> {
    const arg = { flags: WITH_PASID, pt_id: pt, pasid, size: 16 };
    return (await this.mock.process.ioctl(this.device.cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', arg)).pt_id as number;
  }

  refused(errno: string, pt: number, pasid = NUMBER): Promise<unknown> {
    return expectErrno(errno, this.attach(pt, pasid));
  }

  async detach(pasid = NUMBER): Promise<void> {
    const arg = { flags: WITH_PASID, pasid, size: 12 };
    await this.mock.process.ioctl(this.device.cdev, 'VFIO_DEVICE_DETACH_IOMMUFD_PT', arg);
  }

  /** On this HWPT; 0: on none. */
  async check(hwpt: number, pasid = NUMBER): Promise<void> {
    const { process, iommufd } = this.mock;
    await process.call('pasid_check', { fd: iommufd, device: this.device.id, pasid, hwpt });
  }
}

test('iommufd_device_pasid.pasid_attach (has_pasid)', async () => {
  const mock = await Mock.open(app);
  const ioas = await mock.allocIoas();
  const device = await mock.attach(ioas, { pasid: true });
  const pasids = new Pasids(mock, device);
  const plain = await mock.allocHwpt(device.id, ioas);
  const parent = await mock.allocHwpt(device.id, ioas, NEST_PARENT | PASID);
  const own = await mock.allocHwpt(device.id, ioas, PASID);
  const first = await mock.allocHwpt(device.id, parent, PASID, nested);
  const second = await mock.allocHwpt(device.id, parent, PASID, nested);

  // Nothing is attached.
  await pasids.detach();
  await pasids.check(0);

  // The HWPT of the device itself has to be for PASIDs, too.
  await mock.replace(device, plain);
  await pasids.refused('EINVAL', own);
  await mock.replace(device, own);
  await pasids.attach(own);
  await pasids.check(own);
  await mock.replaceRefused('EINVAL', device, plain);
  await pasids.detach();
  await pasids.check(0);

  // What is for PASIDs may be for a device without them; but then that has none.
  const without = await mock.attach(own);
  await new Pasids(mock, without).refused('EINVAL', own);

  for (const pt of [plain, ioas]) await pasids.refused('EINVAL', pt);
  assert.equal(await pasids.attach(first), first);
  for (const pt of [ioas, plain]) await pasids.refused('EINVAL', pt);
  await pasids.check(first);
  for (const hwpt of [second, first, parent, own, second]) {
    assert.equal(await pasids.attach(hwpt), hwpt);
    await pasids.check(hwpt);
    await mock.destroyRefused('EBUSY', hwpt);
  }

  // The driver fails: the PASID stays where it is.
  await mock.host.armFault('iommu.replace', { errno: 'ENOMEM' });
  await pasids.refused('ENOMEM', first);
  await pasids.check(second);

  await faultOfPasid(mock, pasids, parent);
  await pasids.detach();
  assert.notEqual(await mock.replace(device, ioas), own);
  await mock.remove(without);
  for (const hwpt of [first, second, own, parent, plain]) await mock.destroy(hwpt);
});

async function faultOfPasid(mock: Mock, pasids: Pasids, parent: number): Promise<void> {
  const { process, iommufd } = mock;
  const { device } = pasids;
  const queue = await mock.ask('IOMMU_FAULT_QUEUE_ALLOC');
  const [fault_id, fd] = [queue.out_fault_id as number, queue.out_fault_fd as number];
  const hwpt = await mock.allocHwpt(device.id, parent, PASID | FAULT_ID_VALID, { ...nested, fault_id });
  await pasids.attach(hwpt);
  await process.call('page_fault', { fd: iommufd, device: device.id, pasid: NUMBER, grpid: 1, perm: 1, addr: 0x1000 });
  const [fault] = (await process.call('read', { fd, length: 40 })).faults as [{ cookie: number; pasid: number }];
  assert.equal(fault.pasid, NUMBER);
  const responses = [{ cookie: fault.cookie, code: 0 }];
  assert.equal((await process.call('write', { fd, length: 8, responses })).ret, 8);
  await pasids.detach();
  await mock.destroy(hwpt);
  await process.close(fd);
  await mock.destroy(fault_id);
}

test('iommufd_device_pasid.pasid_attach (no_pasid)', async () => {
  const mock = await Mock.open(app);
  const ioas = await mock.allocIoas();
  const device = await mock.attach(ioas);
  const pasids = new Pasids(mock, device);
  await pasids.detach();
  const own = await mock.allocHwpt(device.id, ioas, PASID);
  await mock.replace(device, own);
  for (const pt of [own, ioas]) await pasids.refused('EINVAL', pt);
  await pasids.check(0);
});
