/** open(2): what a path stands for, and how it is opened. */
import { Refusal, refuse } from '../errno.ts';
import type { OpenFile } from '../file.ts';
import { IommufdContext } from '../iommufd/context.ts';
import type { Kernel } from '../kernel.ts';
import { LiveUpdateFile } from '../liveupdate/files.ts';
import { MemfdFile } from '../mm/memfd-file.ts';
import { truncate } from '../mm/truncate.ts';
import { NullFile } from '../null-file.ts';
import type { Process } from '../process.ts';
import { OPEN_FLAGS } from '../uapi/bits.ts';
import { VfioDeviceFile } from '../vfio/device-file.ts';
import { VfioGroupFile } from '../vfio/group-file.ts';

const {
  O_WRONLY,
  O_CREAT,
  O_EXCL,
  O_NOCTTY,
  O_TRUNC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_CLOEXEC,
  O_TMPFILE,
  O_RDWR,
  O_LARGEFILE,
} = OPEN_FLAGS;
const TMPFILE = O_TMPFILE & ~O_DIRECTORY;
/** What an open file does not remember of its flags (do_dentry_open). */
const FORGOTTEN = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC;

/** Opens a path. EINVAL flags, ENOENT, ELOOP, EEXIST, ENOTDIR, and what the kind of file says. */
export function open(kernel: Kernel, process: Process, path: string, flags: number = O_RDWR): OpenFile | Refusal {
  const why = wrongFlags(flags);
  if (why) return refuse('EINVAL', 'build_open_flags', why);
  const self = /^\/proc\/self\/fd\/(\d+)$/.exec(path);
  const source = self ? process.file(Number(self[1])) : null;
  if (source instanceof Refusal)
    return refuse('ENOENT', 'proc_pid_get_link', `process ${process.pid} has no descriptor ${self![1]} open`);
  if (source && flags & O_NOFOLLOW) return refuse('ELOOP', 'pick_link', `${path} is a symbolic link`);
  const refusal = isThere(kernel, path) || source ? notSo(flags) : null;
  if (refusal) return refusal;
  const file = source ? reopen(kernel, source) : openPath(kernel, path);
  if (file instanceof Refusal) return file;
  file.flags = (flags & ~FORGOTTEN) | O_LARGEFILE;
  const failed = flags & O_TRUNC && file instanceof MemfdFile ? truncate(kernel, file.inode, 0n) : null;
  if (!failed) return file;
  file.put();
  return failed;
}

/** build_open_flags */
function wrongFlags(flags: number): string | null {
  if (flags & O_CREAT && flags & O_DIRECTORY && !(flags & TMPFILE)) return 'O_CREAT makes no directories';
  if (!(flags & TMPFILE)) return null;
  if (!(flags & O_DIRECTORY)) return 'O_TMPFILE has the bit of O_DIRECTORY in it';
  return flags & (O_WRONLY | O_RDWR) ? null : 'a temporary file is opened for writing';
}

/** What do_open says of something that is there and no directory. */
function notSo(flags: number): Refusal | null {
  const where = 'do_open';
  if (flags & O_CREAT && flags & O_EXCL) return refuse('EEXIST', where, 'it is there already, and O_EXCL is set');
  return flags & O_DIRECTORY ? refuse('ENOTDIR', where, 'it is no directory') : null;
}

const GROUP = /^\/dev\/vfio\/(\d+)$/;
const NODES: ReadonlySet<string> = new Set(['/dev/iommu', '/dev/vfio/vfio', '/dev/null', '/dev/liveupdate']);
function isThere({ luo, vfio }: Kernel, path: string): boolean {
  const group = GROUP.exec(path);
  if (group) return vfio.devicesOfGroup(Number(group[1])).length > 0;
  return path === '/dev/liveupdate' ? luo !== null : NODES.has(path) || vfio.byPath(path) !== undefined;
}

function openPath(kernel: Kernel, path: string): OpenFile | Refusal {
  const where = 'do_filp_open';
  if (path === '/dev/iommu' || path === '/dev/vfio/vfio')
    return kernel.faults.refusal('iommufd.open', 'iommufd_fops_open') ?? new IommufdContext(kernel, path);
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
  const group = GROUP.exec(path);
  if (group) return openGroup(kernel, Number(group[1]));
  if (/^\/dev\/vfio\/devices\/vfio\d+$/.test(path))
    return refuse(
      'ENOENT',
      where,
      `there is no ${path}: the function that it would be of is on no VFIO driver in this kernel; bind vfio-pci to it first, and see its \`cdev\``,
    );
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

/** The link of a file of a device node that is still there. */
const NODE = /^\/dev\/.*(?<! \(deleted\))$/;

/** open(2) of a link in /proc/self/fd: a node is opened once more, as by its path. ENXIO what cannot be opened again. */
function reopen(kernel: Kernel, file: OpenFile): OpenFile | Refusal {
  const link = file.link();
  return NODE.test(link) ? openPath(kernel, link) : file.reopen();
}
