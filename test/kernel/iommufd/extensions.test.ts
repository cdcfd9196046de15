/**
 * What the extensions are on units of real kinds: which of them have none, in which order they say so, and what works
 * everywhere. What the mock driver does is in the traces and in the selftests.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../../support/app.ts';
import { D1, type HostBody } from '../../support/client.ts';
import { expectErrno } from '../../support/kernel-error.ts';
import type { Process } from '../../support/process.ts';

const app = useApp();

const NEST_PARENT = 1;
const FAULT_ID_VALID = 4;
const PASID = 8;
const WITH_PASID = 1;
const ABSENT = 999;
const PAGE = 4096;

class Bound {
  readonly process: Process;
  readonly iommufd: number;
  readonly cdev: number;
  readonly device: number;
  readonly ioas: number;

  private constructor(process: Process, iommufd: number, cdev: number, device: number, ioas: number) {
    this.process = process;
    this.iommufd = iommufd;
    this.cdev = cdev;
    this.device = device;
    this.ioas = ioas;
  }

  static async open(body: HostBody): Promise<Bound> {
    const host = await app.host(body);
    const process = await host.process();
    const iommufd = await process.open('/dev/iommu');
    const cdev = await process.openCdev(D1);
    return new Bound(process, iommufd, cdev, await process.bind(cdev, iommufd), await process.allocIoas(iommufd));
  }

  ask(request: string, arg: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    return this.process.ioctl(this.iommufd, request, arg);
  }

  async refuses(errno: string, request: string, arg: Record<string, unknown>): Promise<void> {
    await expectErrno(errno, this.ask(request, arg));
  }

  hwpt(flags: number, more: Record<string, unknown> = {}, pt = this.ioas): Promise<number> {
    return this.process.allocHwpt(this.iommufd, this.device, pt, { flags, ...more });
  }

  attachPasid(pt_id: number, pasid: number): Promise<unknown> {
    const arg = { size: 16, flags: WITH_PASID, pt_id, pasid };
    return this.process.ioctl(this.cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', arg);
  }

  detachPasid(pasid: number): Promise<unknown> {
    const arg = { size: 12, flags: WITH_PASID, pasid };
    return this.process.ioctl(this.cdev, 'VFIO_DEVICE_DETACH_IOMMUFD_PT', arg);
  }

  async onPasid(pasid: number, hwpt: number): Promise<void> {
    await this.process.call('pasid_check', { fd: this.iommufd, device: this.device, pasid, hwpt });
  }
}

const machine = (iommu: Record<string, unknown>, device: Record<string, unknown> = {}): HostBody => ({
  iommus: [{ id: 'unit0', ...iommu }],
  devices: [{ bdf: D1, iommu: 'unit0', driver: 'vfio-pci', ...device }],
});

for (const kind of ['intel-vtd', 'arm-smmuv3']) {
  test(`${kind}: no vIOMMUs, and what is wrong with the rest of the request matters less or more`, async () => {
    const b = await Bound.open(machine({ kind }));
    await b.refuses('EOPNOTSUPP', 'IOMMU_VIOMMU_ALLOC', { dev_id: ABSENT, hwpt_id: ABSENT, type: 0 });
    await b.refuses('ENOENT', 'IOMMU_VIOMMU_ALLOC', { dev_id: ABSENT, hwpt_id: ABSENT, type: 1 });
    await b.refuses('EOPNOTSUPP', 'IOMMU_VIOMMU_ALLOC', { dev_id: b.device, hwpt_id: ABSENT, type: 1 });
    await b.refuses('ENOENT', 'IOMMU_VDEVICE_ALLOC', { viommu_id: ABSENT, dev_id: b.device, virt_id: 1 });
    await b.refuses('EINVAL', 'IOMMU_VEVENTQ_ALLOC', { viommu_id: ABSENT, type: 1, veventq_depth: 0 });
    await b.refuses('ENOENT', 'IOMMU_VEVENTQ_ALLOC', { viommu_id: ABSENT, type: 1, veventq_depth: 1 });
    const queue = { viommu_id: ABSENT, type: 1, index: 0, nesting_parent_iova: 0 };
    await b.refuses('EINVAL', 'IOMMU_HW_QUEUE_ALLOC', { ...queue, length: 0 });
    await b.refuses('ENOENT', 'IOMMU_HW_QUEUE_ALLOC', { ...queue, length: PAGE });
    const entries = { data_type: 1, entry_len: 8, entry_num: 1, data: Buffer.alloc(8).toString('base64') };
    await b.refuses('ENOENT', 'IOMMU_HWPT_INVALIDATE', { hwpt_id: ABSENT, ...entries });
    await b.refuses('EINVAL', 'IOMMU_HWPT_INVALIDATE', { hwpt_id: await b.hwpt(0), ...entries });
  });
}

test('amd-vi: any type of vIOMMU, on which nothing can be made', async () => {
  const b = await Bound.open(machine({ kind: 'amd-vi', nesting: true }));
  await b.refuses('ENOENT', 'IOMMU_VIOMMU_ALLOC', { dev_id: b.device, hwpt_id: ABSENT, type: 77 });
  await b.refuses('EINVAL', 'IOMMU_VIOMMU_ALLOC', { dev_id: b.device, hwpt_id: await b.hwpt(0), type: 77 });
  const parent = await b.hwpt(NEST_PARENT);
  const { out_viommu_id: viommu } = await b.ask('IOMMU_VIOMMU_ALLOC', { dev_id: b.device, hwpt_id: parent, type: 77 });
  const data = { data_type: 1, data_len: 4, data: Buffer.alloc(4).toString('base64') };
  await expectErrno('EOPNOTSUPP', b.hwpt(0, data, viommu as number));
  await b.refuses('EOPNOTSUPP', 'IOMMU_HW_QUEUE_ALLOC', {
    viommu_id: viommu,
    type: 1,
    index: 0,
    nesting_parent_iova: 0,
    length: PAGE,
  });
  await b.refuses('EBUSY', 'IOMMU_DESTROY', { id: parent });
  await b.process.destroy(b.iommufd, viommu as number);
  await b.process.destroy(b.iommufd, parent);
});

test('fault queues are everywhere; behind VT-d without page requests no device goes on a HWPT that has one', async () => {
  const b = await Bound.open(machine({ kind: 'intel-vtd' }));
  const { out_fault_id: id, out_fault_fd: fd } = await b.ask('IOMMU_FAULT_QUEUE_ALLOC');
  assert.equal((await b.process.call('read', { fd, length: 80 })).ret, 0);
  await expectErrno('ESPIPE', b.process.call('read', { fd, length: 41 }));
  await expectErrno('EINVAL', b.process.call('write', { fd, length: 8, responses: [{ cookie: 1, code: 0 }] }));
  const hwpt = await b.hwpt(FAULT_ID_VALID, { fault_id: id });
  await expectErrno('ENODEV', b.process.attach(b.cdev, hwpt));
  await b.refuses('EBUSY', 'IOMMU_DESTROY', { id });
  await b.process.destroy(b.iommufd, hwpt);
  await b.refuses('EBUSY', 'IOMMU_DESTROY', { id });
  await b.process.close(fd as number);
  await b.process.destroy(b.iommufd, id as number);
});

test('PASIDs: one request attaches and moves, as many as the function has', async () => {
  const b = await Bound.open(machine({ kind: 'intel-vtd', maxPasidLog2: 8 }, { pasid: true }));
  const [plain, first, second] = [await b.hwpt(0), await b.hwpt(PASID), await b.hwpt(PASID)];
  await expectErrno('EINVAL', b.attachPasid(plain, 5));
  await expectErrno('ENOENT', b.attachPasid(ABSENT, 5));
  await b.attachPasid(first, 5);
  await b.onPasid(5, first);
  await b.attachPasid(second, 5);
  await b.onPasid(5, second);
  await b.process.destroy(b.iommufd, first);
  await b.refuses('EBUSY', 'IOMMU_DESTROY', { id: second });
  await b.attachPasid(second, 255);
  await expectErrno('EINVAL', b.attachPasid(second, 256));
  // The device itself must be on a HWPT with the flag, or on none.
  await expectErrno('EINVAL', b.process.attach(b.cdev, plain));
  await b.process.attach(b.cdev, second);
  await b.detachPasid(5);
  await b.onPasid(5, 0);
  await b.detachPasid(5);
  // With the device its PASIDs go.
  await b.process.close(b.cdev);
  await b.process.destroy(b.iommufd, second);
});

test('PASIDs: none for a function that has none', async () => {
  const b = await Bound.open(machine({ kind: 'intel-vtd', maxPasidLog2: 8 }));
  await expectErrno('EINVAL', b.attachPasid(await b.hwpt(PASID), 5));
});
