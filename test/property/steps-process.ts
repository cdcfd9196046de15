/** Steps of processes: descriptors, memory, memfds, limits. */
import { anyPid, BAD_FD, call, descriptors, hex, type Maker } from './actions.ts';
import { anyAddress, anyLength, HUGE_MEMORY, slot } from './values.ts';

const FD_PATHS = ['/dev/iommu', '/dev/null', '/dev/vfio/devices/vfio99'];

const anyMemfd = (model: Parameters<Maker>[0], picks: Parameters<Maker>[1]) =>
  picks.mostly<{ pid: number; fd: number }>(descriptors(model, 'memfd'), 30, [
    { pid: anyPid(model, picks), fd: BAD_FD },
  ]);

/** Descriptors of any kind, or one that is not open. */
const anyDescriptor = (model: Parameters<Maker>[0], picks: Parameters<Maker>[1]) => {
  const all = [...model.processes].flatMap(([pid, { descriptors: open }]) =>
    [...open.keys()].map((fd) => ({ pid, fd })),
  );
  return picks.mostly(all, 30, [{ pid: anyPid(model, picks), fd: BAD_FD }]);
};

const bytes = (picks: Parameters<Maker>[1]): Uint8Array =>
  Uint8Array.from({ length: 1 + picks.below(8) }, () => picks.below(256));

/** The others first. */
const otherPids = (model: Parameters<Maker>[0], pid: number): number[] => {
  const others = [...model.processes.keys()].filter((other) => other !== pid);
  return others.length > 0 ? others : [pid];
};

export const PROCESS_STEPS: Readonly<Record<string, Maker>> = {
  openIommufd: (model, picks) =>
    call(anyPid(model, picks), 'open', { path: picks.mostly(['/dev/iommu'], 10, FD_PATHS) }),
  close: (model, picks) => {
    const { pid, fd } = anyDescriptor(model, picks);
    return call(pid, 'close', { fd });
  },
  dup: (model, picks) => {
    const { pid, fd } = anyDescriptor(model, picks);
    return call(pid, 'dup', { fd });
  },
  send: (model, picks) => {
    const { pid, fd } = anyDescriptor(model, picks);
    return call(pid, 'send_fd', { fd, to: picks.mostly(otherPids(model, pid), 20, [9999, pid]) });
  },
  mmap: (model, picks) => {
    const pid = anyPid(model, picks);
    const length = hex(0x1000n * BigInt(1 + picks.below(8)));
    const memfds = descriptors(model, 'memfd').filter((descriptor) => descriptor.pid === pid);
    if (memfds.length > 0 && picks.rarely(3)) {
      const { fd } = picks.one(memfds);
      const offset = hex(0x1000n * BigInt(picks.below(3)));
      const prot = picks.one([3, 3, 1]);
      const file = model.processes.get(pid)!.descriptors.get(fd);
      const isHuge = file?.kind === 'memfd' && file.inode.hugetlb;
      const shared = isHuge || picks.mostly([true], 3, [false]);
      return call(pid, 'mmap', { addr: hex(slot(picks)), length, fd, offset, shared, prot });
    }
    if (picks.rarely(12)) return call(pid, 'mmap', { addr: hex(HUGE_MEMORY), length: '0x200000', huge: '2M' });
    if (picks.rarely(20)) return call(pid, 'mmap', { addr: picks.one(['0x1234', '0x7ffffffff000']), length: '0x2000' });
    return call(pid, 'mmap', { addr: hex(slot(picks)), length, ...(picks.rarely(5) && { prot: 1 }) });
  },
  munmap: (model, picks) => {
    const pid = anyPid(model, picks);
    const addr = anyAddress(model, pid, picks);
    return call(pid, 'munmap', { addr: hex(addr & ~0x7ffn), length: hex(anyLength(picks)) });
  },
  mprotect: (model, picks) => {
    const pid = anyPid(model, picks);
    const addr = anyAddress(model, pid, picks);
    const prot = picks.mostly([3, 1, 3, 0], 20, [2, 16]);
    return call(pid, 'mprotect', { addr: hex(addr & ~0x7ffn), length: hex(anyLength(picks)), prot });
  },
  poke: (model, picks) => {
    const pid = anyPid(model, picks);
    return call(pid, 'poke', { addr: hex(anyAddress(model, pid, picks)), data: bytes(picks).toBase64() });
  },
  peek: (model, picks) => {
    const pid = anyPid(model, picks);
    return call(pid, 'peek', { addr: hex(anyAddress(model, pid, picks)), length: hex(BigInt(1 + picks.below(64))) });
  },
  memfdCreate: (model, picks) =>
    call(anyPid(model, picks), 'memfd_create', {
      name: 'memory',
      ...(picks.rarely(12)
        ? { flags: 4, size: '0x200000' }
        : {
            flags: picks.mostly([2, 2, 0], 15, [8, 24, 64]),
            size: hex(0x1000n * BigInt(picks.below(12)) + picks.mostly([0n], 6, [0x800n])),
          }),
    }),
  ftruncate: (model, picks) => {
    const { pid, fd } = anyMemfd(model, picks);
    return call(pid, 'ftruncate', {
      fd,
      length: hex(0x1000n * BigInt(picks.below(10)) + picks.mostly([0n], 6, [0x800n])),
    });
  },
  addSeals: (model, picks) => {
    const { pid, fd } = anyMemfd(model, picks);
    return call(pid, 'add_seals', { fd, seals: picks.mostly([2, 4, 8, 1, 16], 15, [64, 7, 32]) });
  },
  readMemfd: (model, picks) => {
    const { pid, fd } = anyMemfd(model, picks);
    const offset = hex(0x1000n * BigInt(picks.below(4)) + BigInt(picks.below(3)));
    switch (picks.below(4)) {
      case 0:
        return call(pid, 'pread', { fd, offset, length: hex(BigInt(picks.below(64))) });
      case 1:
        return call(pid, 'get_seals', { fd });
      case 2:
        return call(pid, 'fstat', { fd });
      default:
        return call(pid, 'pwrite', { fd, offset, data: bytes(picks).toBase64() });
    }
  },
  setuid: (model, picks) => call(anyPid(model, picks), 'setuid', { uid: picks.one([1000, 1001, 0]) }),
  setrlimit: (model, picks) =>
    call(anyPid(model, picks), 'setrlimit', {
      memlock: hex(0x1000n * BigInt(picks.mostly([4, 8, 2, 16], 6, [0, 1000]))),
    }),
  exit: (model, picks) => (model.processes.size > 1 ? { kind: 'exit', pid: anyPid(model, picks) } : { kind: 'start' }),
  start: () => ({ kind: 'start' }),
  compare: () => ({ kind: 'compare' }),
};
