/** VFIO devices: functions that are bound to a VFIO driver (drivers/vfio/vfio_main.c, group.c). */

import { type PciFunction, virtualFunctionsOf } from '../../machine/pci/function.ts';
import type { Drivers } from '../drivers.ts';
import { assert, type Refusal, refuse } from '../errno.ts';
import type { EventDataOf } from '../events.ts';
import type { RestoredDomains } from '../iommu/liveupdate/restored.ts';
import type { IommufdKernel } from '../iommufd/context.ts';
import type { IommufdDevice } from '../iommufd/device/device.ts';
import { LazyMap } from '../lazy-map.ts';
import { LazySet } from '../lazy-set.ts';
import { TakenNumbers } from '../taken-numbers.ts';
import type { VfioDeviceFile } from './device-file.ts';
import type { VfioGroupFile } from './group-file.ts';
import type { VfioPciCore } from './pci/core.ts';

type ResetReason = EventDataOf<'pci.reset'>['why'];

/** What VFIO and drivers need of the kernel. */
export interface VfioKernel extends IommufdKernel {
  readonly vfio: Vfio;
  readonly drivers: Drivers;
  readonly restored: RestoredDomains;
  /** Resets a function; its translation stays (R18). */
  resetFunction(fn: PciFunction, why: ResetReason): void;
  removeFunction(fn: PciFunction): void;
}

export class VfioDevice {
  readonly kernel: VfioKernel;
  readonly fn: PciFunction;
  /** N of /dev/vfio/devices/vfioN. */
  readonly index: number;
  /** All open files of the device, bound or not. */
  readonly files = new LazySet<VfioDeviceFile>();
  /** The files through which it is bound: one cdev file, or any number of files of the legacy group. */
  readonly boundFiles = new LazySet<VfioDeviceFile>();
  /** PASIDs that were attached through it. */
  readonly pasids = new LazySet<number>();
  bound: IommufdDevice | null = null;
  /** What vfio-pci keeps of it from the first open to the last close. */
  pci: VfioPciCore | null = null;
  /** Log2 of how many vectors MSI was enabled with last (vdev->msi_qmax), for the next user of the device, too. */
  msiQmax = 0;
  /** It was used, and has not been reset since. */
  needsReset = false;
  /** Its driver waits for the close of the last file to be unbound. */
  unbinding = false;
  /** Its function is removed when the driver is unbound. */
  removing = false;

  constructor(kernel: VfioKernel, fn: PciFunction, index: number) {
    this.kernel = kernel;
    this.fn = fn;
    this.index = index;
  }

  /** A program has enabled a type of interrupts by SET_IRQS, or the switch beside it is on. Eventfds of errors and of the request do not count. */
  get interruptsEnabled(): boolean {
    return this.fn.interruptsEnabled || (this.pci !== null && this.pci.irqs.type !== null);
  }

  get path(): string {
    return `/dev/vfio/devices/vfio${this.index}`;
  }
}

/** Classes of bridges, whose configuration space has another header than that of endpoints. */
const BRIDGES: readonly string[] = ['0604', '0607', '0609'];

export class Vfio {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _indexes: () => null, _places: () => null };

  private readonly _kernel: VfioKernel;
  readonly devices = new Map<string, VfioDevice>();
  /** Numbers of devices; null: not asked for yet. */
  private _indexes: TakenNumbers | null = null;
  /** `devices` by their paths and by their groups; null: not asked for yet. */
  private _places: Places | null = null;
  /** The open file of each legacy group. */
  readonly groupFiles = new LazyMap<number, VfioGroupFile>();

  constructor(kernel: VfioKernel) {
    this._kernel = kernel;
  }

  /**
   * The probe of a VFIO driver (vfio_pci_core_register_device): EINVAL a bridge, EBUSY a PF whose VFs exist, EINVAL no
   * IOMMU group, or no coherency (vfio_group_find_or_alloc).
   */
  probe(fn: PciFunction): Refusal | null {
    const where = 'vfio_pci_core_register_device';
    const { class: code } = fn.spec;
    if (code !== null && BRIDGES.includes(code)) return refuse('EINVAL', where, `${fn.bdf} is a bridge`);
    const { machine } = this._kernel;
    const [vf] = virtualFunctionsOf(fn, machine.functions.values());
    if (vf)
      return refuse(
        'EBUSY',
        where,
        `${fn.bdf} is a physical function whose virtual functions exist, such as ${vf.bdf}`,
      );
    if (fn.spec.group === null)
      return refuse('EINVAL', 'vfio_group_find_or_alloc', `${fn.bdf} has no IOMMU group: the host has no IOMMU`);
    const unit = machine.unitOf(fn);
    if (!unit.spec.cacheCoherency)
      return refuse('EINVAL', 'vfio_group_find_or_alloc', `IOMMU ${unit.id} cannot guarantee cache coherency`);
    this._indexes ??= new TakenNumbers(this.devices.values().map((device) => device.index));
    const index = this._indexes.firstFree(0);
    const device = new VfioDevice(this._kernel, fn, index);
    this._indexes.take(index);
    this.devices.set(fn.bdf, device);
    if (this._places) note(this._places, device);
    return null;
  }

  /** The driver is unbound from a function of which no file is open. */
  remove(fn: PciFunction): void {
    const device = this.devices.get(fn.bdf)!;
    assert(device.files.size === 0, 'no file of a removed device is open');
    this.devices.delete(fn.bdf);
    this._indexes?.give(device.index);
    this._places?.paths.delete(device.path);
    this._places?.groups.get(fn.spec.group!)?.delete(device);
    this.groupShrank(fn);
  }

  /** A device of a group was removed. If it was the last one the group's file is dead, even if it is still open. */
  groupShrank(fn: PciFunction): void {
    const group = fn.spec.group!;
    const file = this.groupFiles.get(group);
    if (file && this.devicesOfGroup(group).length === 0) {
      file.dead = true;
      this.groupFiles.delete(group);
    }
  }

  private _known(): Places {
    if (this._places) return this._places;
    this._places = { paths: new Map(), groups: new Map() };
    for (const device of this.devices.values()) note(this._places, device);
    return this._places;
  }

  /** The devices of a legacy group. */
  allOfGroup(group: number | null): Iterable<VfioDevice> {
    return (group === null ? undefined : this._known().groups.get(group)) ?? [];
  }

  /** The devices of a legacy group but those that are being unbound. */
  devicesOfGroup(group: number): VfioDevice[] {
    return [...this.allOfGroup(group)].filter(({ unbinding }) => !unbinding);
  }

  /** Whether a cdev of the group is bound. */
  groupHasBoundCdev(group: number): boolean {
    for (const { boundFiles } of this.allOfGroup(group)) for (const { cdev } of boundFiles) if (cdev) return true;
    return false;
  }

  byPath(path: string): VfioDevice | undefined {
    const device = this._known().paths.get(path);
    return device?.unbinding === false ? device : undefined;
  }

  /** A file of a device was closed: goes on with an unbind or a removal that waits for the last one. */
  fileClosed(device: VfioDevice): void {
    if (!device.unbinding || device.files.size > 0) return;
    this._kernel.drivers.finishUnbind(device.fn);
    if (device.removing) this._kernel.removeFunction(device.fn);
  }
}

interface Places {
  paths: Map<string, VfioDevice>;
  groups: Map<number, Set<VfioDevice>>;
}

function note({ paths, groups }: Places, device: VfioDevice): void {
  paths.set(device.path, device);
  const group = device.fn.spec.group!;
  groups.set(group, (groups.get(group) ?? new Set()).add(device));
}
