/**
 * Fixture `basic_fail_nth` of the kernel's selftests (iommufd_fail_nth.c): every case again and again, a later
 * allocation, or a later attach of the driver, failing each time. What fails leaves everything as it was, works at
 * the second attempt, and nothing leaks.
 *
 * In part: the points of failure are those that a host has; allocations within a map are none of them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FaultView, IommufdView } from '../../src/host/views.ts';
import { useApp } from '../support/app.ts';
import { hex, KernelError } from '../support/kernel-error.ts';
import {
  APERTURE_START,
  allowArg,
  BUFFER,
  BUFFER_BYTES,
  DATA_SELFTEST,
  FIXED,
  Mock,
  mapArg,
  NEST_PARENT,
  PAGE,
  PASID,
  READ_WRITE,
  words,
} from './mock.ts';

const app = useApp();

/** What the steps of a case have made: ids and descriptors by name. */
type Made = Record<string, number>;
/** One call that may fail. */
type Step = (mock: Mock, made: Made) => Promise<unknown>;

const keep =
  (name: string, step: (mock: Mock, made: Made) => Promise<number>): Step =>
  async (mock, made) => {
    made[name] = await step(mock, made);
  };

const ioas = (name = 'ioas'): Step => keep(name, (mock) => mock.allocIoas());
const ask =
  (request: string, arg: (made: Made) => Record<string, unknown>): Step =>
  (mock, made) =>
    mock.ask(request, arg(made));
const make = (name: string, output: string, request: string, arg: (made: Made) => Record<string, unknown>): Step =>
  keep(name, async (mock, made) => (await mock.ask(request, arg(made)))[output] as number);

/** A device in the steps that may fail: its function is plugged in and open already. */
function device(name: string, bdf: string, pt: string): Step[] {
  const cdev = `${name} cdev`;
  return [
    keep(cdev, async (mock) => {
      await mock.host.request('post', '/devices', { bdf, iommu: 'mock0', driver: 'vfio-pci', pasid: true });
      return mock.process.openCdev(bdf);
    }),
    keep(name, (mock, made) => mock.process.bind(made[cdev]!, mock.iommufd)),
    keep(`${name} hwpt`, (mock, made) => mock.process.attach(made[cdev]!, made[pt]!)),
  ];
}

const map = (iova: number, length: number): Step =>
  ask('IOMMU_IOAS_MAP', (made) => mapArg(made.ioas!, BUFFER, length, iova));
const unmap = (iova: number, length: number): Step =>
  ask('IOMMU_IOAS_UNMAP', (made) => ({ ioas_id: made.ioas, iova: hex(iova), length }));
const access = (pin: boolean): Step =>
  keep(
    'access',
    async ({ process, iommufd: fd }, made) =>
      (await process.call('access_create', { fd, ioas: made.ioas, pin })).ret as number,
  );
const onAccess =
  (name: string, arg: Record<string, unknown>): Step =>
  ({ process, iommufd: fd }, made) =>
    process.call(name, { fd, access: made.access, iova: hex(APERTURE_START), length: 2 * PAGE, ...arg });

const MAP_FILE = { flags: READ_WRITE | FIXED, start: 0, length: 4 * PAGE, iova: hex(APERTURE_START) };
const nested = { data_type: DATA_SELFTEST, data_len: 4, data: words(1) };

