/** The type1 container requests of VFIO on an iommufd (drivers/iommu/iommufd/vfio_compat.c). */
import { MAX_INFO } from '../../limits.ts';
import { PAGE, UMAX } from '../../machine/address.ts';
import { READ, WRITE } from '../../machine/page-table.ts';
import { type Refusal, refuse } from '../errno.ts';
import type { Arg, IoctlOk } from '../file.ts';
import type { Process } from '../process.ts';
import type { ArgOf } from '../uapi/index.ts';
import type { IommufdContext } from './context.ts';
import { mapUser } from './io-pagetable/mapping.ts';
import { span } from './io-pagetable/span.ts';
import { accountOf, Ioas, lookupIoas } from './ioas.ts';

const TYPE1 = 1;
const TYPE1V2 = 3;
const DMA_CC = 4;
const NOIOMMU = 8;
const UNMAP_ALL = 9;

/** The IOAS that container requests act on; ENODEV: none is set. */
function compatIoas(context: IommufdContext): Ioas | Refusal {
  return (
    context.vfioIoas ??
    refuse('ENODEV', 'get_compat_ioas', 'the iommufd has no IOAS for the container requests: IOMMU_VFIO_IOAS sets one')
  );
}

/** IOMMU_VFIO_IOAS: gets, sets or clears that IOAS. EOPNOTSUPP, ENODEV none to get, ENOENT none of this id. */
export function vfioIoas(context: IommufdContext, arg: ArgOf<'IOMMU_VFIO_IOAS'>): IoctlOk | Refusal {
  const where = 'iommufd_vfio_ioas';
  if (arg.__reserved) return refuse('EOPNOTSUPP', where, '__reserved must be 0');
  switch (arg.op) {
    case 0: {
      const ioas = compatIoas(context);
      return ioas instanceof Ioas ? { arg: { ioas_id: ioas.id } } : ioas;
    }
    case 1: {
      const ioas = lookupIoas(context, arg.ioas_id);
      if (!(ioas instanceof Ioas)) return ioas;
      context.vfioIoas = ioas;
      return {};
    }
    case 2:
      context.vfioIoas = null;
      return {};
    default:
      return refuse('EOPNOTSUPP', where, 'op is 0 (get), 1 (set) or 2 (clear)');
  }
}

/** VFIO_CHECK_EXTENSION. ENODEV: DMA_CC without an IOAS. */
export function checkExtension(context: IommufdContext, arg: ArgOf<'VFIO_CHECK_EXTENSION'>): IoctlOk | Refusal {
  switch (arg.extension) {
    case TYPE1:
    case TYPE1V2:
    case UNMAP_ALL:
    case NOIOMMU:
      return { ret: 1 };
    case DMA_CC: {
      const ioas = compatIoas(context);
      return ioas instanceof Ioas ? { ret: ioas.hwpts.length > 0 ? 0 : 1 } : ioas;
    }
    default:
      return { ret: 0 };
  }
}

/** VFIO_SET_IOMMU. EINVAL type, ENODEV; TYPE1 turns huge pages off, with the errnos of `setHugePages`. */
export function setIommu(context: IommufdContext, arg: ArgOf<'VFIO_SET_IOMMU'>): IoctlOk | Refusal {
  const { type } = arg;
  if (type !== TYPE1 && type !== TYPE1V2)
    return refuse('EINVAL', 'iommufd_vfio_set_iommu', 'the type is 1 (TYPE1) or 3 (TYPE1v2)');
  const ioas = compatIoas(context);
  if (!(ioas instanceof Ioas)) return ioas;
  return (type === TYPE1 ? ioas.iopt.setHugePages(false) : null) ?? {};
}

/** VFIO_IOMMU_MAP_DMA. EINVAL flags, ENODEV, then MAP from row 5 on at a fixed IOVA. */
export function mapDma(context: IommufdContext, arg: ArgOf<'VFIO_IOMMU_MAP_DMA'>, process: Process): IoctlOk | Refusal {
  const { flags } = arg;
  if (flags & ~3) return refuse('EINVAL', 'iommufd_vfio_map_dma', 'unknown flag');
  const ioas = compatIoas(context);
  if (!(ioas instanceof Ioas)) return ioas;
  const at = span(arg.iova, arg.size, arg.vaddr);
  const access = (flags & 1 ? READ : 0) | (flags & 2 ? WRITE : 0);
  return mapUser(ioas.iopt, at, true, access, accountOf(context, process), context.kernel.faults) ?? {};
}

/**
 * VFIO_IOMMU_UNMAP_DMA. EINVAL flags, ENODEV, EINVAL ALL with a range, EINVAL or EBUSY of a cut, EINVAL size 0, EOVERFLOW. An
 * empty range is success. `size` stays as given up to the cuts; behind them it tells the bytes unmapped, on errors too.
 */
