/** Adversarial shapes of devices, and of what hangs on them: HWPTs, PASIDs, accesses, queues, interrupts. */
import {
  functions,
  GENERIC,
  hex,
  hwptArg,
  IOVA,
  ioctl,
  makeHost,
  mixed,
  NESTED,
  PAGE,
  type Shape,
  Tenant,
  times,
  Vmm,
} from './tenant.ts';

const NEST_PARENT = 1;
const PASID = 8;
const FAULT_ID_VALID = 4;

/** A VMM with `count` devices, bound: each in a group of its own, or all in one. */
function withDevices(count: number, of: Record<string, unknown> = {}, more: Record<string, unknown> = GENERIC) {
  const vmm = new Vmm({ ...more, devices: functions(count, () => of) });
  const cdevs = vmm
    .calls(times(count, (index) => ({ call: 'open', path: `/dev/vfio/devices/vfio${index}` })))
    .map(({ ret }) => Number(ret));
  const bind = cdevs.map((cdev) => ioctl(cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { argsz: 16, flags: 0, iommufd: vmm.fd }));
  const ids = vmm.calls(bind).map(({ arg }) => Number(arg!.out_devid));
  return { vmm, cdevs, ids };
}

const attach = (cdev: number, to: number, pasid?: number) =>
  ioctl(cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', {
    argsz: pasid === undefined ? 12 : 16,
    flags: pasid === undefined ? 0 : 1,
    pt_id: to,
    ...(pasid !== undefined && { pasid }),
  });
const detach = (cdev: number, pasid?: number) =>
  ioctl(cdev, 'VFIO_DEVICE_DETACH_IOMMUFD_PT', {
    argsz: pasid === undefined ? 8 : 12,
    flags: pasid === undefined ? 0 : 1,
    ...(pasid !== undefined && { pasid }),
  });
const accessOf = (vmm: Vmm) => Number(vmm.call({ call: 'access_create', fd: vmm.fd, ioas: vmm.ioas, pin: true }).ret);
const pin = (vmm: Vmm, access: number, page: number) => ({
  call: 'access_pin' as const,
  fd: vmm.fd,
  access,
  iova: hex(IOVA + page * PAGE),
  length: PAGE,
  write: true,
});

/** A device on a HWPT with a queue of faults. */
function withFaults() {
  const { vmm, cdevs, ids } = withDevices(1, { pasid: true });
  const queue = vmm.ioctl(vmm.fd, 'IOMMU_FAULT_QUEUE_ALLOC', { flags: 0 });
  const hwpt = vmm.makeHwpt(ids[0]!, vmm.ioas, {
    flags: FAULT_ID_VALID | PASID,
    fault_id: queue.out_fault_id,
  });
  vmm.calls([attach(cdevs[0]!, hwpt)]);
  const fault = (index: number, pasid = 0) => ({
    call: 'page_fault' as const,
    fd: vmm.fd,
    device: ids[0]!,
    pasid,
    grpid: 1,
    perm: 1,
    addr: index * PAGE,
  });
  return { vmm, cdev: cdevs[0]!, device: ids[0]!, hwpt, queue: Number(queue.out_fault_fd), fault };
}

function withViommu(count: number) {
  const { vmm, cdevs, ids } = withDevices(count, {}, { ...GENERIC });
  const parent = vmm.makeHwpt(ids[0]!, vmm.ioas, { flags: NEST_PARENT });
  const made = vmm.ioctl(vmm.fd, 'IOMMU_VIOMMU_ALLOC', { flags: 0, type: 0xdeadbeef, dev_id: ids[0], hwpt_id: parent });
  return { vmm, cdevs, ids, parent, viommu: Number(made.out_viommu_id) };
}

const vdevice = (vmm: Vmm, viommu: number, device: number, number: number) =>
  ioctl(vmm.fd, 'IOMMU_VDEVICE_ALLOC', { viommu_id: viommu, dev_id: device, virt_id: number });

const close = (fd: number) => ({ call: 'close' as const, fd });

