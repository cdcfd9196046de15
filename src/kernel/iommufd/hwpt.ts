/** Hardware page tables (drivers/iommu/iommufd/hw_pagetable.c): objects that own a domain. */
import type { PciFunction } from '../../machine/pci.ts';
import { type Refusal, refuse } from '../errno.ts';
import { type Arg, type IoctlOk, num, u64 } from '../file.ts';
import { type Domain, PagingDomain } from '../iommu/domain.ts';
import { HWPT_ALLOC_DIRTY_TRACKING, HWPT_ALLOC_NEST_PARENT, HWPT_ALLOC_PASID } from '../uapi/iommufd.ts';
import type { IommufdContext } from './context.ts';
import type { IommufdDevice } from './device.ts';
import type { FaultQueue } from './extensions/fault-queue.ts';
import { type DriverData, HWPT_DATA_BYTES, HWPT_DATA_TYPE, NO_DATA, readDriverData } from './extensions/mock-driver.ts';
import type { Ioas } from './ioas.ts';
import { IommufdObject } from './objects.ts';
import { UMAX } from './span.ts';

export abstract class Hwpt extends IommufdObject {
  readonly context: IommufdContext;
  abstract readonly domain: Domain;
  /** The HWPT whose IOAS the device's reserved ranges go to. */
  abstract readonly paging: HwptPaging;
  /** Allocated with PASID: PASIDs can be attached, and the devices on it can have some. */
  abstract readonly pasidCompatible: boolean;
  /** Where page faults of its devices go. */
  fault: FaultQueue | null = null;

  constructor(context: IommufdContext) {
    super();
    this.context = context;
  }

  protected dropFault(): void {
    if (this.fault) this.fault.users--;
  }
}

export class HwptPaging extends Hwpt {
  readonly type = 'hwpt-paging';
  readonly domain: PagingDomain;
  /** Null for a restored HWPT: its mappings never change again (R11). */
  readonly ioas: Ioas | null;
  /** Made by attaching a device to an IOAS id; dies with its last device. */
  readonly auto: boolean;
  /** The token it is marked with for the next live update. */
  mark: bigint | null = null;
  /** In an outgoing session. */
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
      this.ioas.hwpts = this.ioas.hwpts.filter((other) => other !== this);
      this.ioas.users--;
    }
    this.context.kernel.iommu.freeDomain(this.domain);
    this.dropFault();
  }
}

/** Which flags and driver data the IOMMU driver of a function takes; EOPNOTSUPP, EINVAL. */
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

/** Makes a paging HWPT of an IOAS without attaching it: `joinIoas` does. */
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

/** The HWPT's domain joins its IOAS; on failure the domain is gone. */
export function joinIoas(hwpt: HwptPaging): Refusal | null {
  const ioas = hwpt.ioas!;
  const refusal = ioas.iopt.addDomain(hwpt.domain);
  if (refusal) return refusal;
  ioas.hwpts.push(hwpt);
  ioas.users++;
  return null;
}

export function hwptSetDirtyTracking(context: IommufdContext, arg: Arg): IoctlOk | Refusal {
  const where = 'iommufd_hwpt_set_dirty_tracking';
  const flags = num(arg, 'flags');
  if (flags & ~1) return refuse('EOPNOTSUPP', where, 'unknown flag');
  const hwpt = context.objects.lookup(num(arg, 'hwpt_id'), HwptPaging, 'a paging HWPT');
  if (!(hwpt instanceof HwptPaging)) return hwpt;
  if (hwpt.restored) return refuse('EINVAL', where, 'a restored HWPT is only a handle: hot-swap to a new one', 'R11');
  if (!hwpt.domain.options.dirtyTracking)
    return refuse('EOPNOTSUPP', where, 'the HWPT was allocated without DIRTY_TRACKING');
  const { domain } = hwpt;
  if (flags & 1)
    for (const area of hwpt.ioas!.iopt.areas) {
      const shift = BigInt(domain.format.minShift);
      for (const leaf of [...domain.table.leaves(Number(area.iova >> shift), Number(area.last >> shift))])
        if (leaf.dirty) domain.table.clearDirty(leaf.unit);
    }
  domain.dirtyEnabled = (flags & 1) === 1;
  context.kernel.iommu.reprogram(domain);
  return {};
}

