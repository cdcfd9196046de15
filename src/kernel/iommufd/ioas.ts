/** IO address spaces and their ioctls (drivers/iommu/iommufd/ioas.c). The order of the checks is Linux's. */
import { big, hex, UMAX } from '../../machine/address.ts';
import { type Refusal, refuse } from '../errno.ts';
import type { IoctlOk } from '../file.ts';
import type { Process } from '../process.ts';
import type { ArgOf } from '../uapi/index.ts';
import { MAP_FIXED_IOVA, MAP_WRITEABLE } from '../uapi/iommufd.ts';
import type { IovaRange } from '../uapi/types.ts';
import type { Area } from './areas/area-cursor.ts';
import type { IommufdContext } from './context.ts';
import type { HwptPaging } from './hw-pagetable/hwpt.ts';
import { IoPagetable } from './io-pagetable/io-pagetable.ts';
import { accessOf, checkMap, mapFile, mapUser, unmap } from './io-pagetable/mapping.ts';
import { type Account, charge, type SharedPages, type Source, uncharge } from './io-pagetable/pages.ts';
import { type Span, span } from './io-pagetable/span.ts';
import { IommufdObject } from './objects.ts';

export class Ioas extends IommufdObject {
  readonly type = 'ioas';
  readonly context: IommufdContext;
  readonly iopt: IoPagetable;
  /** HWPTs of this IOAS, oldest first. */
  hwpts: HwptPaging[] = [];

  constructor(context: IommufdContext) {
    super();
    this.context = context;
    this.iopt = new IoPagetable(context.kernel.machine.memory);
  }

  destroy(): void {
    this.iopt.clear();
    if (this.context.vfioIoas === this) this.context.vfioIoas = null;
  }
}

export function lookupIoas(context: IommufdContext, id: number): Ioas | Refusal {
  return context.objects.lookup(id, Ioas, 'an IOAS');
}

/** The account that pays for memory that this process maps now. */
export function accountOf(context: IommufdContext, process: Process): Account {
  const mode = process.capabilities.has('CAP_IPC_LOCK') ? 'none' : context.perProcessLimit ? 'mm' : 'user';
  return account(context, process, mode);
}

function account({ kernel }: IommufdContext, process: Process, mode: Account['mode']): Account {
  const { uid } = process;
  return { mode, process, counter: mode === 'mm' ? process.locked : kernel.userLocked(uid), uid };
}

/** IOMMU_IOAS_ALLOC. EOPNOTSUPP flags, ENOMEM. */
export function ioasAlloc(context: IommufdContext, arg: ArgOf<'IOMMU_IOAS_ALLOC'>): IoctlOk | Refusal {
  if (arg.flags) return refuse('EOPNOTSUPP', 'iommufd_ioas_alloc_ioctl', 'flags must be 0');
  const injected = context.kernel.faults.refusal('ioas.alloc', 'iommufd_ioas_alloc_ioctl');
  if (injected) return injected;
  const ioas = context.objects.commit(context.objects.reserve(), new Ioas(context));
  return { arg: { out_ioas_id: ioas.id } };
}

/** IOMMU_IOAS_IOVA_RANGES. EOPNOTSUPP, ENOENT; EMSGSIZE more ranges than room: the outputs are written all the same. */
export function ioasIovaRanges(context: IommufdContext, arg: ArgOf<'IOMMU_IOAS_IOVA_RANGES'>): IoctlOk | Refusal {
  const where = 'iommufd_ioas_iova_ranges';
  if (arg.__reserved) return refuse('EOPNOTSUPP', where, '__reserved must be 0');
  const ioas = lookupIoas(context, arg.ioas_id);
  if (!(ioas instanceof Ioas)) return ioas;
  const ranges = ioas.iopt.ranges();
  const room = arg.num_iovas;
  const out = {
    num_iovas: ranges.length,
    out_iova_alignment: ioas.iopt.alignment,
    allowed_iovas: ranges.slice(0, room),
  };
  if (ranges.length > room)
    return refuse(
      'EMSGSIZE',
      where,
      `there are ${ranges.length} ranges, room for ${room}; ask again with more`,
    ).withArg(out);
  return { arg: out };
}