export const DEVICES: Shape[] = [
  {
    name: 'n devices are opened, bound, attached to one IOAS and closed',
    n: 250,
    make(n) {
      const vmm = new Vmm({ devices: functions(n) });
      vmm.memory(1);
      vmm.calls([vmm.map(0)]);
      return () => {
        const { cdevs } = all(vmm, n);
        vmm.calls(cdevs.map((cdev) => attach(cdev, vmm.ioas)));
        vmm.calls(cdevs.map(close));
      };
    },
  },
  {
    name: 'the same with all n devices in one group',
    n: 250,
    make(n) {
      const vmm = new Vmm({ devices: functions(n, () => ({ group: 1 })) });
      return () => {
        const { cdevs } = all(vmm, n);
        vmm.calls(cdevs.map((cdev) => attach(cdev, vmm.ioas)));
        vmm.calls(cdevs.map(close));
      };
    },
  },
  {
    name: 'n devices with reserved ranges of their own, each attached before a map',
    n: 250,
    make(n) {
      const vmm = new Vmm({
        devices: functions(n, (index) => ({
          reserved: [
            {
              start: hex(2 ** 36 + index * 2 * PAGE),
              last: hex(2 ** 36 + index * 2 * PAGE + PAGE - 1),
              type: 'reserved',
            },
          ],
        })),
      });
      vmm.memory(1);
      const { cdevs } = all(vmm, n);
      return () => vmm.calls(cdevs.flatMap((cdev, index) => [attach(cdev, vmm.ioas), vmm.map(index, 0)]));
    },
  },
  {
    name: 'one device is opened n times, and closed',
    n: 2000,
    make(n) {
      const vmm = new Vmm();
      return () => {
        const opened = vmm.calls(times(n, () => ({ call: 'open' as const, path: '/dev/vfio/devices/vfio0' })));
        vmm.calls(opened.map(({ ret }) => close(Number(ret))));
      };
    },
  },
  {
    name: 'hot reset, asked of one of n devices',
    n: 1000,
    make(n) {
      const vmm = new Vmm({ devices: functions(n) });
      const { cdev } = vmm.bind();
      return () => vmm.calls(times(100, () => ioctl(cdev, 'VFIO_DEVICE_GET_PCI_HOT_RESET_INFO', { argsz: 4096 })));
    },
  },
  {
    name: 'n accesses, made and closed',
    n: 2000,
    make(n) {
      const vmm = new Vmm();
      return () => {
        const made = vmm.calls(
          times(n, () => ({ call: 'access_create' as const, fd: vmm.fd, ioas: vmm.ioas, pin: true })),
        );
        vmm.calls(made.map(({ ret }) => close(Number(ret))));
      };
    },
  },
  {
    name: 'an access has n pins of areas that are unmapped',
    n: 1000,
    make(n) {
      const vmm = new Vmm();
      vmm.mapPages(n);
      const access = accessOf(vmm);
      vmm.calls(times(n, (index) => pin(vmm, access, index * 2)));
      return () => vmm.calls([vmm.unmapAll()]);
    },
  },
  {
    name: 'n accesses have a pin each of areas that are unmapped',
    n: 500,
    make(n) {
      const vmm = new Vmm();
      vmm.mapPages(n);
      vmm.calls(times(n, (index) => pin(vmm, accessOf(vmm), index * 2)));
      return () => vmm.calls([vmm.unmapAll()]);
    },
  },
  {
    name: 'n pins of pages of one area, made and given back',
    n: 1000,
    make(n) {
      const vmm = new Vmm();
      vmm.memory(2 * n);
      vmm.calls([vmm.map(0, 0, { length: 2 * n * PAGE })]);
      const access = accessOf(vmm);
      return () => {
        const made = vmm.calls(mixed(n).map((index) => pin(vmm, access, index * 2)));
        vmm.calls(made.map(({ ret }) => ({ call: 'access_unpin' as const, fd: vmm.fd, access, pin: Number(ret) })));
      };
    },
  },
  {
    name: 'n reads by an access',
    n: 1000,
    make(n) {
      const vmm = new Vmm();
      vmm.mapPages(n);
      const access = accessOf(vmm);
      return () =>
        vmm.calls(
          mixed(n).map((index) => ({
            call: 'access_rw' as const,
            fd: vmm.fd,
            access,
            iova: hex(IOVA + index * 2 * PAGE),
            length: 8,
            write: false,
          })),
        );
    },
  },
  {
    name: 'n faults, read one by one and answered',
    n: 4000,
    make(n) {
      const { vmm, queue, fault } = withFaults();
      vmm.calls(times(n, (index) => fault(index)));
      return () => {
        vmm.calls(times(n, () => ({ call: 'read' as const, fd: queue, length: 40 })));
        vmm.calls(
          mixed(n).map((index) => ({
            call: 'write' as const,
            fd: queue,
            length: 8,
            responses: [{ cookie: index + 1, code: 0 }],
          })),
        );
      };
    },
  },
  {
    name: 'n PASIDs with a fault each are attached and detached',
    n: 500,
    make(n) {
      const { vmm, cdev, hwpt, fault } = withFaults();
      return () => {
        vmm.calls(times(n, (index) => attach(cdev, hwpt, index + 1)));
        vmm.calls(times(n, (index) => fault(index, index + 1)));
        vmm.calls(times(n, (index) => detach(cdev, index + 1)));
      };
    },
  },
  {
    name: 'n nested HWPTs of one parent, made and destroyed',
    n: 1000,
    make(n) {
      const { vmm, ids, parent } = withViommu(1);
      return () => {
        const made = vmm.calls(times(n, () => ioctl(vmm.fd, 'IOMMU_HWPT_ALLOC', hwptArg(ids[0]!, parent, NESTED))));
        vmm.calls(made.map(({ arg }) => ioctl(vmm.fd, 'IOMMU_DESTROY', { id: arg!.out_hwpt_id })));
      };
    },
  },
  {
    name: 'n vDEVICEs of one vIOMMU, attached to a nested HWPT',
    n: 250,
    make(n) {
      const { vmm, cdevs, ids, viommu } = withViommu(n);
      return () => {
        vmm.calls(ids.map((id) => vdevice(vmm, viommu, id, id)));
        const hwpt = vmm.makeHwpt(ids[0]!, viommu, NESTED);
        vmm.calls(cdevs.map((cdev) => attach(cdev, hwpt)));
      };
    },
  },
  {
    name: 'n events of a vIOMMU, read one by one',
    n: 4000,
    make(n) {
      const { vmm, cdevs, ids, viommu } = withViommu(1);
      vmm.calls([vdevice(vmm, viommu, ids[0]!, 5)]);
      vmm.attach(cdevs[0]!, vmm.makeHwpt(ids[0]!, viommu, NESTED));
      const queue = vmm.ioctl(vmm.fd, 'IOMMU_VEVENTQ_ALLOC', {
        flags: 0,
        viommu_id: viommu,
        type: 0xbeefbeef,
        veventq_depth: n,
      });
      vmm.calls(times(n, () => ({ call: 'trigger_event' as const, fd: vmm.fd, device: ids[0]! })));
      return () => vmm.calls(times(n, () => ({ call: 'read' as const, fd: Number(queue.out_veventq_fd), length: 12 })));
    },
  },
  {
    name: 'n fault queues, made and destroyed',
    n: 1000,
    make(n) {
      const vmm = new Vmm();
      return () => {
        const made = vmm.calls(times(n, () => ioctl(vmm.fd, 'IOMMU_FAULT_QUEUE_ALLOC', { flags: 0 })));
        vmm.calls(made.map(({ arg }) => close(Number(arg!.out_fault_fd))));
        vmm.calls(made.map(({ arg }) => ioctl(vmm.fd, 'IOMMU_DESTROY', { id: arg!.out_fault_id })));
      };
    },
  },
  ...(
    [
      ['sparse', 64],
      ['dense', 1],
    ] as const
  ).map(
    ([how, every]): Shape => ({
      name: `dirty bitmap of n bits, ${how}`,
      n: 2 ** 17,
      make(n) {
        const vmm = new Vmm({ ...GENERIC, memory: hex(2 ** 38) });
        vmm.memory(n);
        const { cdev, device } = vmm.bind();
        vmm.calls([vmm.map(0, 0, { length: n * PAGE })]);
        const hwpt = vmm.makeHwpt(device, vmm.ioas, { flags: 2 });
        vmm.attach(cdev, hwpt);
        vmm.ioctl(vmm.fd, 'IOMMU_HWPT_SET_DIRTY_TRACKING', { flags: 1, hwpt_id: hwpt, __reserved: 0 });
        const unit = vmm.host.machine.unitOf([...vmm.host.machine.functions.values()][0]!);
        const { sourceId } = [...vmm.host.machine.functions.values()][0]!;
        for (let page = 0; page < n; page += every) unit.markDirty(sourceId, BigInt(IOVA + page * PAGE));
        return () =>
          vmm.ioctl(vmm.fd, 'IOMMU_HWPT_GET_DIRTY_BITMAP', {
            hwpt_id: hwpt,
            flags: 0,
            __reserved: 0,
            iova: hex(IOVA),
            length: n * PAGE,
            page_size: PAGE,
          });
      },
    }),
  ),
  {
    name: 'n functions without VFIO get vfio-pci, and lose it',
    n: 250,
    make(n) {
      const tenant = new Tenant(makeHost({ devices: functions(n, () => ({ driver: null })) }));
      const bdfs = [...tenant.host.machine.functions.keys()];
      return () => {
        for (const bdf of bdfs) tenant.execute({ op: 'driver.bind', bdf, driver: 'vfio-pci' });
        for (const bdf of bdfs) tenant.execute({ op: 'driver.unbind', bdf });
      };
    },
  },
  {
    name: 'n functions are plugged in, and out',
    n: 250,
    make(n) {
      const tenant = new Tenant();
      const { spec } = [...tenant.host.machine.functions.values()][0]!;
      const added = functions(n + 256)
        .slice(256)
        .map(({ bdf }, index) => ({ ...spec, bdf, group: index + 10, driver: null }));
      return () => {
        for (const device of added) tenant.execute({ op: 'device.add', device });
        for (const { bdf } of added) tenant.execute({ op: 'device.remove', bdf });
      };
    },
  },
  {
    name: 'all devices, groups and domains of a host with n functions on n domains',
    n: 250,
    make(n) {
      const { vmm, cdevs, ids } = withDevices(n);
      vmm.calls(cdevs.map((cdev, index) => attach(cdev, vmm.makeHwpt(ids[index]!, vmm.ioas))));
      return () => {
        for (const view of ['devices', 'groups', 'domains'] as const) vmm.query({ view });
      };
    },
  },
  {
    name: 'an eventfd has n waiters, which go',
    // A device takes 500 of them, and looks through those that it has: as many as that are there at either size.
    n: 500,
    make(n) {
      const { vmm, cdevs } = withDevices(Math.ceil(n / 500), {
        config: { bars: [{ index: 0, kind: 'mem32', size: 65536 }] },
      });
      const eventfd = Number(vmm.call({ call: 'eventfd', initval: 0, flags: 0 }).ret);
      const store = (index: number, fd: number) =>
        ioctl(cdevs[Math.floor(index / 500)]!, 'VFIO_DEVICE_IOEVENTFD', {
          argsz: 32,
          flags: 4,
          offset: (index % 500) * 4,
          data: 1,
          fd,
        });
      return () => {
        vmm.calls(times(n, (index) => store(index, eventfd)));
        vmm.calls(times(n, (index) => store(index, -1)));
      };
    },
  },
];

function all(vmm: Vmm, count: number) {
  const cdevs = vmm
    .calls(times(count, (index) => ({ call: 'open' as const, path: `/dev/vfio/devices/vfio${index}` })))
    .map(({ ret }) => Number(ret));
  const ids = vmm
    .calls(cdevs.map((cdev) => ioctl(cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { argsz: 16, flags: 0, iommufd: vmm.fd })))
    .map(({ arg }) => Number(arg!.out_devid));
  return { cdevs, ids };
}
