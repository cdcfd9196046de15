/** Adversarial shapes of IO address spaces: ranges, areas, copies, domains over them. */
import type { Host } from '../../src/host/host.ts';
import { FIXED, GENERIC, hex, hwptArg, IOVA, ioctl, MEMORY, mixed, PAGE, type Shape, times, Vmm } from './tenant.ts';

const range = (start: number, last: number) => ({ start: hex(start), last: hex(last) });
/** Ranges of 2 pages with as much room between them. */
const ranges = (count: number) =>
  times(count, (index) => range(IOVA + index * 4 * PAGE, IOVA + (index * 4 + 2) * PAGE - 1));

const allow = (vmm: Vmm, ioas: number, count: number) =>
  ioctl(vmm.fd, 'IOMMU_IOAS_ALLOW_IOVAS', {
    ioas_id: ioas,
    num_iovas: count,
    __reserved: 0,
    allowed_iovas: ranges(count),
  });

const reserve = (vmm: Vmm, index: number) =>
  vmm.execute({
    op: 'ioas.reserve',
    pid: vmm.pid,
    fd: vmm.fd,
    ioas: vmm.ioas,
    start: hex(IOVA + index * 2 * PAGE),
    length: hex(PAGE),
  });

const chosen = (vmm: Vmm, count: number, pages = 1) =>
  times(count, () => vmm.map(0, 0, { flags: 6, iova: 0, length: pages * PAGE }));

/** A VMM with `count` areas, and a device that is bound. */
function withAreas(count: number): { vmm: Vmm; cdev: number; device: number } {
  const vmm = new Vmm(GENERIC);
  vmm.mapPages(count);
  return { vmm, ...vmm.bind() };
}

const run = (vmm: Vmm, calls: Parameters<Vmm['calls']>[0]) => () => vmm.calls(calls);

