/** The system calls of the `calls` face, by name. */
import { MAX_TRANSFER } from '../limits.ts';
import { hex } from '../machine/address.ts';
import { big, bytes, type Call, done, integer, type Outcome } from './call-input.ts';
import { Refusal, refuse } from './errno.ts';
import { NullFile, type OpenFile } from './file.ts';
import { encodeArg, ioctl } from './ioctl.ts';
import { IommufdContext } from './iommufd/context.ts';
import { LEVERS } from './iommufd/selftest/levers.ts';
import { pageToMap } from './iommufd/viommu/viommu-page.ts';
import type { Kernel } from './kernel.ts';
import { LiveUpdateFile } from './liveupdate/files.ts';
import { MemfdFile, memfdCreate, type ShmemInode } from './mm/shmem.ts';
import type { Process } from './process.ts';
import type { CallInput, CallName, CallResult, PageResponse } from './uapi/calls.ts';
import { VfioDeviceFile } from './vfio/device-file.ts';
import { VfioGroupFile } from './vfio/group-file.ts';

/** Runs one system call of a process. A refused one returns -1 and its errno. */
export function runCall(kernel: Kernel, process: Process, input: CallInput): CallResult {
  const outcome = CALLS[input.call as keyof typeof CALLS](kernel, process, input);
  if (!(outcome instanceof Refusal)) return outcome;
  const { errno, where, why, rule, arg } = outcome;
  return { ret: -1, errno, where, why, ...(rule && { rule }), ...(arg && { arg: encodeArg(arg) }) };
}

/** Gives a new file a descriptor, which takes over its only reference. EMFILE: the file is released. */
function install(process: Process, file: OpenFile): Outcome {
  const fd = process.install(file);
  if (typeof fd === 'number') return { ret: fd };
  file.put();
  return fd;
}

function open(kernel: Kernel, process: Process, path: string): OpenFile | Refusal {
  const where = 'do_filp_open';
  if (path === '/dev/iommu')
    return kernel.faults.refusal('allocation', 'iommufd_fops_open') ?? new IommufdContext(kernel);
  if (path === '/dev/null') return new NullFile();
  if (path === '/dev/liveupdate') return openLiveUpdate(kernel);
  const cdev = kernel.vfio.byPath(path);
  if (cdev) {
    if (kernel.policies.gate === 'open' && kernel.restored.stateOf(cdev.fn) === 'L')
      return refuse(
        'EBUSY',
        'vfio_device_fops_cdev_open',
        `${cdev.fn.bdf} came from the previous kernel and is not finished`,
        'R7',
      );
    return new VfioDeviceFile(cdev, true);
  }
  const group = /^\/dev\/vfio\/(\d+)$/.exec(path);
  if (group) return openGroup(kernel, Number(group[1]));
  if (/^\/dev\/vfio\/devices\/vfio\d+$/.test(path))
    return refuse(
      'ENOENT',
      where,
      `there is no ${path}: the function that it would be of is on no VFIO driver in this kernel; bind vfio-pci to it first, and see its \`cdev\``,
    );
  const self = /^\/proc\/self\/fd\/(\d+)$/.exec(path);
  if (self) return reopen(process, Number(self[1]));
  return refuse('ENOENT', where, `there is no ${path}`);
}

function openLiveUpdate(kernel: Kernel): OpenFile | Refusal {
  const where = 'luo_open';
  const { luo } = kernel;
  if (!luo) return refuse('ENOENT', where, 'this kernel runs without live update (kho= and liveupdate=)');
  if (luo.deviceOpen) return refuse('EBUSY', where, '/dev/liveupdate is open: one at a time');
  return luo.deserialize() ?? new LiveUpdateFile(luo);
}

function openGroup(kernel: Kernel, group: number): OpenFile | Refusal {
  const where = 'vfio_group_fops_open';
  if (kernel.vfio.devicesOfGroup(group).length === 0)
    return refuse(
      'ENOENT',
      where,
      `no function of group ${group} is on a VFIO driver in this kernel: bind vfio-pci first`,
    );
  if (kernel.vfio.groupHasBoundCdev(group)) return refuse('EBUSY', where, `a cdev of group ${group} is bound`);
  if (kernel.vfio.groupFiles.has(group)) return refuse('EBUSY', where, `group ${group} is open already`);
  const file = new VfioGroupFile(kernel, group);
  kernel.vfio.groupFiles.set(group, file);
  return file;
}

