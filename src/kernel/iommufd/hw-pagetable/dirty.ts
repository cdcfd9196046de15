/** Which pages devices have written (drivers/iommu/iommufd/hw_pagetable.c, io_pagetable.c). */
import { MAX_DIRTY_BITS } from '../../../limits.ts';
import { highOf, lowOf, UMAX, unitOf } from '../../../machine/address.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { IoctlOk } from '../../file.ts';
import type { ArgOf } from '../../uapi/index.ts';
import type { AreaTable } from '../areas/area-table.ts';
import type { IommufdContext } from '../context.ts';
import { HwptPaging } from './hwpt.ts';

/**
 * IOMMU_HWPT_SET_DIRTY_TRACKING. EOPNOTSUPP flags, ENOENT, EINVAL restored (R11), EOPNOTSUPP. Enabling clears all
 * marks.
 */
export function hwptSetDirtyTracking(
  context: IommufdContext,
  arg: ArgOf<'IOMMU_HWPT_SET_DIRTY_TRACKING'>,
): IoctlOk | Refusal {
  const where = 'iommufd_hwpt_set_dirty_tracking';
  const { flags } = arg;
  if (flags & ~1) return refuse('EOPNOTSUPP', where, 'unknown flag');
  const hwpt = context.objects.lookup(arg.hwpt_id, HwptPaging, 'a paging HWPT');
  if (!(hwpt instanceof HwptPaging)) return hwpt;
  if (hwpt.restored) return refuse('EINVAL', where, 'a restored HWPT is only a handle: hot-swap to a new one', 'R11');
  if (!hwpt.domain.options.dirtyTracking)
    return refuse('EOPNOTSUPP', where, 'the HWPT was allocated without DIRTY_TRACKING');
  const { domain } = hwpt;
  if (flags & 1) domain.table.eachDirty(0, Number.MAX_SAFE_INTEGER, true, () => {});
  context.kernel.iommu.setDirtyTracking(domain, (flags & 1) === 1);
  return {};
}

/** How many bits a bitmap of `length` bytes has, one for each `pageSize` bytes. */
export const dirtyBits = (length: bigint, pageSize: bigint): bigint =>
  pageSize === 0n ? 0n : (length + pageSize - 1n) / pageSize;

/**
 * IOMMU_HWPT_GET_DIRTY_BITMAP: the checks of README.md. Bit 0 is `iova`; without NO_CLEAR what is reported is cleared.
 */
export function hwptGetDirtyBitmap(
  context: IommufdContext,
  arg: ArgOf<'IOMMU_HWPT_GET_DIRTY_BITMAP'>,
): IoctlOk | Refusal {
  const where = 'iommufd_hwpt_get_dirty_bitmap';
  const { flags } = arg;
  if (flags & ~1 || arg.__reserved) return refuse('EOPNOTSUPP', where, 'unknown flag, or __reserved is not 0');
  const hwpt = context.objects.lookup(arg.hwpt_id, HwptPaging, 'a paging HWPT');
  if (!(hwpt instanceof HwptPaging)) return hwpt;
  if (hwpt.restored) return refuse('EINVAL', where, 'a restored HWPT is only a handle: hot-swap to a new one', 'R11');
  const { iova, length } = arg;
  const pageSize = arg.page_size;
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
  const bits = dirtyBits(length, pageSize);
  if (bits > BigInt(MAX_DIRTY_BITS))
    return refuse('ENOMEM', where, `a bitmap has at most ${MAX_DIRTY_BITS} bits here; read it in pieces`);
  const bytes = new Uint8Array(Math.ceil(Number(bits) / 64) * 8);
  readDirty(hwpt, iova, iova + length - 1n, pageSize, bytes, (flags & 1) === 0);
  return { arg: { data: bytes } };
}

/**
 * iopt_read_and_clear_dirty_data: sets the bits of leaves in [first, last] that were written to. A hole between areas ends
 * the walk without an error. A leaf that the range touches is cleared as a whole; it has bits up to its own end, also behind
 * `last`, and none if it begins before `first`.
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
  const { minShift } = format;
  const firstUnit = unitOf(highOf(first), lowOf(first), minShift);
  const lastUnit = unitOf(highOf(last), lowOf(last), minShift);
  const size = Number(pageSize);
  const bits = bitmap.length * 8;
  table.eachDirty(firstUnit, mappedUntil(hwpt.ioas!.iopt.areas, first, lastUnit, minShift), clear, (unit, shift) => {
    const start = (unit - firstUnit) * 2 ** minShift;
    if (start < 0) return;
    const to = Math.min(bits - 1, Math.floor((start + 2 ** shift - 1) / size));
    for (let bit = Math.floor(start / size); bit <= to; bit++) bitmap[bit >>> 3]! |= 1 << (bit & 7);
  });
}

/** Returns the last unit that is mapped without a hole from `first` on, at most `last`; -1 if `first` is not mapped. */
function mappedUntil(areas: AreaTable, first: bigint, last: number, shift: number): number {
  const high = highOf(first);
  const low = lowOf(first);
  if (!areas.seek(high, low) || !areas.reaches(high, low)) return -1;
  let until = unitOf(areas.lastHigh, areas.lastLow, shift);
  while (until < last && areas.next() && unitOf(areas.iovaHigh, areas.iovaLow, shift) === until + 1)
    until = unitOf(areas.lastHigh, areas.lastLow, shift);
  return Math.min(until, last);
}
