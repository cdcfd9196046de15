/**
 * The IOVAs of an IOAS (drivers/iommu/iommufd/io_pagetable.c): which are mapped, which nobody may map (reserved), and
 * where the kernel may choose (allowed). No allowed range touches a reserved one, and no area lies in one.
 */
import { below, big, hex, hexOf, highOf, lowOf, PAGE, UMAX } from '../../../machine/address.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { IovaRange } from '../../uapi/types.ts';
import { AreaTable } from '../areas/area-table.ts';
import { Coverage } from './coverage.ts';

export interface Reservation extends IovaRange {
  owner: object;
}

/** A range that nothing reserves, as words: a fixed IOVA must lie in one. */
interface FreeRange {
  startHigh: number;
  startLow: number;
  lastHigh: number;
  lastLow: number;
}

/** All IOVAs but the first and the last page: where the kernel chooses. */
const EVERYWHERE: IovaRange = { start: PAGE, last: UMAX - PAGE };

/** How many searches for room are remembered. */
const MOST_SEARCHES = 64;

export class IovaSpace {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = {
    _coverage: () => null,
    _ranges: () => null,
    _hint: () => null,
    _spans: () => null,
    _searches: () => new Map(),
    _opened: () => Number.POSITIVE_INFINITY,
  };

  readonly areas = new AreaTable();
  reserved: Reservation[] = [];
  /** `reserved` as what it covers; null: not asked for yet. */
  private _coverage: Coverage | null = null;
  /** What `ranges` answers; null: to be computed anew. */
  private _ranges: IovaRange[] | null = null;
  /** The range that the last IOVA lay in; null: that is not known any more. */
  private _hint: FreeRange | null = null;
  allowed: IovaRange[] = [];
  /** What `spans` answers; null: to be computed anew. */
  private _spans: readonly IovaRange[] | null = null;
  /** By length, alignment and offset of a search for room: the IOVA below which it finds nothing. */
  private readonly _searches = new Map<string, { length: number; below: number }>();
  /** The lowest IOVA that has become free since `_searches` was brought up to date. */
  private _opened = Number.POSITIVE_INFINITY;
  private _alignment = 1n;
  /** `alignment` - 1: the bits that must be 0 in an IOVA, a length and a start. */
  mask = 0;

  get alignment(): bigint {
    return this._alignment;
  }
  set alignment(alignment: bigint) {
    this._alignment = alignment;
    this.mask = Number(alignment) - 1;
  }

  /** What `ranges` answers, as far as that is known already. */
  get knownRanges(): readonly IovaRange[] | null {
    return this._ranges;
  }

  /**
   * Sets the alignment in bytes, a power of two; EADDRINUSE if an area is less aligned (iopt_update_iova_alignment).
   */
  protected realign(alignment: bigint): Refusal | null {
    const mask = Number(alignment - 1n);
    const { areas } = this;
    if (alignment > this.alignment)
      for (let more = areas.seekFirst(); more; more = areas.next())
        if (areas.iovaLow & mask || (areas.lastLow + 1) & mask || areas.startLow & mask)
          return refuse(
            'EADDRINUSE',
            'iopt_update_iova_alignment',
            `the area at ${hexOf(areas.iovaHigh, areas.iovaLow)} is not aligned to ${alignment}`,
          );
    this.alignment = alignment;
    return null;
  }

  // ---- reserved ranges -------------------------------------------------------------------------------------------

  private _covered(): Coverage {
    if (this._coverage) return this._coverage;
    this._coverage = new Coverage();
    for (const range of this.reserved) this._coverage.add(range);
    return this._coverage;
  }

  /** The ranges that nothing reserves, ascending: what IOMMU_IOAS_IOVA_RANGES shows. */
  ranges(): readonly IovaRange[] {
    this._ranges ??= [...this.freeFrom(0n)];
    return this._ranges;
  }

  /** `ranges`, without those that end below an IOVA. */
  freeFrom(iova: bigint): Iterable<IovaRange> {
    return this._covered().freeFrom(iova);
  }

  /** Whether nothing in [iova, last] is reserved. */
  isFree(iovaHigh: number, iovaLow: number, lastHigh: number, lastLow: number): boolean {
    // Most IOVAs lie in the range that the one before lay in.
    let range = this._hint;
    if (
      range === null ||
      below(iovaHigh, iovaLow, range.startHigh, range.startLow) ||
      below(range.lastHigh, range.lastLow, iovaHigh, iovaLow)
    ) {
      range = this._freeAround(big(iovaHigh, iovaLow));
      this._hint = range;
    }
    return range !== null && !below(range.lastHigh, range.lastLow, lastHigh, lastLow);
  }