/** open(2) of /proc/self/fd/N: a memfd becomes a new file of the same inode; other files cannot be opened again. */
function reopen(process: Process, fd: number): OpenFile | Refusal {
  const file = process.file(fd);
  if (file instanceof Refusal)
    return refuse('ENOENT', 'proc_pid_get_link', `process ${process.pid} has no descriptor ${fd} open`);
  if (file instanceof MemfdFile) return new MemfdFile(file.inode.get());
  if (file instanceof NullFile) return new NullFile();
  return refuse('ENXIO', 'do_filp_open', `${file.link()} cannot be opened through /proc`);
}

/** The memfd behind a descriptor. EBADF; EINVAL for another kind of file. */
function memfd(process: Process, input: CallInput, where: string): MemfdFile | Refusal {
  const file = process.file(integer(input, 'fd'));
  if (file instanceof Refusal || file instanceof MemfdFile) return file;
  return refuse('EINVAL', where, `${file.link()} is not a memfd`);
}

function onMemfd(where: string, run: (file: MemfdFile, input: CallInput) => Outcome): Call {
  return (_kernel, process, input) => {
    const file = memfd(process, input, where);
    return file instanceof Refusal ? file : run(file, input);
  };
}

function mmap(process: Process, input: CallInput): Outcome {
  const address = big(input, 'addr');
  const length = big(input, 'length');
  let refusal: Refusal | null;
  if (input.fd !== undefined) {
    const mapped = fileToMap(process, input, length);
    if (mapped instanceof Refusal) return mapped;
    refusal = process.mm.map(address, length, {
      ...mapped,
      shared: input.shared === true,
      ...(input.prot !== undefined && { prot: integer(input, 'prot') }),
    });
  } else
    refusal = process.mm.map(address, length, {
      huge: input.huge === '2M',
      ...(input.prot !== undefined && { prot: integer(input, 'prot') }),
    });
  return refusal ?? { ret: hex(address) };
}

/** The file that mmap shows, and from which offset on: a memfd, or the page of a vIOMMU through its iommufd. */
function fileToMap(
  process: Process,
  input: CallInput,
  length: bigint,
): { inode: ShmemInode; offset: bigint } | Refusal {
  const file = process.file(integer(input, 'fd'));
  const offset = big(input, 'offset');
  if (!(file instanceof IommufdContext)) {
    const other = memfd(process, input, 'do_mmap');
    return other instanceof Refusal ? other : { inode: other.inode, offset };
  }
  const prot = integer(input, 'prot');
  const page = pageToMap(file, { offset, length, shared: input.shared === true, prot });
  return page instanceof Refusal ? page : { inode: page, offset: 0n };
}

function sendFd(kernel: Kernel, process: Process, input: CallInput): Outcome {
  const file = process.file(integer(input, 'fd'));
  if (file instanceof Refusal) return file;
  const to = kernel.processes.get(integer(input, 'to'));
  if (!to) return refuse('ENOENT', 'unix_scm_to_skb', `there is no process ${integer(input, 'to')}`);
  return install(to, file.get());
}

function setUid(process: Process, uid: number): Outcome {
  const where = 'sys_setresuid';
  if (uid < 0) return refuse('EINVAL', where, 'there is no such user');
  if (process.uid !== 0 && process.uid !== uid) return refuse('EPERM', where, 'only user 0 may become another');
  if (uid !== 0) process.capabilities.clear();
  process.uid = uid;
  return { ret: 0 };
}

function setRlimit(process: Process, memlock: bigint): Outcome {
  const raises = process.memlock !== null && memlock > process.memlock;
  if (raises && !process.capabilities.has('CAP_SYS_RESOURCE'))
    return refuse('EPERM', 'do_prlimit', 'raising the hard limit needs CAP_SYS_RESOURCE');
  process.memlock = memlock;
  return { ret: 0 };
}

function truncate(kernel: Kernel, file: MemfdFile, length: bigint): Outcome {
  const { inode } = file;
  const before = inode.pages.spans.map(({ frame, count }) => ({ start: frame, count }));
  const shrinks = length < inode.size;
  const refusal = inode.truncate(length);
  if (!refusal && shrinks) kernel.restored.pagesLost(lost(before, inode.pages.spans), 'a memfd was truncated');
  return done(refusal);
}

/** The runs of `before` that `after` does not contain as a whole. */
function lost(
  before: { start: number; count: number }[],
  after: readonly { frame: number; count: number }[],
): { start: number; count: number }[] {
  const kept = after.map(({ frame, count }) => [frame, frame + count] as const);
  return before.filter(({ start, count }) => !kept.some(([from, to]) => from <= start && start + count <= to));
}

