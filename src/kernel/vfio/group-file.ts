/** The legacy group of VFIO (drivers/vfio/group.c): /dev/vfio/N, whose container is an iommufd here. */
import { Refusal, refuse } from '../errno.ts';
import { type Handlers, type IoctlOk, OpenFile } from '../file.ts';
import { IommufdContext } from '../iommufd/context.ts';
import { Ioas } from '../iommufd/ioas.ts';
import type { Process } from '../process.ts';
import { VfioDeviceFile } from './device-file.ts';
import type { VfioKernel } from './vfio.ts';

const VIABLE = 1;
const CONTAINER_SET = 2;

export class VfioGroupFile extends OpenFile {
  readonly kind = 'vfio-group';
  readonly kernel: VfioKernel;
  readonly group: number;
  container: IommufdContext | null = null;
  /** The last function of the group has left its VFIO driver. */
  dead = false;

  constructor(kernel: VfioKernel, group: number) {
    super();
    this.kernel = kernel;
    this.group = group;
  }

  link(): string {
    return `/dev/vfio/${this.group}${this.dead ? ' (deleted)' : ''}`;
  }

  release(): void {
    this.container?.put();
    this.container = null;
    const { vfio } = this.kernel;
    if (vfio.groupFiles.get(this.group) === this) vfio.groupFiles.delete(this.group);
  }

  override get handlers(): Handlers<'vfio-group', VfioGroupFile> {
    return HANDLERS;
  }

  status(): IoctlOk | Refusal {
    const where = 'vfio_group_ioctl_get_status';
    if (this.dead) return refuse('ENODEV', where, 'no function of the group is on a VFIO driver any more');
    if (this.container) return { arg: { flags: VIABLE | CONTAINER_SET } };
    const owned = (this.kernel.iommu.groups.get(this.group)?.ownerCount ?? 0) > 0;
    return { arg: { flags: owned ? 0 : VIABLE } };
  }

  setContainer(process: Process, fd: number): IoctlOk | Refusal {
    const where = 'vfio_group_ioctl_set_container';
    const file = process.file(fd);
    if (file instanceof Refusal) return file;
    if (this.container) return refuse('EINVAL', where, 'the group has a container already');
    if (this.dead) return refuse('ENODEV', where, 'no function of the group is on a VFIO driver any more');
    if (!(file instanceof IommufdContext)) return refuse('EBADFD', where, `${file.link()} is no container`);
    if (!file.vfioIoas) file.vfioIoas = file.objects.commit(file.objects.reserve(), new Ioas(file));
    this.container = file.get();
    return {};
  }

  unsetContainer(): IoctlOk | Refusal {
    if (!this.container) return refuse('EINVAL', 'vfio_group_ioctl_unset_container', 'the group has no container');
    this.container.put();
    this.container = null;
    return {};
  }

  getDevice(process: Process, name: string): IoctlOk | Refusal {
    const where = 'vfio_group_ioctl_get_device_fd';
    const device = this.dead
      ? undefined
      : this.kernel.vfio.devicesOfGroup(this.group).find(({ fn }) => isNamed(name, fn.bdf));
    if (!device) return refuse('ENODEV', where, `${name} is no function of group ${this.group} on a VFIO driver`);
    if (/[^ ]/.test(name.slice(device.fn.bdf.length)))
      return refuse('EINVAL', 'vfio_pci_core_match', `behind ${device.fn.bdf} nothing may follow: it takes no token`);
    if (!this.container) return refuse('EINVAL', where, 'the group has no container');
    if (device.boundFiles.values().some((file) => file.cdev))
      return refuse('EINVAL', where, 'the device is bound through its cdev');
    const file = new VfioDeviceFile(device, false);
    if (device.bound) file.join();
    else {
      const refusal = file.openForGroup(this.container);
      if (refusal) {
        file.put();
        return refusal;
      }
    }
    const fd = process.install(file, true);
    if (typeof fd === 'number') return { ret: fd };
    file.put();
    return fd;
  }
}

/** Whether a name is that of the function: its address, behind which a space begins options (vfio_pci_core_match). */
const isNamed = (name: string, bdf: string): boolean => name === bdf || name.startsWith(`${bdf} `);

const HANDLERS: Handlers<'vfio-group', VfioGroupFile> = {
  VFIO_GROUP_GET_STATUS: (file) => file.status(),
  VFIO_GROUP_SET_CONTAINER: (file, { container }, process) => file.setContainer(process, container),
  VFIO_GROUP_UNSET_CONTAINER: (file) => file.unsetContainer(),
  VFIO_GROUP_GET_DEVICE_FD: (file, { name = '' }, process) => file.getDevice(process, name.split('\0', 1)[0]!),
};