  private _freeAround(iova: bigint): FreeRange | null {
    const range = this._covered().freeAround(iova);
    return (
      range && {
        startHigh: highOf(range.start),
        startLow: lowOf(range.start),
        lastHigh: highOf(range.last),
        lastLow: lowOf(range.last),
      }
    );
  }

  /** iopt_reserve_iova: reserves [start, last] for an owner. EADDRINUSE if an area or an allowed range is in it. */
  reserve(start: bigint, last: bigint, owner: object): Refusal | null {
    const where = 'iopt_reserve_iova';
    const area = this.areas.first(start, last);
    if (area) return refuse('EADDRINUSE', where, `${hex(area.iova)} is mapped and lies in the range to reserve`);
    const allowed = this.allowed[firstEndingAt(start, this.allowed)];
    if (allowed && allowed.start <= last)
      return refuse('EADDRINUSE', where, 'an allowed range lies in the range to reserve');
    this.reserved.push({ start, last, owner });
    this._coverage?.add({ start, last });
    this._ranges = null;
    this._hint = null;
    return null;
  }

  /** Gives back what an owner has reserved: ranges in a row of `reserved`. */
  unreserve(owner: object): void {
    const first = this.reserved.findIndex((range) => range.owner === owner);
    if (first < 0) return;
    let behind = first;
    for (; this.reserved[behind]?.owner === owner; behind++) {
      this._coverage?.remove(this.reserved[behind]!);
      this.opened(Number(this.reserved[behind]!.start));
    }
    this.reserved.splice(first, behind - first);
    this._ranges = null;
    this._hint = null;
  }

  /** Whether nothing reserves any of these ascending ranges, of which there is at least one. */
  private _areFree(ranges: readonly IovaRange[]): boolean {
    let at = 0;
    for (const free of this.freeFrom(ranges[0]!.start)) {
      while (at < ranges.length && ranges[at]!.start >= free.start && ranges[at]!.last <= free.last) at++;
      if (at === ranges.length) return true;
      if (ranges[at]!.start <= free.last) return false;
    }
    return false;
  }

  /** iopt_set_allow_iova: replaces the list; EADDRINUSE if a range touches a reserved one. `ranges` are ascending. */
  allow(ranges: IovaRange[]): Refusal | null {
    if (ranges.length > 0 && !this._areFree(ranges))
      return refuse(
        'EADDRINUSE',
        'iopt_set_allow_iova',
        'an allowed range touches a reserved one; see IOMMU_IOAS_IOVA_RANGES',
      );
    this.allowed = ranges;
    this._spans = null;
    this._searches.clear();
    return null;
  }

  // ---- where the kernel chooses ----------------------------------------------------------------------------------

  /** The ranges to look in: the allowed ones, adjacent ones joined, or all but the first and last page. */
  spans(): readonly IovaRange[] {
    this._spans ??= this.allowed.length === 0 ? [EVERYWHERE] : joined(this.allowed);
    return this._spans;
  }

  /** The IOVA below which a search for `length` bytes finds nothing, infinite if it finds nothing at all. */
  searchedBelow(length: number, alignment: number, offset: number): number {
    if (this._searches.size === 0) return 0;
    if (this._opened < Number.POSITIVE_INFINITY) {
      // What has become free is in every place that there was not before, or right behind it.
      for (const search of this._searches.values())
        search.below = Math.max(0, Math.min(search.below, this._opened - search.length));
      this._opened = Number.POSITIVE_INFINITY;
    }
    return this._searches.get(`${length}/${alignment}/${offset}`)?.below ?? 0;
  }

  /** Notes that such a search, which `searchedBelow` was asked for, finds nothing below an IOVA. */
  noteSearch(length: number, alignment: number, offset: number, below: number): void {
    if (this._searches.size >= MOST_SEARCHES) this._searches.clear();
    this._searches.set(`${length}/${alignment}/${offset}`, { length, below });
  }

  /** IOVAs from this one on may have become free. */
  protected opened(iova: number): void {
    if (iova < this._opened) this._opened = iova;
  }
}

function joined(ranges: readonly IovaRange[]): IovaRange[] {
  const found: IovaRange[] = [];
  for (const { start, last } of ranges) {
    const left = found[found.length - 1];
    if (left && left.last + 1n === start) left.last = last;
    else found.push({ start, last });
  }
  const { start: lowest, last: highest } = EVERYWHERE;
  return found
    .map(({ start, last }) => ({ start: start > lowest ? start : lowest, last: last < highest ? last : highest }))
    .filter(({ start, last }) => start <= last);
}

/** Returns the index of the first of ascending disjoint ranges that ends at an IOVA or above it. */
export function firstEndingAt(iova: bigint, ranges: readonly IovaRange[]): number {
  let [low, high] = [0, ranges.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranges[middle]!.last < iova) low = middle + 1;
    else high = middle;
  }
  return low;
}