/** IOMMU_IOAS_ALLOW_IOVAS. EOPNOTSUPP, ENOENT; range by range EFAULT missing, EINVAL start or overlap; EADDRINUSE. */
export function ioasAllowIovas(context: IommufdContext, arg: ArgOf<'IOMMU_IOAS_ALLOW_IOVAS'>): IoctlOk | Refusal {
  const where = 'iommufd_ioas_allow_iovas';
  if (arg.__reserved) return refuse('EOPNOTSUPP', where, '__reserved must be 0');
  const ioas = lookupIoas(context, arg.ioas_id);
  if (!(ioas instanceof Ioas)) return ioas;
  const given = arg.allowed_iovas ?? [];
  const count = arg.num_iovas;
  let right = 0;
  while (right < count && given[right] && given[right]!.start < given[right]!.last) right++;
  if (right === count && isAscending(given, count)) return ioas.iopt.allow(given.slice(0, count)) ?? {};
  const starts = BigUint64Array.from({ length: right }, (_, index) => given[index]!.start);
  const lasts = BigUint64Array.from({ length: right }, (_, index) => given[index]!.last);
  const overlapping = firstOverlapping(starts, lasts);
  if (overlapping < right) return refuse('EINVAL', where, `range ${overlapping} overlaps an earlier one`);
  if (right < count && !given[right])
    return refuse('EFAULT', where, `num_iovas is ${count}, but only ${given.length} ranges are there`);
  if (right < count) return refuse('EINVAL', where, `range ${right}: start must be below last`);
  starts.sort();
  lasts.sort();
  return ioas.iopt.allow(Array.from(starts, (start, index) => ({ start, last: lasts[index]! }))) ?? {};
}

/** Whether the first ranges are in order and apart, as most lists are. */
function isAscending(ranges: readonly IovaRange[], count: number): boolean {
  for (let at = 1; at < count; at++) if (ranges[at]!.start <= ranges[at - 1]!.last) return false;
  return true;
}

/** Returns the index of the first range that overlaps one before it; as many as there are if none does. */
function firstOverlapping(starts: BigUint64Array, lasts: BigUint64Array): number {
  /** Ranges are disjoint if each begins behind as many ends as there are ranges before it. */
  const overlap = (count: number): boolean => {
    const ends = lasts.slice(0, count).sort();
    return starts
      .slice(0, count)
      .sort()
      .some((start, index) => index > 0 && start <= ends[index - 1]!);
  };
  if (!overlap(starts.length)) return starts.length;
  let [low, high] = [1, starts.length];
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (overlap(middle)) high = middle;
    else low = middle;
  }
  return high - 1;
}

const iovaOf = ({ iovaHigh, iovaLow }: Span): IoctlOk => ({ arg: { iova: big(iovaHigh, iovaLow) } });

/** IOMMU_IOAS_MAP: the rows of io-pagetable/README.md. */
export function ioasMap(context: IommufdContext, arg: ArgOf<'IOMMU_IOAS_MAP'>, process: Process): IoctlOk | Refusal {
  const where = 'iommufd_ioas_map';
  const { flags } = arg;
  if (arg.__reserved) return refuse('EOPNOTSUPP', where, '__reserved must be 0');
  const at = span(arg.iova, arg.length, arg.user_va);
  const wrong = checkMap(where, flags, at);
  if (wrong) return wrong;
  const ioas = lookupIoas(context, arg.ioas_id);
  if (!(ioas instanceof Ioas)) return ioas;
  const account = accountOf(context, process);
  const { faults } = context.kernel;
  return mapUser(ioas.iopt, at, (flags & MAP_FIXED_IOVA) !== 0, accessOf(flags), account, faults) ?? iovaOf(at);
}

/** IOMMU_IOAS_MAP_FILE: the checks of io-pagetable/README.md. */
export function ioasMapFile(
  context: IommufdContext,
  arg: ArgOf<'IOMMU_IOAS_MAP_FILE'>,
  process: Process,
): IoctlOk | Refusal {
  const { flags } = arg;
  const at = span(arg.iova, arg.length, arg.start);
  const wrong = checkMap('iommufd_ioas_map_file', flags, at);
  if (wrong) return wrong;
  const ioas = lookupIoas(context, arg.ioas_id);
  if (!(ioas instanceof Ioas)) return ioas;
  const account = accountOf(context, process);
  const fixed = (flags & MAP_FIXED_IOVA) !== 0;
  const { faults } = context.kernel;
  return mapFile(ioas.iopt, at, fixed, accessOf(flags), account, arg.fd, faults) ?? iovaOf(at);
}