const CASES: Readonly<Record<string, readonly Step[]>> = {
  basic: [
    ioas(),
    ioas('other'),
    ask('IOMMU_IOAS_IOVA_RANGES', (made) => ({ ioas_id: made.ioas, num_iovas: 10 })),
    ask('IOMMU_IOAS_ALLOW_IOVAS', (made) => allowArg(made.ioas!, [[APERTURE_START, 2 * APERTURE_START]])),
    map(APERTURE_START, BUFFER_BYTES),
    ask('IOMMU_IOAS_COPY', ({ ioas: from, other }) => ({
      flags: READ_WRITE,
      src_ioas_id: from,
      dst_ioas_id: other,
      src_iova: hex(APERTURE_START),
      length: BUFFER_BYTES,
    })),
    unmap(APERTURE_START, BUFFER_BYTES),
    ask('IOMMU_DESTROY', ({ other }) => ({ id: other })),
  ],
  map_domain: [
    ioas(),
    map(APERTURE_START, BUFFER_BYTES),
    ...device('device', '0000:01:00.0', 'ioas'),
    unmap(APERTURE_START, BUFFER_BYTES),
    map(APERTURE_START, BUFFER_BYTES),
  ],
  map_file_domain: [
    ioas(),
    keep('memfd', ({ process }) => process.memfd(4 * PAGE)),
    ask('IOMMU_IOAS_MAP_FILE', ({ ioas: id, memfd }) => ({ ...MAP_FILE, ioas_id: id, fd: memfd })),
    ...device('device', '0000:01:00.0', 'ioas'),
    unmap(APERTURE_START, 4 * PAGE),
    ask('IOMMU_IOAS_MAP_FILE', ({ ioas: id, memfd }) => ({ ...MAP_FILE, ioas_id: id, fd: memfd })),
  ],
  map_two_domains: [
    ioas(),
    map(APERTURE_START, BUFFER_BYTES),
    ...device('device', '0000:01:00.0', 'ioas'),
    make('second', 'out_hwpt_id', 'IOMMU_HWPT_ALLOC', (made) => ({ dev_id: made.device, pt_id: made.ioas })),
    unmap(APERTURE_START, BUFFER_BYTES),
    map(APERTURE_START, BUFFER_BYTES),
    ...device('another', '0000:01:00.1', 'second'),
  ],
  access_rw: [
    ioas(),
    map(APERTURE_START, BUFFER_BYTES),
    access(false),
    onAccess('access_rw', { write: false }),
    onAccess('access_rw', { write: true, data: Buffer.alloc(2 * PAGE, 7).toString('base64') }),
  ],
  access_pin: [ioas(), map(APERTURE_START, BUFFER_BYTES), access(true), onAccess('access_pin', { write: false })],
  access_pin_domain: [
    ioas(),
    ...device('device', '0000:01:00.0', 'ioas'),
    map(APERTURE_START, BUFFER_BYTES),
    access(true),
    onAccess('access_pin', { write: false }),
  ],
  device: [
    ioas(),
    ioas('other'),
    ...device('device', '0000:01:00.0', 'ioas'),
    ask('IOMMU_GET_HW_INFO', (made) => ({ dev_id: made.device })),
    make('hwpt', 'out_hwpt_id', 'IOMMU_HWPT_ALLOC', (made) => ({
      dev_id: made.device,
      pt_id: made.ioas,
      flags: PASID,
    })),
    ({ process }, made) => process.attach(made['device cdev']!, made.other!),
    ({ process }, made) => process.attach(made['device cdev']!, made.hwpt!),
    make('parent', 'out_hwpt_id', 'IOMMU_HWPT_ALLOC', ({ device: id, other }) => ({
      dev_id: id,
      pt_id: other,
      flags: NEST_PARENT | PASID,
    })),
    make('viommu', 'out_viommu_id', 'IOMMU_VIOMMU_ALLOC', (made) => ({
      type: 0xdeadbeef,
      dev_id: made.device,
      hwpt_id: made.parent,
    })),
    make('vdevice', 'out_vdevice_id', 'IOMMU_VDEVICE_ALLOC', (made) => ({
      viommu_id: made.viommu,
      dev_id: made.device,
      virt_id: 0,
    })),
    ask('IOMMU_IOAS_MAP', ({ other }) => mapArg(other!, BUFFER, PAGE, APERTURE_START)),
    make('queue', 'out_hw_queue_id', 'IOMMU_HW_QUEUE_ALLOC', (made) => ({
      viommu_id: made.viommu,
      type: 0xdeadbeef,
      index: 0,
      nesting_parent_iova: hex(APERTURE_START),
      length: PAGE,
    })),
    make('fault', 'out_fault_id', 'IOMMU_FAULT_QUEUE_ALLOC', () => ({})),
    make('nested', 'out_hwpt_id', 'IOMMU_HWPT_ALLOC', (made) => ({
      dev_id: made.device,
      pt_id: made.viommu,
      flags: 4,
      fault_id: made.fault,
      ...nested,
    })),
    make('events', 'out_veventq_id', 'IOMMU_VEVENTQ_ALLOC', (made) => ({
      viommu_id: made.viommu,
      type: 0xbeefbeef,
      veventq_depth: 2,
    })),
    ({ process }, made) =>
      process.ioctl(made['device cdev']!, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', {
        flags: 1,
        pt_id: made.hwpt,
        pasid: 1000,
        size: 16,
      }),
  ],
};

/** All that can be seen of the iommufd and of the host's memory. */
async function state({ host, process, iommufd }: Mock): Promise<unknown> {
  const path = `/processes/${process.pid}/iommufds/${iommufd}`;
  const view = (await host.request('get', path)) as IommufdView;
  const ioases = [];
  for (const id of view.ioases)
    ioases.push(
      await host.request('get', `${path}/ioases/${id}`),
      await host.request('get', `${path}/ioases/${id}/mappings`),
    );
  const { memory } = await host.view();
  return { view, ioases, memory, domains: await host.domains(), devices: await host.request('get', '/devices') };
}

/** Runs a case with the nth pass of the point from now failing. False if there were fewer. */
async function runFailing(steps: readonly Step[], point: string, nth: number): Promise<boolean> {
  const mock = await Mock.open(app);
  await mock.process.mmap(BUFFER, BUFFER_BYTES);
  const fault: FaultView = await mock.host.armFault(point, { nth });
  const made: Made = {};
  let failed = false;
  for (const step of steps) {
    const before: unknown = failed ? null : await state(mock);
    try {
      await step(mock, made);
    } catch (error) {
      assert.ok(error instanceof KernelError && error.errno === 'ENOMEM' && !failed, `${error}`);
      failed = true;
      assert.deepEqual(await state(mock), before, error.message);
      await step(mock, made);
    }
  }
  if (!failed) await mock.host.disarmFault(fault);
  await mock.closeAll();
  return failed;
}

for (const [name, steps] of Object.entries(CASES))
  test(`basic_fail_nth.${name}`, async () => {
    let failures = 0;
    for (const point of ['allocation', 'iommu.attach', 'iommu.replace'])
      for (let nth = 1; await runFailing(steps, point, nth); nth++) failures++;
    assert.ok(failures > 0, 'at least one failed');
  });