export const SPACES: Shape[] = [
  {
    name: 'ALLOW_IOVAS of n ranges, for 4 IOASes',
    n: 4096,
    make(n) {
      const vmm = new Vmm();
      const ioases = times(4, () => vmm.makeIoas());
      return run(
        vmm,
        ioases.map((ioas) => allow(vmm, ioas, n)),
      );
    },
  },
  {
    name: 'ALLOW_IOVAS of n ranges beside n reserved ones',
    n: 2048,
    make(n) {
      const vmm = new Vmm();
      for (let index = 0; index < n; index++) reserve(vmm, index * 2 + 1);
      return run(vmm, [allow(vmm, vmm.ioas, n)]);
    },
  },
  {
    name: 'n maps where the kernel chooses, in n allowed ranges',
    n: 1000,
    make(n) {
      const vmm = new Vmm();
      vmm.memory(4);
      vmm.calls([allow(vmm, vmm.ioas, n)]);
      return run(vmm, chosen(vmm, n, 2));
    },
  },
  {
    name: 'n maps where the kernel chooses, between n reserved ranges',
    n: 1000,
    make(n) {
      const vmm = new Vmm();
      vmm.memory(4);
      for (let index = 0; index < n; index++)
        vmm.execute({
          op: 'ioas.reserve',
          pid: vmm.pid,
          fd: vmm.fd,
          ioas: vmm.ioas,
          start: hex((index * 2 + 2) * PAGE),
          length: hex(PAGE),
        });
      return run(vmm, chosen(vmm, n));
    },
  },
  {
    name: 'n times a range is reserved and a page mapped',
    n: 1000,
    make(n) {
      const vmm = new Vmm();
      vmm.memory(n);
      return () => {
        for (const index of mixed(n)) {
          reserve(vmm, index);
          vmm.calls([vmm.map(index * 2 + 1, index)]);
        }
      };
    },
  },
  {
    name: 'IOVA_RANGES of n ranges',
    n: 4096,
    make(n) {
      const vmm = new Vmm();
      for (let index = 0; index < n; index++) reserve(vmm, index);
      return run(vmm, [
        ioctl(vmm.fd, 'IOMMU_IOAS_IOVA_RANGES', { ioas_id: vmm.ioas, num_iovas: n + 1, __reserved: 0 }),
      ]);
    },
  },
  {
    name: 'n maps at random places between n reserved ranges',
    n: 2000,
    make(n) {
      const vmm = new Vmm();
      vmm.memory(n);
      for (let index = 0; index < n; index++) reserve(vmm, index);
      return run(
        vmm,
        mixed(n).map((index) => vmm.map(index * 2 + 1, index)),
      );
    },
  },
  {
    name: 'n maps where the kernel chooses, among n areas with a page between them',
    n: 2000,
    make(n) {
      const vmm = new Vmm();
      vmm.mapPages(n);
      return run(vmm, chosen(vmm, n, 2));
    },
  },
  {
    name: 'COPY of n areas',
    n: 2000,
    make(n) {
      const vmm = new Vmm(GENERIC);
      vmm.memory(n);
      vmm.calls(times(n, (index) => vmm.map(index)));
      const arg = { flags: FIXED, dst_ioas_id: vmm.makeIoas(), src_ioas_id: vmm.ioas };
      return run(vmm, [
        ioctl(vmm.fd, 'IOMMU_IOAS_COPY', { ...arg, length: n * PAGE, dst_iova: hex(IOVA), src_iova: hex(IOVA) }),
      ]);
    },
  },
  {
    name: 'n times COPY of a page of one area, with a domain',
    n: 1000,
    make(n) {
      const { vmm, cdev } = withAreas(1);
      const to = vmm.makeIoas();
      vmm.attach(cdev, to);
      vmm.call({ call: 'mmap', addr: hex(2 * MEMORY), length: 2 * n * PAGE });
      vmm.calls([vmm.map(8, 0, { user_va: hex(2 * MEMORY), length: 2 * n * PAGE })]);
      const arg = { flags: FIXED, dst_ioas_id: to, src_ioas_id: vmm.ioas, length: PAGE };
      const copy = (index: number) => ({
        dst_iova: hex(IOVA + index * 2 * PAGE),
        src_iova: hex(IOVA + (8 + index * 2) * PAGE),
      });
      return run(
        vmm,
        mixed(n).map((index) => ioctl(vmm.fd, 'IOMMU_IOAS_COPY', { ...arg, ...copy(index) })),
      );
    },
  },
  {
    name: 'HWPT_ALLOC over n areas',
    n: 5000,
    make(n) {
      const { vmm, device } = withAreas(n);
      return () => vmm.makeHwpt(device);
    },
  },
  {
    name: 'a second HWPT_ALLOC over n areas',
    n: 5000,
    make(n) {
      const { vmm, device } = withAreas(n);
      vmm.makeHwpt(device);
      return () => vmm.makeHwpt(device);
    },
  },
  {
    name: 'DESTROY of the last HWPT of n areas',
    n: 5000,
    make(n) {
      const { vmm, device } = withAreas(n);
      const hwpt = vmm.makeHwpt(device);
      return run(vmm, [ioctl(vmm.fd, 'IOMMU_DESTROY', { id: hwpt })]);
    },
  },
  {
    name: 'attach to a second IOAS of n areas, in place of the first',
    n: 5000,
    make(n) {
      const { vmm, cdev } = withAreas(n);
      vmm.attach(cdev, vmm.makeIoas());
      return () => vmm.attach(cdev, vmm.ioas);
    },
  },
  ...(
    [
      ['all at once', (vmm, _n) => [vmm.unmapAll()]],
      ['one by one from the last on', (vmm, n) => times(n, (index) => vmm.unmap((n - 1 - index) * 2))],
      ['one by one in no order', (vmm, n) => mixed(n).map((index) => vmm.unmap(index * 2))],
      ['every second one', (vmm, n) => times(n / 2, (index) => vmm.unmap(index * 4))],
      ['from the middle on', (vmm, n) => times(n, (index) => vmm.unmap(((index + n / 2) % n) * 2))],
    ] as [string, (vmm: Vmm, n: number) => Parameters<Vmm['calls']>[0]][]
  ).map(
    ([how, calls]): Shape => ({
      name: `UNMAP of n areas in a domain, ${how}`,
      n: 4000,
      make(n) {
        const { vmm, cdev } = withAreas(n);
        vmm.attach(cdev);
        return run(vmm, calls(vmm, n));
      },
    }),
  ),
  {
    name: 'container (type1): n maps, and unmaps that cut',
    n: 1000,
    make(n) {
      const vmm = new Vmm();
      vmm.memory(2 * n);
      vmm.calls([
        ioctl(vmm.fd, 'IOMMU_VFIO_IOAS', { ioas_id: vmm.ioas, op: 1, __reserved: 0 }),
        ioctl(vmm.fd, 'VFIO_SET_IOMMU', { type: 1 }),
      ]);
      const at = (index: number) => ({
        argsz: 32,
        vaddr: hex(MEMORY + index * 2 * PAGE),
        iova: hex(IOVA + index * 2 * PAGE),
        size: 2 * PAGE,
      });
      const maps = times(n, (index) => ioctl(vmm.fd, 'VFIO_IOMMU_MAP_DMA', { flags: 3, ...at(index) }));
      const cuts = times(n, (index) =>
        ioctl(vmm.fd, 'VFIO_IOMMU_UNMAP_DMA', { argsz: 24, flags: 0, iova: hex(IOVA + index * 2 * PAGE), size: PAGE }),
      );
      return run(vmm, [...maps, ...cuts]);
    },
  },
  {
    name: 'n HWPTs of one IOAS, made and destroyed',
    n: 500,
    make(n) {
      const { vmm, device } = withAreas(1);
      const alloc = times(n, () => ioctl(vmm.fd, 'IOMMU_HWPT_ALLOC', hwptArg(device, vmm.ioas)));
      return () => {
        const ids = vmm.calls(alloc).map(({ arg }) => arg!.out_hwpt_id);
        vmm.calls(ids.map((id) => ioctl(vmm.fd, 'IOMMU_DESTROY', { id })));
      };
    },
  },
  {
    name: 'IOAS_MAP and UNMAP of n TiB in pages of 4 KiB only',
    n: 15,
    make(n) {
      const iommus = [{ kind: 'generic', aperture: { start: '0x0', last: '0xffffffffffff' }, pageSizes: ['0x1000'] }];
      const vmm = new Vmm({ iommus, memory: hex(2 ** 46) });
      vmm.memory(n * 2 ** 28);
      vmm.attach(vmm.bind().cdev);
      return run(vmm, [vmm.map(0, 0, { length: n * 2 ** 40 }), vmm.unmapAll()]);
    },
  },
  {
    name: 'translation of n areas',
    n: 4000,
    make(n) {
      const { vmm, cdev } = withAreas(n);
      vmm.attach(cdev);
      return () =>
        vmm.query({ view: 'translation', bdf: firstOf(vmm.host), iova: hex(IOVA), length: hex(n * 2 * PAGE) });
    },
  },
  {
    name: 'all n mappings, page by page',
    n: 4000,
    make(n) {
      const vmm = new Vmm();
      vmm.mapPages(n);
      return () => {
        let after: string | undefined;
        do {
          const { pid, fd, ioas } = vmm;
          const page = vmm.query({ view: 'mappings', pid, fd, ioas, limit: 100, ...(after && { after }) }) as {
            iova: string;
          }[];
          after = page.at(-1)?.iova;
        } while (after !== undefined);
      };
    },
  },
];

const firstOf = (host: Host): string => [...host.machine.functions.keys()][0]!;
