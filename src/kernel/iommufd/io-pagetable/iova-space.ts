/**
 * The IOVAs of an IOAS (drivers/iommu/iommufd/io_pagetable.c): which are mapped, which nobody may map (reserved), and
 * where the kernel may choose (allowed). No allowed range touches a reserved one, and no area lies in one.
 */
import { below, hex, hexOf, highOf, lowOf, UMAX } from '../../../machine/address.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { IovaRange } from '../../uapi/types.ts';
import { AreaTable } from '../areas/area-table.ts';

export interface Reservation extends IovaRange {
  owner: object;
}

/** A range that nothing reserves, as words: a fixed IOVA must lie in one. */
export interface FreeRange {
  startHigh: number;
  startLow: number;
  lastHigh: number;
  lastLow: number;
}

export class IovaSpace {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _ranges: () => null, _free: () => [], _freeHint: () => 0 };

  readonly areas = new AreaTable();
  reserved: Reservation[] = [];
  /** The ranges that `reserved` leaves; null: to be computed anew. */
  private _ranges: IovaRange[] | null = null;
  private _free: FreeRange[] = [];
  private _freeHint = 0;
  allowed: IovaRange[] = [];
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

  /** The ranges that nothing reserves, ascending: what IOMMU_IOAS_IOVA_RANGES shows. */
  ranges(): readonly IovaRange[] {
    if (this._ranges) return this._ranges;
    const sorted = [...this.reserved].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
    const ranges: IovaRange[] = [];
    let cursor = 0n;
    for (const { start, last } of sorted) {
      if (start > cursor) ranges.push({ start: cursor, last: start - 1n });
      if (last + 1n > cursor) cursor = last + 1n;
    }
    if (cursor <= UMAX) ranges.push({ start: cursor, last: UMAX });
    this._ranges = ranges;
    this._free = ranges.map(({ start, last }) => ({
      startHigh: highOf(start),
      startLow: lowOf(start),
      lastHigh: highOf(last),
      lastLow: lowOf(last),
    }));
    this._freeHint = 0;
    return ranges;
  }

  /** `ranges` as words. */
  freeRanges(): readonly FreeRange[] {
    if (!this._ranges) this.ranges();
    return this._free;
  }

  /** Whether nothing in [iova, last] is reserved. */
  protected isFree(iovaHigh: number, iovaLow: number, lastHigh: number, lastLow: number): boolean {
    if (!this._ranges) this.ranges();
    const free = this._free;
    const count = free.length;
    // Most IOVAs lie in the range that the one before lay in.
    for (let tried = 0, at = this._freeHint; tried < count; tried++, at = at + 1 === count ? 0 : at + 1) {
      const range = free[at]!;
      if (below(iovaHigh, iovaLow, range.startHigh, range.startLow)) continue;
      if (below(range.lastHigh, range.lastLow, lastHigh, lastLow)) continue;
      this._freeHint = at;
      return true;
    }
    return false;
  }

  /** iopt_reserve_iova: reserves [start, last] for an owner. EADDRINUSE if an area or an allowed range is in it. */
  reserve(start: bigint, last: bigint, owner: object): Refusal | null {
    const where = 'iopt_reserve_iova';
    const area = this.areas.first(start, last);
    if (area) return refuse('EADDRINUSE', where, `${hex(area.iova)} is mapped and lies in the range to reserve`);
    if (this.allowed.some((range) => range.start <= last && range.last >= start))
      return refuse('EADDRINUSE', where, 'an allowed range lies in the range to reserve');
    this.reserved.push({ start, last, owner });
    this._ranges = null;
    return null;
  }

  unreserve(owner: object): void {
    this.reserved = this.reserved.filter((range) => range.owner !== owner);
    this._ranges = null;
  }

  /** iopt_set_allow_iova: replaces the list; EADDRINUSE if a range touches a reserved one. */
  allow(ranges: IovaRange[]): Refusal | null {
    const touches = ({ start, last }: IovaRange): boolean =>
      this.reserved.some((range) => range.start <= last && range.last >= start);
    if (ranges.some(touches))
      return refuse(
        'EADDRINUSE',
        'iopt_set_allow_iova',
        'an allowed range touches a reserved one; see IOMMU_IOAS_IOVA_RANGES',
      );
    this.allowed = [...ranges].sort((a, b) => (a.start < b.start ? -1 : 1));
    return null;
  }
}
