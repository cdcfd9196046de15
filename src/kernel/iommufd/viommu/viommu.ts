/** Virtual IOMMUs (drivers/iommu/iommufd/viommu.c): what a guest sees of the IOMMU behind which its devices are. */
import type { IommuUnit } from '../../../machine/iommu-unit.ts';
import type { PciFunction } from '../../../machine/pci/function.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { IoctlOk } from '../../file.ts';
import type { DomainGate } from '../../iommu/domain.ts';
import type { ArgOf } from '../../uapi/index.ts';
import type { IommufdContext } from '../context.ts';
import { IommufdDevice } from '../device/device.ts';
import type { Veventq } from '../eventq/veventq.ts';
import { HwptPaging } from '../hw-pagetable/hwpt.ts';
import { IommufdObject } from '../objects.ts';
import {
  canNest,
  type DriverData,
  readDriverData,
  VEVENTQ_TYPE,
  VIOMMU_DATA_BYTES,
  VIOMMU_TYPE,
} from '../selftest/mock-driver.ts';
import type { HwQueue } from './hw-queue.ts';
import type { Vdevice } from './vdevice.ts';
import { VIOMMU_PAGE_BYTES, ViommuPage } from './viommu-page.ts';

export class Viommu extends IommufdObject implements DomainGate {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _byFunction: () => null };

  readonly type = 'viommu';
  readonly context: IommufdContext;
  readonly parent: HwptPaging;
  readonly unit: IommuUnit;
  /** vDEVICEs by the number that the guest knows each device by. */
  readonly vdevices = new Map<bigint, Vdevice>();
  /** The same by function; null: not asked for yet, or no longer known. */
  private _byFunction: Map<PciFunction, Vdevice> | null = null;
  veventqs: Veventq[] = [];
  /** What the driver remembers of its hardware queues, by index. */
  readonly hwQueues: (HwQueue | null)[] = [];
  /** A page of registers that the VMM can map for the guest. */
  page: ViommuPage | null = null;
  /** Functions on nested HWPTs of this vIOMMU, each with the number that it had when it came. */
  private readonly _arrived = new Map<PciFunction, bigint>();

  constructor(context: IommufdContext, parent: HwptPaging, unit: IommuUnit) {
    super();
    this.context = context;
    this.parent = parent;
    this.unit = unit;
    parent.hold();
  }

  add(vdevice: Vdevice): void {
    this.vdevices.set(vdevice.virtId, vdevice);
    this._byFunction?.set(vdevice.device.fn, vdevice);
  }

  remove(vdevice: Vdevice): void {
    this.vdevices.delete(vdevice.virtId);
    this._byFunction?.delete(vdevice.device.fn);
  }

  /** The attach_dev of its nested domains: ENOENT for a function without a vDEVICE. */
  admit(fn: PciFunction): Refusal | null {
    if (this._vdeviceOf(fn)) return null;
    return refuse('ENOENT', 'iommufd_viommu_get_vdev_id', `${fn.bdf} has no vDEVICE on vIOMMU ${this.id}`);
  }

  /** Functions have come to a nested HWPT of this vIOMMU, from elsewhere. */
  arrive(functions: readonly PciFunction[]): void {
    for (const fn of functions) this._arrived.set(fn, this._vdeviceOf(fn)!.virtId);
  }

  leave(functions: readonly PciFunction[]): void {
    for (const fn of functions) this._arrived.delete(fn);
  }

  /**
   * iommufd_viommu_report_event: ENOENT the function is not here, or has number 0; EOPNOTSUPP there is no queue for it.
   */
  reportEvent(fn: PciFunction): Refusal | null {
    const virtId = this._arrived.get(fn);
    if (!virtId) return refuse('ENOENT', 'iommufd_test_trigger_vevent', `${fn.bdf} has no number on the vIOMMU`);
    const queue = this.veventqs.find(({ eventType }) => eventType === VEVENTQ_TYPE);
    if (!queue)
      return refuse('EOPNOTSUPP', 'iommufd_viommu_report_event', `vIOMMU ${this.id} has no queue for such events`);
    queue.report(Number(virtId & 0xffffffffn));
    return null;
  }

  destroy(): void {
    this.page?.destroy();
    this.parent.drop();
  }

  private _vdeviceOf(fn: PciFunction): Vdevice | undefined {
    this._byFunction ??= new Map(this.vdevices.values().map((vdevice) => [vdevice.device.fn, vdevice]));
    return this._byFunction.get(fn);
  }
}

/** iommufd_viommu_alloc_ioctl. EOPNOTSUPP, ENOENT device or parent, EINVAL no nesting parent, or the driver data. */
export function viommuAlloc(context: IommufdContext, arg: ArgOf<'IOMMU_VIOMMU_ALLOC'>): IoctlOk | Refusal {
  const where = 'iommufd_viommu_alloc_ioctl';
  const { type } = arg;
  if (arg.flags || type === 0) return refuse('EOPNOTSUPP', where, 'flags must be 0, type must not');
  const device = context.objects.lookup(arg.dev_id, IommufdDevice, 'a device');
  if (!(device instanceof IommufdDevice)) return device;
  const unit = context.kernel.machine.unitOf(device.fn);
  if (!hasViommu(unit, type))
    return refuse('EOPNOTSUPP', where, `the driver of IOMMU ${unit.id} has no vIOMMU of this type`);
  const parent = context.objects.lookup(arg.hwpt_id, HwptPaging, 'a paging HWPT');
  if (!(parent instanceof HwptPaging)) return parent;
  if (!parent.domain.options.nestParent)
    return refuse('EINVAL', where, `HWPT ${parent.id} was not allocated with NEST_PARENT`);
  const injected = context.kernel.faults.refusal('viommu.alloc', where);
  if (injected) return injected;
  const viommu = new Viommu(context, parent, unit);
  const bytes = arg.data ?? null;
  const data = initialize(viommu, { type, length: arg.data_len ?? 0, bytes });
  if (data && 'errno' in data) {
    viommu.destroy();
    return data;
  }
  const id = context.objects.commit(context.objects.reserve(), viommu).id;
  return { arg: { out_viommu_id: id, ...(data && { data }) } };
}

/**
 * Whether a driver has vIOMMUs of a type. AMD's takes any type, for one that can do nothing; VT-d and SMMUv3 have none
 * here.
 */
function hasViommu(unit: IommuUnit, type: number): boolean {
  return unit.kind === 'amd-vi' || (canNest(unit) && type === VIOMMU_TYPE);
}

/**
 * mock_viommu_init: returns the driver data that the caller finds afterwards, or null if it gave none. EINVAL, EFAULT,
 * ENOMEM.
 */
function initialize(viommu: Viommu, data: DriverData): Uint8Array | Refusal | null {
  if (data.length === 0 || !canNest(viommu.unit)) return null;
  const struct = readDriverData('mock_viommu_init', data, VIOMMU_DATA_BYTES);
  if (!(struct instanceof DataView)) return struct;
  const word = struct.getUint32(0, true);
  const page = ViommuPage.make(viommu, word);
  if (!page) return refuse('ENOMEM', 'mock_viommu_init', 'the host has no memory left');
  viommu.page = page;
  struct.setUint32(4, word, true);
  struct.setBigUint64(8, page.offset, true);
  struct.setBigUint64(16, VIOMMU_PAGE_BYTES, true);
  return new Uint8Array(struct.buffer).slice(0, data.length);
}