const CALLS: Readonly<Record<CallName | 'ioctl', Call>> = {
  open: (kernel, process, input) => {
    const file = open(kernel, process, String(input.path));
    return file instanceof Refusal ? file : install(process, file);
  },
  close: (_kernel, process, input) => done(process.close(integer(input, 'fd'))),
  dup: (_kernel, process, input) => {
    const file = process.file(integer(input, 'fd'));
    return file instanceof Refusal ? file : install(process, file.get());
  },
  send_fd: sendFd,
  mmap: (_kernel, process, input) => mmap(process, input),
  munmap: (_kernel, process, input) => done(process.mm.unmap(big(input, 'addr'), big(input, 'length'))),
  poke: (_kernel, process, input) => done(process.mm.write(big(input, 'addr'), bytes(input, 'data'))),
  peek: (_kernel, process, input) => {
    const length = big(input, 'length');
    if (length > MAX_TRANSFER) return refuse('EINVAL', 'peek', `at most ${MAX_TRANSFER} bytes a call`);
    const data = process.mm.read(big(input, 'addr'), Number(length));
    return data instanceof Refusal ? data : { ret: 0, data: data.toBase64() };
  },
  memfd_create: (kernel, process, input) => {
    const file = memfdCreate(kernel.machine.memory, String(input.name), integer(input, 'flags'), big(input, 'size'));
    return file instanceof Refusal ? file : install(process, file);
  },
  ftruncate: (kernel, process, input) => {
    const file = memfd(process, input, 'do_ftruncate');
    return file instanceof Refusal ? file : truncate(kernel, file, big(input, 'length'));
  },
  fallocate: onMemfd('vfs_fallocate', ({ inode }, input) =>
    done(inode.fallocate(integer(input, 'mode'), big(input, 'offset'), big(input, 'length'))),
  ),
  lseek: onMemfd('vfs_llseek', (file, input) => {
    const position = file.seek(big(input, 'offset'), integer(input, 'whence'));
    return position instanceof Refusal ? position : { ret: Number(position) };
  }),
  fstat: (_kernel, process, input) => {
    const file = process.file(integer(input, 'fd'));
    if (file instanceof Refusal) return file;
    return { ret: 0, size: hex(file instanceof MemfdFile ? file.inode.size : 0n) };
  },
  add_seals: onMemfd('memfd_fcntl', ({ inode }, input) => done(inode.addSeals(integer(input, 'seals')))),
  get_seals: onMemfd('memfd_fcntl', ({ inode }) => ({ ret: inode.seals })),
  pread: onMemfd('vfs_read', ({ inode }, input) => {
    const length = big(input, 'length');
    if (length > MAX_TRANSFER) return refuse('EINVAL', 'vfs_read', `at most ${MAX_TRANSFER} bytes a call`);
    if (big(input, 'offset') >= 2n ** 63n) return refuse('EINVAL', 'ksys_pread64', 'offset is negative');
    const data = inode.read(big(input, 'offset'), Number(length));
    return { ret: data.length, data: data.toBase64() };
  }),
  pwrite: onMemfd('vfs_write', ({ inode }, input) => {
    const count = inode.write(big(input, 'offset'), bytes(input, 'data'));
    return count instanceof Refusal ? count : { ret: count };
  }),
  read: (_kernel, process, input) => {
    const file = process.file(integer(input, 'fd'));
    return file instanceof Refusal ? file : file.read(big(input, 'length'));
  },
  write: (_kernel, process, input) => {
    const file = process.file(integer(input, 'fd'));
    if (file instanceof Refusal) return file;
    const count = file.write(big(input, 'length'), (input.responses as PageResponse[] | undefined) ?? []);
    return count instanceof Refusal ? count : { ret: count };
  },
  ...LEVERS,
  setuid: (_kernel, process, input) => setUid(process, integer(input, 'uid')),
  setrlimit: (_kernel, process, input) => setRlimit(process, big(input, 'memlock')),
  ioctl: (_kernel, process, input) => {
    const file = process.file(integer(input, 'fd'));
    if (file instanceof Refusal) return file;
    const answer = ioctl(process, file, String(input.request), input.arg ?? {});
    if (answer instanceof Refusal) return answer;
    return { ret: answer.ret ?? 0, arg: encodeArg(answer.arg ?? {}) };
  },
};