/** Bits of a bitmap at the most: 4 GiB of 2 KiB units, a sane bound for a service. */
const MAX_BITS = 2 ** 21;

export function hwptGetDirtyBitmap(context: IommufdContext, arg: Arg): IoctlOk | Refusal {
  const where = 'iommufd_hwpt_get_dirty_bitmap';
  const flags = num(arg, 'flags');
  if (flags & ~1 || num(arg, '__reserved')) return refuse('EOPNOTSUPP', where, 'unknown flag, or __reserved is not 0');
  const hwpt = context.objects.lookup(num(arg, 'hwpt_id'), HwptPaging, 'a paging HWPT');
  if (!(hwpt instanceof HwptPaging)) return hwpt;
  if (hwpt.restored) return refuse('EINVAL', where, 'a restored HWPT is only a handle: hot-swap to a new one', 'R11');
  const iova = u64(arg, 'iova');
  const length = u64(arg, 'length');
  const pageSize = u64(arg, 'page_size');
  const check = 'iommufd_check_iova_range';
  if (length === 0n) return refuse('EINVAL', check, 'length is 0');
  if (iova + length - 1n > UMAX) return refuse('EOVERFLOW', check, 'the range reaches beyond 64 bits');
  const { alignment } = hwpt.ioas!.iopt;
  if (iova % alignment || (iova + length) % alignment)
    return refuse('EINVAL', check, `iova and length are multiples of ${alignment}`);
  if (pageSize === 0n) return refuse('EINVAL', check, 'page_size is 0');
  if (iova & (pageSize - 1n) || (iova + length) & (pageSize - 1n))
    return refuse('EINVAL', check, 'iova and length are multiples of page_size');
  const { domain } = hwpt;
  if (!domain.options.dirtyTracking)
    return refuse('EOPNOTSUPP', 'iopt_read_and_clear_dirty_data', 'the HWPT was allocated without DIRTY_TRACKING');
  const bits = (length + pageSize - 1n) / pageSize;
  if (bits > BigInt(MAX_BITS))
    return refuse('ENOMEM', where, `a bitmap has at most ${MAX_BITS} bits here; read it in pieces`);
  const bytes = new Uint8Array(Math.ceil(Number(bits) / 64) * 8);
  readDirty(hwpt, iova, iova + length - 1n, pageSize, bytes, (flags & 1) === 0);
  return { arg: { data: bytes } };
}

/**
 * Walks areas from `first` on; a hole ends the walk without an error, as in iopt_read_and_clear_dirty. A leaf that the
 * range touches is cleared as a whole, and its bits are set as far as they lie behind the range's first bit, also
 * beyond its last; one that begins before the range is cleared without a bit.
 */
function readDirty(
  hwpt: HwptPaging,
  first: bigint,
  last: bigint,
  pageSize: bigint,
  bitmap: Uint8Array,
  clear: boolean,
): void {
  const { table, format } = hwpt.domain;
  const shift = BigInt(format.minShift);
  for (let cursor = first; cursor <= last; ) {
    const area = hwpt.ioas!.iopt.areas.at(cursor);
    if (!area) return;
    const end = area.last < last ? area.last : last;
    for (const leaf of [...table.leaves(Number(cursor >> shift), Number(end >> shift))]) {
      if (!leaf.dirty) continue;
      if (clear) table.clearDirty(leaf.unit);
      const start = BigInt(leaf.unit) << shift;
      if (start < first) continue;
      const from = Number((start - first) / pageSize);
      const to = Number((start + 2n ** BigInt(leaf.shift) - 1n - first) / pageSize);
      for (let bit = from; bit <= to && bit < bitmap.length * 8; bit++) bitmap[bit >>> 3]! |= 1 << (bit & 7);
    }
    cursor = end + 1n;
  }
}
