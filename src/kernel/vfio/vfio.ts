/** VFIO devices: what vfio-pci makes of a function (drivers/vfio/vfio_main.c, group.c). */
import type { PciFunction } from '../../machine/pci.ts';
import { assert, type Refusal, refuse } from '../errno.ts';
import type { IommufdDevice } from '../iommufd/device.ts';
import type { Kernel } from '../kernel.ts';
import type { VfioDeviceFile } from './device-file.ts';
import type { VfioGroupFile } from './group-file.ts';

export class VfioDevice {
  readonly fn: PciFunction;
  /** N of /dev/vfio/devices/vfioN. */
  readonly index: number;
  /** All open files of the device, bound or not. */
  files: readonly VfioDeviceFile[] = [];
  /** Files through which it is bound: one cdev file, or those of the legacy group. */
  boundFiles: readonly VfioDeviceFile[] = [];
  bound: IommufdDevice | null = null;
  /** PASIDs that were attached through it. */
  readonly pasids = new Set<number>();
  /** The driver is to be unbound and waits for the last file. */
  unbinding = false;

  constructor(fn: PciFunction, index: number) {
    this.fn = fn;
    this.index = index;
  }

  get path(): string {
    return `/dev/vfio/devices/vfio${this.index}`;
  }
}

export class Vfio {
  private readonly _kernel: Kernel;
  readonly devices = new Map<string, VfioDevice>();
  /** The open file of each legacy group. */
  readonly groupFiles = new Map<number, VfioGroupFile>();

  constructor(kernel: Kernel) {
    this._kernel = kernel;
  }

  /** vfio-pci's probe: EINVAL a bridge. */
  probe(fn: PciFunction): Refusal | null {
    if (fn.spec.class === '0604') return refuse('EINVAL', 'vfio_pci_core_register_device', `${fn.bdf} is a bridge`);
    const taken = new Set([...this.devices.values()].map((device) => device.index));
    let index = 0;
    while (taken.has(index)) index++;
    this.devices.set(fn.bdf, new VfioDevice(fn, index));
    return null;
  }

  /** The driver lets go of a function that no file is open of. */
  remove(fn: PciFunction): void {
    const device = this.devices.get(fn.bdf)!;
    assert(device.files.length === 0, 'no file of a removed device is open');
    this.devices.delete(fn.bdf);
    this.groupShrank(fn);
  }

  /** A function's node went away: a group without any other is dead, even if its file is still open. */
  groupShrank(fn: PciFunction): void {
    const file = this.groupFiles.get(fn.spec.group);
    if (file && this.devicesOfGroup(fn.spec.group).length === 0) {
      file.dead = true;
      this.groupFiles.delete(fn.spec.group);
    }
  }

  /** Devices of a legacy group that are not about to go. */
  devicesOfGroup(group: number): VfioDevice[] {
    return [...this.devices.values()].filter((device) => device.fn.spec.group === group && !device.unbinding);
  }

  /** Whether a cdev of the group is bound. */
  groupHasBoundCdev(group: number): boolean {
    return [...this.devices.values()].some(
      (device) => device.fn.spec.group === group && device.boundFiles.some((file) => file.cdev),
    );
  }

  byPath(path: string): VfioDevice | undefined {
    return [...this.devices.values()].find((device) => device.path === path && !device.unbinding);
  }

  /** A file of a device was closed: a waiting unbind may go on. */
  fileClosed(device: VfioDevice): void {
    if (device.unbinding && device.files.length === 0) this._kernel.drivers.finishUnbind(device.fn);
  }
}
