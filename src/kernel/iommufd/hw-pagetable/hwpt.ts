/** Hardware page tables (drivers/iommu/iommufd/hw_pagetable.c): objects that own a domain. */
import type { PciFunction } from '../../../machine/pci/function.ts';
import { type Refusal, refuse } from '../../errno.ts';
import { type Domain, PagingDomain } from '../../iommu/domain.ts';
import { HWPT_ALLOC_DIRTY_TRACKING, HWPT_ALLOC_NEST_PARENT, HWPT_ALLOC_PASID } from '../../uapi/iommufd.ts';
import type { IommufdContext } from '../context.ts';
import type { IommufdDevice } from '../device/device.ts';
import type { FaultQueue } from '../eventq/fault-queue.ts';
import type { Ioas } from '../ioas.ts';
import { IommufdObject } from '../objects.ts';
import { type DriverData, HWPT_DATA_BYTES, HWPT_DATA_TYPE, NO_DATA, readDriverData } from '../selftest/mock-driver.ts';

export abstract class Hwpt extends IommufdObject {
  readonly context: IommufdContext;
  abstract readonly domain: Domain;
  /** The paging HWPT: itself, or the parent of a nested one. Its IOAS gets the reserved ranges of devices. */
  abstract readonly paging: HwptPaging;
  /** Allocated with the flag PASID: PASIDs can be attached to it, and devices on it can have PASIDs attached. */
  abstract readonly pasidCompatible: boolean;
  /** The queue that page faults of its devices go to. */
  fault: FaultQueue | null = null;

  constructor(context: IommufdContext) {
    super();
    this.context = context;
  }

  protected dropFault(): void {
    this.fault?.drop();
  }
}

export class HwptPaging extends Hwpt {
  readonly type = 'hwpt-paging';
  readonly domain: PagingDomain;
  /** Null for a restored HWPT: its mappings never change again (R11). */
  readonly ioas: Ioas | null;
  /** Made by attaching a device to an IOAS id; dies with its last device. */
  readonly auto: boolean;
  /** The token that it is marked with for the next live update (C1); null: it is not marked. */
  mark: bigint | null = null;
  /** It is in an outgoing session, with its iommufd. */
  preserved = false;

  constructor(context: IommufdContext, ioas: Ioas | null, domain: PagingDomain, auto: boolean) {
    super(context);
    this.ioas = ioas;
    this.domain = domain;
    this.auto = auto;
  }

  get restored(): boolean {
    return this.domain.restored;
  }

  get paging(): HwptPaging {
    return this;
  }

  get pasidCompatible(): boolean {
    return this.domain.options.pasid;
  }

  destroy(): void {
    if (this.ioas) {
      this.ioas.iopt.removeDomain(this.domain);
      this.ioas.hwpts.splice(this.ioas.hwpts.indexOf(this), 1);
      this.ioas.drop();
    }
    this.context.kernel.iommu.freeDomain(this.domain);
    this.dropFault();
  }
}

/**
 * Rows 7 and 8 of IOMMU_HWPT_ALLOC: what the IOMMU driver of a function says of flags and driver data. Returns the kind of
 * page table. EOPNOTSUPP, EINVAL, EFAULT.
 */
function checkDriverFlags(fn: PciFunction, context: IommufdContext, flags: number, data: DriverData): 0 | 1 | Refusal {
  const where = 'iommu_domain_alloc_paging_flags';
  const unit = context.kernel.machine.unitOf(fn);
  const { kind, spec } = unit;
  const dirty = (flags & HWPT_ALLOC_DIRTY_TRACKING) !== 0;
  const nest = (flags & HWPT_ALLOC_NEST_PARENT) !== 0;
  const pasid = (flags & HWPT_ALLOC_PASID) !== 0;
  const no = (why: string): Refusal => refuse('EOPNOTSUPP', where, why);
  if (dirty && !(spec.dirtyTracking && fn.spec.dirtyTracking)) return no(`${fn.bdf} cannot track dirty pages`);
  if (nest && !spec.nesting) return no(`IOMMU ${unit.id} cannot nest`);
  if (kind === 'intel-vtd' && pasid && (dirty || nest)) return no('VT-d takes PASID only on first-stage tables');
  if (kind === 'amd-vi' && pasid && (dirty || nest)) return no('AMD takes PASID only on v2 tables');
  if (kind === 'arm-smmuv3' && nest && (dirty || pasid)) return no('SMMUv3 nesting parents take no other flag');
  if (data.length === 0) return 0;
  if (kind !== 'generic' || data.type !== HWPT_DATA_TYPE) return no('the driver takes no such data for a paging HWPT');
  const struct = readDriverData(where, data, HWPT_DATA_BYTES);
  if (!(struct instanceof DataView)) return struct;
  const table = struct.getUint32(4, true);
  if (table > 1 || (table === 1 && !unit.formats[1])) return no('the unit has no such kind of page table');
  return table as 0 | 1;
}

/**
 * Makes a paging HWPT of an IOAS, which its domain does not join yet (`joinIoas`). EOPNOTSUPP, EINVAL, ENOMEM, ENOSPC.
 */
export function allocPagingHwpt(
  context: IommufdContext,
  ioas: Ioas,
  device: IommufdDevice,
  options: { flags: number; auto: boolean; data?: DriverData },
): HwptPaging | Refusal {
  const { flags, auto, data = NO_DATA } = options;
  const tableType = checkDriverFlags(device.fn, context, flags, data);
  if (typeof tableType !== 'number') return tableType;
  const domain = context.kernel.iommu.allocDomain(device.fn, {
    tableType,
    dirtyTracking: (flags & HWPT_ALLOC_DIRTY_TRACKING) !== 0,
    nestParent: (flags & HWPT_ALLOC_NEST_PARENT) !== 0,
    pasid: (flags & HWPT_ALLOC_PASID) !== 0,
  });
  if (!(domain instanceof PagingDomain)) return domain;
  return new HwptPaging(context, ioas, domain, auto);
}

/** The HWPT's domain joins its IOAS, with the errnos of `addDomain`. On failure the caller frees the domain. */
export function joinIoas(hwpt: HwptPaging): Refusal | null {
  const ioas = hwpt.ioas!;
  const refusal = ioas.iopt.addDomain(hwpt.domain);
  if (refusal) return refusal;
  ioas.hwpts.push(hwpt);
  ioas.hold();
  return null;
}