/** IOMMU_IOAS_COPY: the checks of io-pagetable/README.md. The source may begin and end inside of areas. */
export function ioasCopy(context: IommufdContext, arg: ArgOf<'IOMMU_IOAS_COPY'>): IoctlOk | Refusal {
  const where = 'iommufd_ioas_copy';
  const { flags, length } = arg;
  const source = arg.src_iova;
  const wrong = checkMap(where, flags, span(arg.dst_iova, length, source), source === UMAX);
  if (wrong) return wrong;
  const from = lookupIoas(context, arg.src_ioas_id);
  if (!(from instanceof Ioas)) return from;
  if (length === 0n) return refuse('EINVAL', 'iopt_get_pages', 'length is 0');
  const last = source + length - 1n;
  if (last > UMAX) return refuse('EOVERFLOW', 'iopt_get_pages', 'the source reaches beyond 64 bits');
  const pieces: { area: Area; from: bigint; length: bigint }[] = [];
  for (let cursor = source; cursor <= last; ) {
    const area = from.iopt.areas.at(cursor);
    if (!area) return refuse('ENOENT', 'iopt_get_pages', `nothing is mapped at ${hex(cursor)} of the source`);
    const end = area.last < last ? area.last : last;
    pieces.push({ area, from: cursor, length: end - cursor + 1n });
    cursor = end + 1n;
  }
  const to = lookupIoas(context, arg.dst_ioas_id);
  if (!(to instanceof Ioas)) return to;
  // What is copied is shared from now on: its pages are pinned and charged once, however many areas show them.
  const slices = pieces.map(({ area, from: start, length: bytes }) => ({
    start: area.start + (start - area.iova),
    length: bytes,
    source: to.iopt.sources.forShared(from.iopt.share(area)),
  }));
  const wanted = flags & MAP_FIXED_IOVA ? arg.dst_iova : null;
  const iova = to.iopt.mapSlices(wanted, slices, accessOf(flags), (flags & MAP_WRITEABLE) !== 0);
  return typeof iova === 'bigint' ? { arg: { dst_iova: iova } } : iova;
}

/** IOMMU_IOAS_UNMAP: the checks of io-pagetable/README.md. `length` tells the bytes unmapped. */
export function ioasUnmap(context: IommufdContext, arg: ArgOf<'IOMMU_IOAS_UNMAP'>): IoctlOk | Refusal {
  const ioas = lookupIoas(context, arg.ioas_id);
  if (!(ioas instanceof Ioas)) return ioas;
  const counted = { high: 0, low: 0 };
  const refusal = unmap(ioas.iopt, span(arg.iova, arg.length, 0n), counted) as Refusal | null;
  return refusal ?? { arg: { length: (BigInt(counted.high) << 32n) + BigInt(counted.low) } };
}

/**
 * IOMMU_IOAS_NOIOMMU_GET_PA, of devices that are used without an IOMMU: EPERM, EOPNOTSUPP flags and reserved, EINVAL
 * length 0, EOVERFLOW, ENOENT. All areas here are in domains of an IOMMU, or in none: EOPNOTSUPP (iopt_get_phys).
 */
export function ioasNoiommuGetPa(
  context: IommufdContext,
  arg: ArgOf<'IOMMU_IOAS_NOIOMMU_GET_PA'>,
  process: Process,
): Refusal {
  const where = 'iommufd_ioas_noiommu_get_pa';
  if (!process.capabilities.has('CAP_SYS_RAWIO'))
    return refuse('EPERM', where, 'physical addresses are told to processes with CAP_SYS_RAWIO');
  if (arg.flags || arg.__reserved) return refuse('EOPNOTSUPP', where, 'flags and __reserved must be 0');
  if (arg.length === 0n) return refuse('EINVAL', where, 'length is 0');
  if (arg.iova === UMAX) return refuse('EOVERFLOW', where, 'the last address is no IOVA');
  const ioas = lookupIoas(context, arg.ioas_id);
  if (!(ioas instanceof Ioas)) return ioas;
  if (!ioas.iopt.areas.at(arg.iova)) return refuse('ENOENT', 'iopt_get_phys', `nothing is mapped at ${hex(arg.iova)}`);
  return refuse('EOPNOTSUPP', 'iopt_get_phys', 'the IOAS is not that of devices that are used without an IOMMU');
}

