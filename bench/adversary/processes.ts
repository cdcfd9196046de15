/** Adversarial shapes of processes and descriptors, and of faults that are armed. */
import type { CallInput } from '../../src/host/command.ts';
import { type Shape, Tenant, times } from './tenant.ts';

const close = (fd: number) => ({ call: 'close' as const, fd });
const dup = (fd: number) => ({ call: 'dup' as const, fd });

/** A tenant with `count` descriptors more than one. */
function withDescriptors(count: number): { tenant: Tenant; first: number } {
  const tenant = new Tenant();
  const first = tenant.open('/dev/null');
  tenant.calls(times(count, () => dup(first)));
  return { tenant, first };
}

export const PROCESSES: Shape[] = [
  {
    name: 'n descriptors, made and closed',
    n: 4000,
    make(n) {
      const tenant = new Tenant();
      const first = tenant.open('/dev/null');
      return () => {
        tenant.calls(times(n, () => dup(first)));
        tenant.calls(times(n, (index) => close(first + 1 + index)));
      };
    },
  },
  {
    name: 'n descriptors from a number on',
    n: 2000,
    make(n) {
      const tenant = new Tenant();
      const fd = tenant.open('/dev/null');
      return () => tenant.calls(times(n, () => ({ call: 'fcntl', fd, cmd: 0, arg: 100 }) as unknown as CallInput));
    },
  },
  {
    name: 'n times the lowest and the next free descriptor, among 4 n',
    n: 1000,
    make(n) {
      const { tenant, first } = withDescriptors(4 * n);
      const next = first + 4 * n + 1;
      return () => tenant.calls(times(n, () => [close(first + 1), dup(first), dup(first), close(next)]).flat());
    },
  },
  {
    name: 'n polls of 256 descriptors',
    n: 50,
    make(n) {
      const { tenant, first } = withDescriptors(256);
      const fds = times(256, (index) => ({ fd: first + index, events: 1 }));
      return () => tenant.calls(times(n, () => ({ call: 'poll' as const, fds })));
    },
  },
  {
    name: 'n processes, made, listed and killed',
    n: 1000,
    make(n) {
      const tenant = new Tenant();
      return () => {
        const pids = times(n, () => tenant.process());
        tenant.query({ view: 'processes' });
        for (const pid of pids) tenant.execute({ op: 'process.kill', pid });
      };
    },
  },
  {
    name: 'n forks of a process',
    n: 1000,
    make(n) {
      const tenant = new Tenant();
      return () => tenant.calls(times(n, () => ({ call: 'fork' as const })));
    },
  },
  {
    name: 'a fork of a process with n mappings and descriptors',
    n: 2000,
    make(n) {
      const { tenant } = withDescriptors(n);
      tenant.calls(
        times(n, (index) => ({
          call: 'mmap' as const,
          addr: 2 ** 40 + index * 8192,
          length: 4096,
          prot: 1 + (index % 2) * 2,
        })),
      );
      return () => tenant.call({ call: 'fork' });
    },
  },
  {
    name: 'n faults armed, n allocations',
    n: 1000,
    make(n) {
      const tenant = new Tenant();
      const fd = tenant.open('/dev/iommu');
      const alloc = times(n, () => ({ call: 'ioctl' as const, fd, request: 'IOMMU_IOAS_ALLOC', arg: { flags: 0 } }));
      return () => {
        for (let nth = 1; nth <= n; nth++) tenant.execute({ op: 'fault.arm', point: 'allocation', nth: 2 * n + nth });
        tenant.calls(alloc);
      };
    },
  },
  {
    name: 'n faults armed, all of which strike',
    n: 1000,
    make(n) {
      const tenant = new Tenant();
      const fd = tenant.open('/dev/iommu');
      const calls = times(n, () => ({ call: 'ioctl' as const, fd, request: 'IOMMU_IOAS_ALLOC', arg: { flags: 0 } }));
      return () => {
        for (let nth = 1; nth <= n; nth++) tenant.execute({ op: 'fault.arm', point: 'allocation', nth });
        tenant.execute({ op: 'calls', pid: tenant.pid, calls });
      };
    },
  },
  {
    name: 'n faults armed, and disarmed',
    n: 2000,
    make(n) {
      const tenant = new Tenant();
      return () => {
        for (let at = 0; at < n; at++) tenant.execute({ op: 'fault.arm', point: 'vfio.open', nth: 5 });
        for (let id = 1; id <= n; id++) tenant.execute({ op: 'fault.disarm', id });
      };
    },
  },
];