export function unmapDma(context: IommufdContext, arg: ArgOf<'VFIO_IOMMU_UNMAP_DMA'>): IoctlOk | Refusal {
  const where = 'iommufd_vfio_unmap_dma';
  const { flags, iova, size } = arg;
  const keep = (refusal: Refusal): Refusal => refusal.withArg({ size });
  if (flags & ~2) return keep(refuse('EINVAL', where, 'unknown flag'));
  const ioas = compatIoas(context);
  if (!(ioas instanceof Ioas)) return keep(ioas);
  const { iopt } = ioas;
  const progress = { bytes: 0n };
  const done = (refusal: Refusal | null): IoctlOk | Refusal =>
    refusal ? refusal.withArg({ size: progress.bytes }) : { arg: { size: progress.bytes } };
  if (flags & 2) {
    if (iova !== 0n || size !== 0n) return keep(refuse('EINVAL', where, 'with ALL iova and size are 0'));
    return done(iopt.unmap(0n, UMAX, progress));
  }
  if (!iopt.hugePages) {
    if (iopt.immutable) return keep(refuse('EBUSY', 'iopt_cut_iova', 'a HWPT of this IOAS is preserved', 'C2'));
    const cut = cutAt(ioas, iova, size);
    if (cut) return keep(cut);
  }
  if (size === 0n) return done(refuse('EINVAL', 'iopt_unmap_iova', 'size is 0'));
  if (iova + size - 1n > UMAX) return done(refuse('EOVERFLOW', 'iopt_unmap_iova', 'the range reaches beyond 64 bits'));
  return done(iopt.unmap(iova, iova + size - 1n, progress));
}

/**
 * iopt_cut_iova of TYPE1: cuts areas at the edges of the range, behind its end first, then before its start unless that
 * is 0.
 */
function cutAt({ iopt }: Ioas, iova: bigint, size: bigint): Refusal | null {
  const behind = BigInt.asUintN(64, iova + size);
  const cuts = [behind, ...(iova === 0n ? [] : [iova])];
  for (const at of cuts) {
    // Nothing is cut where only an area's first byte would be split off.
    const area = iopt.areas.at(at);
    if (!area || area.iova + 1n === at) continue;
    const refusal = iopt.cut(at);
    if (refusal) return refusal;
  }
  return null;
}

const STRUCT_BYTES = 24;
const DMA_AVAIL_BYTES = 16;
const RANGES_BYTES = 16;
const RANGE_BYTES = 16;

/** VFIO_IOMMU_GET_INFO: page sizes of all HWPTs, and two capabilities as far as they fit into `argsz`. ENODEV. */
export function iommuGetInfo(context: IommufdContext, arg: ArgOf<'VFIO_IOMMU_GET_INFO'>): IoctlOk | Refusal {
  const ioas = compatIoas(context);
  if (!(ioas instanceof Ioas)) return ioas;
  const { argsz } = arg;
  let sizes = UMAX;
  for (const hwpt of ioas.hwpts)
    sizes &= hwpt.domain.format.leafShifts.reduce((bits, shift) => bits | (1n << BigInt(shift)), 0n);
  const ranges = ioas.iopt.ranges();
  const rangesStart = STRUCT_BYTES + DMA_AVAIL_BYTES;
  const total = rangesStart + RANGES_BYTES + ranges.length * RANGE_BYTES;
  const buffer = new Uint8Array(Math.max(STRUCT_BYTES + MAX_INFO, total));
  const view = new DataView(buffer.buffer);
  if (argsz >= rangesStart) {
    view.setUint16(STRUCT_BYTES, 3, true);
    view.setUint16(STRUCT_BYTES + 2, 1, true);
    view.setUint32(STRUCT_BYTES + 4, rangesStart, true);
    view.setUint32(STRUCT_BYTES + 8, 0xffffffff, true);
  }
  if (argsz >= total) {
    view.setUint16(rangesStart, 1, true);
    view.setUint16(rangesStart + 2, 1, true);
    view.setUint32(rangesStart + 8, ranges.length, true);
  }
  for (const [index, range] of ranges.entries()) {
    const at = rangesStart + RANGES_BYTES + index * RANGE_BYTES;
    if (at + RANGE_BYTES > argsz) break;
    view.setBigUint64(at, range.start, true);
    view.setBigUint64(at + 8, range.last, true);
  }
  const out: Arg = { argsz: total, flags: 3, iova_pgsizes: sizes & ~(PAGE - 1n) };
  if (argsz >= STRUCT_BYTES - 4) out.cap_offset = argsz >= total ? STRUCT_BYTES : 0;
  if (argsz > STRUCT_BYTES) out.data = buffer.slice(STRUCT_BYTES, argsz);
  return { arg: out };
}