/** What carries an account in a context: sources that are not shared, and shared pages, each once. */
function payers(context: IommufdContext): Set<Source | SharedPages> {
  const found = new Set<Source | SharedPages>();
  for (const object of context.objects.visible())
    if (object instanceof Ioas) for (const source of object.iopt.sources) found.add(source.shared ?? source);
  return found;
}

/**
 * IOMMU_IOAS_CHANGE_PROCESS: the caller pays from now on. EOPNOTSUPP; EINVAL memory of a process is mapped; ENOMEM over
 * the caller's limit, which is charged before the former owner is released.
 */
export function ioasChangeProcess(
  context: IommufdContext,
  arg: ArgOf<'IOMMU_IOAS_CHANGE_PROCESS'>,
  process: Process,
): IoctlOk | Refusal {
  const where = 'iommufd_ioas_change_process';
  if (arg.__reserved) return refuse('EOPNOTSUPP', where, '__reserved must be 0');
  const all = [...payers(context)];
  if (all.some(({ origin }) => origin.kind !== 'file'))
    return refuse('EINVAL', where, 'an area of process memory is mapped; only file mappings can change hands');
  const moving = all
    .filter((payer) => payer.account.process !== process || payer.account.uid !== process.uid)
    .map((payer) => ({ payer, pages: payer.pinnedPages, next: account(context, process, payer.account.mode) }));
  for (const [index, { next, pages }] of moving.entries()) {
    const refusal = charge(next, pages);
    if (!refusal) continue;
    for (const done of moving.slice(0, index)) uncharge(done.next, done.pages);
    return refusal;
  }
  for (const { payer, pages, next } of moving) {
    uncharge(payer.account, pages);
    payer.account = next;
  }
  return {};
}

export function option(context: IommufdContext, arg: ArgOf<'IOMMU_OPTION'>, process: Process): IoctlOk | Refusal {
  const where = 'iommufd_option';
  const { op } = arg;
  const objectId = arg.object_id;
  const value = arg.val64;
  if (arg.__reserved) return refuse('EOPNOTSUPP', where, '__reserved must be 0');
  switch (arg.option_id) {
    case 0: {
      if (objectId !== 0) return refuse('EOPNOTSUPP', where, 'RLIMIT_MODE belongs to the context: object_id must be 0');
      if (op === 1) return { arg: { val64: context.perProcessLimit ? 1n : 0n } };
      if (op !== 0) return refuse('EOPNOTSUPP', where, 'op is 0 (set) or 1 (get)');
      if (!process.capabilities.has('CAP_SYS_RESOURCE')) return refuse('EPERM', where, 'CAP_SYS_RESOURCE is needed');
      if (!context.objects.empty)
        return refuse('EBUSY', where, 'the mode can only be set before the first object is made');
      if (value > 1n) return refuse('EINVAL', where, 'val64 is 0 (per user) or 1 (per process)');
      context.perProcessLimit = value === 1n;
      return { arg: { val64: value } };
    }
    case 1: {
      const ioas = lookupIoas(context, objectId);
      if (!(ioas instanceof Ioas)) return ioas;
      if (op === 1) return { arg: { val64: ioas.iopt.hugePages ? 1n : 0n } };
      if (op !== 0) return refuse('EOPNOTSUPP', where, 'op is 0 (set) or 1 (get)');
      if (value > 1n) return refuse('EINVAL', where, 'val64 is 0 or 1');
      return ioas.iopt.setHugePages(value === 1n) ?? { arg: { val64: value } };
    }
    default:
      return refuse('EOPNOTSUPP', where, 'option_id is 0 (RLIMIT_MODE) or 1 (HUGE_PAGES)');
  }
}
