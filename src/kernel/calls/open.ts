/** open(2): what a path stands for. */
import { Refusal, refuse } from '../errno.ts';
import { NullFile, type OpenFile } from '../file.ts';
import { IommufdContext } from '../iommufd/context.ts';
import type { Kernel } from '../kernel.ts';
import { LiveUpdateFile } from '../liveupdate/files.ts';
import type { Process } from '../process.ts';
import { VfioDeviceFile } from '../vfio/device-file.ts';
import { VfioGroupFile } from '../vfio/group-file.ts';

/** Opens a path. ENOENT, and what the kind of file says. */
export function open(kernel: Kernel, process: Process, path: string): OpenFile | Refusal {
  const where = 'do_filp_open';
  if (path === '/dev/iommu' || path === '/dev/vfio/vfio')
    return kernel.faults.refusal('allocation', 'iommufd_fops_open') ?? new IommufdContext(kernel, path);
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
  if (self) return reopen(kernel, process, Number(self[1]));
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

/** open(2) of /proc/self/fd/N: a node is opened once more, as by its path. ENOENT; ENXIO for what cannot be opened again. */
function reopen(kernel: Kernel, process: Process, fd: number): OpenFile | Refusal {
  const file = process.file(fd);
  if (file instanceof Refusal)
    return refuse('ENOENT', 'proc_pid_get_link', `process ${process.pid} has no descriptor ${fd} open`);
  const link = file.link();
  return NODE.test(link) ? open(kernel, process, link) : file.reopen();
}
