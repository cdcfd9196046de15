/**
 * The IO page table of an IOAS (drivers/iommu/iommufd/io_pagetable.c): areas, reserved and allowed ranges, and the
 * domains that must show every area. All answers are the ioctls' of Linux, in its order of checks.
 *
 * Invariants: areas are disjoint, lie outside reserved ranges, are multiples of `alignment`, and are present in every
 * domain; no allowed range touches a reserved one.
 */
import type { PhysicalMemory } from '../../machine/memory.ts';
import { type Refusal, refuse } from '../errno.ts';
import type { PagingDomain } from '../iommu/domain.ts';
import type { Kernel } from '../kernel.ts';
import type { FrameSpan } from '../mm/frame-map.ts';
import type { IovaRange } from '../uapi/types.ts';
import { type Area, big, highOf, lowOf } from './area-cursor.ts';
import { AreaTable } from './area-table.ts';
import { chooseIova, chooseLowIova } from './iova-allocator.ts';
import { charge, type Origin, SharedPages, type Source, uncharge } from './pages.ts';
import { SourceList } from './source-list.ts';

export const UMAX = 2n ** 64n - 1n;
export const PAGE = 4096n;
const PAGE_SIZE = 4096;
const PAGE_SHIFT = 12;
const WORD = 2 ** 32;
/** Pages of a high word. */
const HIGH_PAGES = 2 ** 20;

export interface Reservation extends IovaRange {
  owner: object;
}

/** A user of the IOAS inside the kernel: it is asked to let go of what is about to be unmapped. */
export interface IoptAccess {
  unmapped(start: bigint, last: bigint): void;
}

/** What users inside the kernel hold of an area: pins, of which some are locks (hardware queues live there). */
export interface Holds {
  pins: number;
  locks: number;
}

/** Addresses and lengths of a mapping as pairs of words. */
export interface Span {
  iovaHigh: number;
  iovaLow: number;
  lengthHigh: number;
  lengthLow: number;
  /** Address in the process, or offset in the file. */
  startHigh: number;
  startLow: number;
}

export function span(iova: bigint, length: bigint, start: bigint): Span {
  return {
    iovaHigh: highOf(iova),
    iovaLow: lowOf(iova),
    lengthHigh: highOf(length),
    lengthLow: lowOf(length),
    startHigh: highOf(start),
    startLow: lowOf(start),
  };
}

/** A free range as words: what a fixed IOVA is checked against. */
export interface FreeRange {
  startHigh: number;
  startLow: number;
  lastHigh: number;
  lastLow: number;
}

const IMMUTABLE = 'a HWPT of this IOAS is preserved: close the session to change mappings';
const below = (aHigh: number, aLow: number, bHigh: number, bLow: number): boolean =>
  aHigh < bHigh || (aHigh === bHigh && aLow < bLow);
const hex = (high: number, low: number): string => `0x${big(high, low).toString(16)}`;
const pageOf = (high: number, low: number): number => high * HIGH_PAGES + (low >>> PAGE_SHIFT);

export class IoPagetable {
  private readonly _memory: PhysicalMemory;
  readonly areas = new AreaTable();
  readonly sources: SourceList;
  reserved: Reservation[] = [];
  /** Complement of `reserved`; null: to be computed. */
  private _ranges: IovaRange[] | null = null;
  private _free: FreeRange[] = [];
  private _freeHint = 0;
  allowed: IovaRange[] = [];
  domains: PagingDomain[] = [];
  /** Users inside the kernel (accesses, hardware queues), and the alignment that each asks for. */
  readonly accesses = new Map<IoptAccess, bigint>();
  /** Areas that they hold, by IOVA: such an area cannot be cut, and not be unmapped while it is locked. */
  readonly holds = new Map<bigint, Holds>();
  hugePages = true;
  private _alignment = 1n;
  /** Bits that must be 0 in what is aligned. */
  mask = 0;
  /** Number of preserved HWPTs: nothing may change while there is one (C2). */
  immutable = 0;

  constructor(kernel: Kernel) {
    this._memory = kernel.machine.memory;
    this.sources = new SourceList(kernel);
  }

  get alignment(): bigint {
    return this._alignment;
  }
  set alignment(alignment: bigint) {
    this._alignment = alignment;
    this.mask = Number(alignment) - 1;
  }

  // ---- ranges and alignment --------------------------------------------------------------------------------------

  /** iopt_calculate_iova_alignment, with these domains. */
  private _alignmentWith(domains: readonly PagingDomain[], hugePages: boolean): bigint {
    let alignment = hugePages ? 1n : PAGE;
    for (const domain of domains) if (domain.minPage > alignment) alignment = domain.minPage;
    for (const wanted of this.accesses.values()) if (wanted > alignment) alignment = wanted;
    return alignment;
  }

  /** Raises or lowers the alignment; EADDRINUSE if an area does not fit. */
  private _realign(alignment: bigint): Refusal | null {
    const mask = Number(alignment - 1n);
    const { areas } = this;
    if (alignment > this.alignment)
      for (let more = areas.seekFirst(); more; more = areas.next())
        if (areas.iovaLow & mask || (areas.lastLow + 1) & mask || areas.startLow & mask)
          return refuse(
            'EADDRINUSE',
            'iopt_update_iova_alignment',
            `the area at ${hex(areas.iovaHigh, areas.iovaLow)} is not aligned to ${alignment}`,
          );
    this.alignment = alignment;
    return null;
  }

  /** Ranges that nothing reserves, ascending: what IOVA_RANGES shows. */
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

  /** The same as words. */
  freeRanges(): readonly FreeRange[] {
    if (!this._ranges) this.ranges();
    return this._free;
  }

  /** Whether nothing in [iova, last] is reserved. */
  private _isFree(iovaHigh: number, iovaLow: number, lastHigh: number, lastLow: number): boolean {
    if (!this._ranges) this.ranges();
    const free = this._free;
    const count = free.length;
    // Most ask for the range that the one before asked for.
    for (let tried = 0, at = this._freeHint; tried < count; tried++, at = at + 1 === count ? 0 : at + 1) {
      const range = free[at]!;
      if (below(iovaHigh, iovaLow, range.startHigh, range.startLow)) continue;
      if (below(range.lastHigh, range.lastLow, lastHigh, lastLow)) continue;
      this._freeHint = at;
      return true;
    }
    return false;
  }

  /** iopt_reserve_iova: EADDRINUSE if an area or an allowed range is in it. */
  reserve(start: bigint, last: bigint, owner: object): Refusal | null {
    const where = 'iopt_reserve_iova';
    const area = this.areas.first(start, last);
    if (area)
      return refuse('EADDRINUSE', where, `0x${area.iova.toString(16)} is mapped and lies in the range to reserve`);
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

  // ---- mapping ---------------------------------------------------------------------------------------------------

  /**
   * iopt_map_pages at a fixed IOVA: rows 7 to 10 of IOMMU_IOAS_MAP. EBUSY immutable (C2); EINVAL length or alignment,
   * reserved; EOVERFLOW; EEXIST taken; with a domain what pinning and loading answer. Nothing changes on failure.
   */
  mapFixed(at: Span, source: Source, access: number): Refusal | null {
    const { iovaHigh, iovaLow, lengthHigh, lengthLow, startLow } = at;
    if (this.immutable > 0) return refuse('EBUSY', 'iopt_map_pages', IMMUTABLE, 'C2');
    const mask = this.mask;
    if (lengthLow & mask)
      return refuse('EINVAL', 'iopt_alloc_area_pages', `length is not a multiple of ${this.alignment}`);
    const check = 'iopt_check_iova';
    if (iovaLow & mask) return refuse('EINVAL', check, `iova is not a multiple of ${this.alignment}`);
    let lastLow = iovaLow + lengthLow - 1;
    let lastHigh = iovaHigh + lengthHigh;
    if (lastLow >= WORD) {
      lastLow -= WORD;
      lastHigh++;
    } else if (lastLow < 0) {
      lastLow += WORD;
      lastHigh--;
    }
    if (lastHigh >= WORD) return refuse('EOVERFLOW', check, 'the last IOVA is beyond 64 bits');
    if (!this._isFree(iovaHigh, iovaLow, lastHigh, lastLow))
      return refuse(
        'EINVAL',
        check,
        'the range touches a reserved one or lies outside the aperture; see IOMMU_IOAS_IOVA_RANGES',
      );
    if (this.areas.seek(lastHigh, lastLow) && this.areas.reaches(iovaHigh, iovaLow))
      return refuse('EEXIST', check, `${hex(this.areas.iovaHigh, this.areas.iovaLow)} is mapped already`);
    if (startLow & mask)
      return refuse('EINVAL', 'iopt_insert_area', `the memory is not aligned to ${this.alignment} within its page`);
    if (this.domains.length > 0) {
      const refusal = this._fillPages(at, source, access);
      if (refusal) return refusal;
    }
    const number = this.sources.number(source);
    source.areas++;
    this.areas.insertAfter(iovaHigh, iovaLow, lastHigh, lastLow, at.startHigh, startLow, number, access);
    return null;
  }

  /**
   * `mapFixed` for many single pages of process memory, as long as none of them is refused: the same, but what is common
   * to them is done once. Answers how many were mapped; 0 also where that cannot be said at once. Page numbers are below
   * 2^40, strides are in pages, that of IOVAs is at least 1.
   */
  mapPages(
    page: number,
    stride: number,
    start: number,
    startStride: number,
    count: number,
    source: Source,
    access: number,
  ): number {
    const domain = this.domains[0];
    if (this.immutable > 0 || this.domains.length > 1 || source.shared || source.origin.kind !== 'user') return 0;
    if (domain && (domain.format.minShift !== PAGE_SHIFT || domain.checkAccess(access))) return 0;
    const last = page + (count - 1) * stride;
    const [firstHigh, firstLow] = [Math.floor(page / HIGH_PAGES), (page * PAGE_SIZE) >>> 0];
    const [lastHigh, lastLow] = [Math.floor(last / HIGH_PAGES), ((last * PAGE_SIZE) >>> 0) + PAGE_SIZE - 1];
    if (!this._isFree(firstHigh, firstLow, lastHigh, lastLow)) return 0;
    if (this.areas.seek(lastHigh, lastLow) && this.areas.reaches(firstHigh, firstLow)) return 0;
    let done = count;
    if (domain) {
      if (charge(source.account, count)) return 0;
      done = this._fillMany(domain, page, stride, start, startStride, count, source, access);
      uncharge(source.account, count - done);
      if (done === 0) return 0;
    }
    const number = this.sources.number(source);
    source.areas += done;
    this.areas.insertPages(page, stride, start, startStride, done, number, access);
    return done;
  }

  /** Pins and maps single pages until one of them cannot be; answers how many. */
  private _fillMany(
    domain: PagingDomain,
    page: number,
    stride: number,
    start: number,
    startStride: number,
    count: number,
    source: Source,
    access: number,
  ): number {
    if (stride === 1 && startStride === 1) {
      const frame = source.pinRow(this._memory, start, count);
      if (frame >= 0) {
        if (domain.table.mapSmall(page, frame * PAGE_SIZE, count, access)) return count;
        domain.unmap(page, count);
        source.unpinRow(this._memory, frame, count);
      }
    }
    for (let done = 0; done < count; done++) {
      const frame = source.pinRow(this._memory, start + done * startStride, 1);
      if (frame < 0) return done;
      if (domain.table.mapOne(page + done * stride, frame * PAGE_SIZE, access)) continue;
      source.unpinRow(this._memory, frame, 1);
      return done;
    }
    return count;
  }

  /** Maps where the kernel chooses; `at` gets the IOVA. */
  mapChosen(at: Span, source: Source, access: number): Refusal | null {
    if (this.immutable === 0 && at.lengthHigh === 0 && at.lengthLow < WORD / 2 && (at.lengthLow & this.mask) === 0) {
      const low = chooseLowIova(this, at.lengthLow, at.startLow);
      if (low >= 0) {
        at.iovaHigh = Math.floor(low / WORD);
        at.iovaLow = low >>> 0;
        return this.mapFixed(at, source, access);
      }
    }
    const chosen = this._choose(big(at.lengthHigh, at.lengthLow), big(at.startHigh, at.startLow));
    if (typeof chosen !== 'bigint') return chosen;
    at.iovaHigh = highOf(chosen);
    at.iovaLow = lowOf(chosen);
    return this.mapFixed(at, source, access);
  }

  private _choose(length: bigint, start: bigint): bigint | Refusal {
    if (this.immutable > 0) return refuse('EBUSY', 'iopt_map_pages', IMMUTABLE, 'C2');
    if (length % this.alignment !== 0n)
      return refuse('EINVAL', 'iopt_alloc_area_pages', `length is not a multiple of ${this.alignment}`);
    return chooseIova(this, start, length);
  }

  /** iopt_map_pages for several slices at once (COPY): all or nothing. Answers the IOVA of the first. */
  mapSlices(
    wanted: bigint | null,
    slices: readonly { start: bigint; length: bigint; source: Source }[],
    access: number,
    needsWrite: boolean,
  ): bigint | Refusal {
    const length = slices.reduce((sum, slice) => sum + slice.length, 0n);
    const iova = wanted === null ? this._choose(length, slices[0]!.start) : this._checkFixed(wanted, length);
    if (typeof iova !== 'bigint') return iova;
    let at = iova;
    for (const slice of slices) {
      if (needsWrite && !slice.source.writable)
        return refuse('EPERM', 'iopt_map_pages', 'the source was mapped without WRITEABLE');
      if (slice.start % this.alignment !== 0n)
        return refuse('EINVAL', 'iopt_insert_area', `the memory is not aligned to ${this.alignment} within its page`);
    }
    for (const [index, slice] of slices.entries()) {
      const refusal = this.mapFixed(span(at, slice.length, slice.start), slice.source, access);
      if (refusal) {
        for (let undo = index; undo > 0; undo--) {
          at -= slices[undo - 1]!.length;
          this.areas.seek(highOf(at), lowOf(at));
          this._removeCurrent();
        }
        return refusal;
      }
      at += slice.length;
    }
    return iova;
  }

  private _checkFixed(iova: bigint, length: bigint): bigint | Refusal {
    if (this.immutable > 0) return refuse('EBUSY', 'iopt_map_pages', IMMUTABLE, 'C2');
    if (length % this.alignment !== 0n)
      return refuse('EINVAL', 'iopt_alloc_area_pages', `length is not a multiple of ${this.alignment}`);
    const check = 'iopt_check_iova';
    if (iova % this.alignment !== 0n) return refuse('EINVAL', check, `iova is not a multiple of ${this.alignment}`);
    const last = iova + length - 1n;
    if (last > UMAX) return refuse('EOVERFLOW', check, 'the last IOVA is beyond 64 bits');
    if (!this._isFree(highOf(iova), lowOf(iova), highOf(last), lowOf(last)))
      return refuse('EINVAL', check, 'the range touches a reserved one or lies outside the aperture');
    const taken = this.areas.first(iova, last);
    if (taken) return refuse('EEXIST', check, `0x${taken.iova.toString(16)} is mapped already`);
    return iova;
  }

  // ---- unmapping -------------------------------------------------------------------------------------------------

  /**
   * iopt_unmap_iova: whole areas of [start, last], ascending. ENOENT at the first one that the range cuts, EBUSY at one
   * that hardware holds; those before stay unmapped. Adds the bytes unmapped to `progress`.
   */
  unmap(start: bigint, last: bigint, progress: { bytes: bigint }): Refusal | null {
    const counted = { high: 0, low: 0 };
    const refusal = this.unmapRange(highOf(start), lowOf(start), highOf(last), lowOf(last), counted) as Refusal | null;
    progress.bytes += (BigInt(counted.high) << 32n) + BigInt(counted.low);
    return refusal;
  }

  /**
   * The same with words; `counted` gets the bytes unmapped, its low word below 2^53. After about `most` areas it pauses
   * (`more`): asked again, with nothing in between, it goes on.
   */
  unmapRange(
    startHigh: number,
    startLow: number,
    endHigh: number,
    endLow: number,
    counted: { high: number; low: number },
    most = Number.POSITIVE_INFINITY,
  ): Refusal | null | 'more' {
    if (this.immutable > 0) return refuse('EBUSY', 'iopt_unmap_iova_range', IMMUTABLE, 'C2');
    const { areas } = this;
    let found = areas.seek(startHigh, startLow) && areas.reaches(startHigh, startLow);
    if (!found) found = areas.next();
    for (let left = most; found; ) {
      if (left <= 0) return 'more';
      // What lies in one block is taken out of it at once.
      const { slot, leftInBlock } = areas;
      let taken = 0;
      let refusal: Refusal | null | undefined = null;
      let reached = false;
      for (; taken < leftInBlock; taken++) {
        areas.slot = slot + taken;
        refusal = this._judgeUnmap(startHigh, startLow, endHigh, endLow);
        if (refusal !== null) break;
        counted.high += areas.lastHigh - areas.iovaHigh;
        counted.low += areas.lastLow - areas.iovaLow + 1;
        // Most ranges end with their first area: what follows it need not be looked at.
        if (taken === 0 && areas.lastLow === endLow && areas.lastHigh === endHigh) {
          reached = true;
          taken = 1;
          break;
        }
      }
      this._unfillAreas(slot, taken);
      areas.removeRun(slot, taken);
      left -= taken;
      if (refusal !== null || reached) return refusal ?? null;
      found = areas.next();
    }
    return null;
  }

  /** Takes areas of the current block out of all domains; they are no longer counted as those of their sources. */
  private _unfillAreas(slot: number, count: number): void {
    const { areas } = this;
    for (let at = slot; at < slot + count; ) {
      areas.slot = at;
      const source = this.sources.at(areas.source);
      const page = pageOf(areas.iovaHigh, areas.iovaLow);
      const row = Math.max(1, this._alike(page, 1, 1, slot + count - at));
      if (this.domains.length > 0 && (row === 1 || !this._unfillRow(source, page, row)))
        for (let each = at; each < at + row; each++) {
          areas.slot = each;
          this._unfill(source);
        }
      this._leave(source, row);
      at += row;
    }
  }

  /**
   * Unmaps areas of `pages` pages each, `stride` pages from one to the next, as long as there are just these. Answers how
   * many; 0 also where that cannot be said at once. Page numbers are below 2^40.
   */
  unmapPages(page: number, stride: number, pages: number, count: number): number {
    if (this.immutable > 0 || this.holds.size > 0) return 0;
    const { areas } = this;
    if (!areas.seek(Math.floor(page / HIGH_PAGES), (page * PAGE_SIZE) >>> 0)) return 0;
    for (let done = 0; done < count; ) {
      const { slot } = areas;
      const first = page + done * stride;
      const taken = this._alike(first, stride, pages, Math.min(areas.leftInBlock, count - done));
      if (taken === 0) return done;
      const source = this.sources.at(areas.source);
      if (this.domains.length > 0 && (pages > 1 || stride > 1 || !this._unfillRow(source, first, taken)))
        for (let at = slot; at < slot + taken; at++) {
          areas.slot = at;
          this._unfill(source);
        }
      this._leave(source, taken);
      areas.removeRun(slot, taken);
      done += taken;
      if (!areas.next()) return done;
    }
    return count;
  }

  /** How many areas of one source, from the current one on and in its block, lie at these places. Goes nowhere. */
  private _alike(page: number, stride: number, pages: number, most: number): number {
    const { areas } = this;
    const { slot, source } = areas;
    let alike = 0;
    for (; alike < most; alike++) {
      areas.slot = slot + alike;
      const first = page + alike * stride;
      const last = first + pages - 1;
      if (areas.iovaLow !== (first * PAGE_SIZE) >>> 0 || areas.lastLow !== ((last * PAGE_SIZE) >>> 0) + PAGE_SIZE - 1)
        break;
      if (areas.iovaHigh !== Math.floor(first / HIGH_PAGES) || areas.lastHigh !== Math.floor(last / HIGH_PAGES)) break;
      if (areas.source !== source) break;
    }
    areas.slot = slot;
    return alike;
  }

  /** Takes pages in a row out of the domain and lets them go, where their frames are in a row, too; else false. */
  private _unfillRow(source: Source, page: number, count: number): boolean {
    const [domain] = this.domains;
    if (this.domains.length > 1 || source.shared || domain!.format.minShift !== PAGE_SHIFT) return false;
    const physical = domain!.table.unmapSmall(page, count);
    if (physical < 0) return false;
    source.unpinRow(this._memory, physical / PAGE_SIZE, count);
    uncharge(source.account, count);
    return true;
  }

  /** Whether the current area may be unmapped with a range (null), is behind it (undefined), or why not. */
  private _judgeUnmap(
    startHigh: number,
    startLow: number,
    endHigh: number,
    endLow: number,
  ): Refusal | null | undefined {
    const where = 'iopt_unmap_iova_range';
    const { areas } = this;
    const { iovaHigh, iovaLow, lastHigh, lastLow } = areas;
    if (below(endHigh, endLow, iovaHigh, iovaLow)) return undefined;
    const holds = this.holds.size > 0 ? this.holds.get(areas.area().iova) : undefined;
    if (holds && holds.locks > 0)
      return refuse('EBUSY', where, `a hardware queue lives in the area at ${hex(iovaHigh, iovaLow)}`);
    if (below(iovaHigh, iovaLow, startHigh, startLow) || below(endHigh, endLow, lastHigh, lastLow))
      return refuse('ENOENT', where, `the range cuts the area at ${hex(iovaHigh, iovaLow)}; areas are unmapped whole`);
    if (holds) {
      const { iova, last } = areas.area();
      for (const access of this.accesses.keys()) access.unmapped(iova, last);
      areas.seek(iovaHigh, iovaLow);
    }
    return null;
  }

  /** Unloads and forgets the current area; the table goes to the one before it. */
  private _removeCurrent(): void {
    const source = this.sources.at(this.areas.source);
    if (this.domains.length > 0) this._unfill(source);
    this.areas.remove();
    this._leave(source);
  }

  /** Fewer areas show a source. */
  private _leave(source: Source, areas = 1): void {
    source.areas -= areas;
    if (source.areas === 0) this.sources.remove(source);
  }

  /** All maps go, as when the IOAS is destroyed. */
  clear(): void {
    this.immutable = 0;
    this.unmap(0n, UMAX, { bytes: 0n });
  }

  /**
   * iopt_cut_iova (TYPE1): splits the area that contains `iova`, whose byte `iova` begins the second piece. EINVAL at
   * an odd place.
   */
  cut(iova: bigint): Refusal | null {
    const where = 'iopt_cut_iova';
    const area = this.areas.at(iova);
    if (!area || area.iova === iova) return null;
    if (iova % this.alignment !== 0n || (area.start + (iova - area.iova)) % PAGE !== 0n)
      return refuse('EINVAL', where, `an area cannot be cut at 0x${iova.toString(16)}`);
    if (this.holds.has(area.iova))
      return refuse('EINVAL', where, `the area at 0x${area.iova.toString(16)} is pinned by an access`);
    this.areas.seek(highOf(iova), lowOf(iova));
    this.areas.cut(iova);
    this.sources.at(area.source).areas++;
    return null;
  }

  // ---- domains ---------------------------------------------------------------------------------------------------

  /** iopt_table_add_domain. EINVAL page too large, EADDRINUSE alignment or aperture, or what filling answers. */
  addDomain(domain: PagingDomain): Refusal | null {
    const where = 'iopt_table_add_domain';
    if (domain.minPage > PAGE) return refuse('EINVAL', where, 'the smallest page of the IOMMU is larger than 4096');
    const before = this.alignment;
    const undo = (refusal: Refusal): Refusal => {
      this.unreserve(domain);
      this.alignment = before;
      return refusal;
    };
    const misaligned = this._realign(this._alignmentWith([...this.domains, domain], this.hugePages));
    if (misaligned) return misaligned;
    const { apertureStart, apertureLast } = domain.format;
    const low = apertureStart > 0n ? this.reserve(0n, apertureStart - 1n, domain) : null;
    if (low) return undo(low);
    const high = apertureLast < UMAX ? this.reserve(apertureLast + 1n, UMAX, domain) : null;
    if (high) return undo(high);
    const { areas } = this;
    const first = this.domains.length === 0;
    let filled = 0;
    for (let more = areas.seekFirst(); more; more = areas.next()) {
      const source = this.sources.at(areas.source);
      const at = this._currentSpan();
      const refusal = first
        ? this._fill(at, source, areas.access, [domain])
        : this._load(at, this._framesOfCurrent(source), areas.access, [domain]);
      if (refusal) {
        areas.seekFirst();
        for (; filled > 0; filled--, areas.next()) this._unload(domain, first);
        return undo(refusal);
      }
      filled++;
    }
    this.domains.push(domain);
    return null;
  }

  /** iopt_table_remove_domain: the last one unpins everything. The caller frees the domain. */
  removeDomain(domain: PagingDomain): void {
    const { areas } = this;
    const isLast = this.domains.length === 1;
    // The domain is about to be freed with all its tables: nothing has to be taken out of it one by one.
    if (isLast)
      for (let more = areas.seekFirst(); more; more = areas.next())
        this._unpinCurrent(this.sources.at(areas.source), domain);
    this.domains = this.domains.filter((other) => other !== domain);
    this.unreserve(domain);
    this.alignment = this._alignmentWith(this.domains, this.hugePages);
  }

  /** Takes the current area out of one domain, and unpins it if that was the only one. */
  private _unload(domain: PagingDomain, unpin: boolean): void {
    if (unpin) this._unpinCurrent(this.sources.at(this.areas.source), domain);
    const shift = domain.format.minShift;
    const unit = unitOf(this.areas.iovaHigh, this.areas.iovaLow, shift);
    domain.unmap(unit, unitOf(this.areas.lastHigh, this.areas.lastLow, shift) - unit + 1);
  }

  /** HUGE_PAGES. EINVAL with areas in a domain, EADDRINUSE areas that do not fit. */
  setHugePages(on: boolean): Refusal | null {
    if (on) {
      this.hugePages = true;
      this.alignment = this._alignmentWith(this.domains, true);
      return null;
    }
    if (!this.hugePages) return null;
    if (this.domains.length > 0 && this.areas.size > 0)
      return refuse('EINVAL', 'iopt_disable_large_pages', 'areas are mapped into a HWPT already');
    const refusal = this._realign(this._alignmentWith(this.domains, false));
    if (refusal) return refusal;
    this.hugePages = false;
    return null;
  }

  /** Raises the alignment for a user inside the kernel; EADDRINUSE. */
  addAccess(user: IoptAccess, alignment: bigint): Refusal | null {
    this.accesses.set(user, alignment);
    const refusal = this._realign(this._alignmentWith(this.domains, this.hugePages));
    if (refusal) this.accesses.delete(user);
    return refusal;
  }

  removeAccess(user: IoptAccess): void {
    this.accesses.delete(user);
    this.alignment = this._alignmentWith(this.domains, this.hugePages);
  }

  // ---- pages -----------------------------------------------------------------------------------------------------

  /** The origin of an area's memory. */
  originOf(area: Area): Origin {
    return this.sources.at(area.source).origin;
  }

  /**
   * The pages of an area as an object that others can share: for COPY, and for accesses that pin. From then on the
   * area's pages are pinned there, once for all.
   */
  share(area: Area): SharedPages {
    const source = this.sources.at(area.source);
    if (source.shared) return source.shared;
    const shared = new SharedPages(this._memory, source.origin, source.writable, source.account);
    this.areas.seek(highOf(area.iova), lowOf(area.iova));
    const [first, last] = pageRange(area);
    if (this.domains.length > 0) {
      shared.adopt(first, last, this._framesOfCurrent(source));
      source.pinnedPages -= last - first + 1;
    }
    const own = this.sources.forShared(shared);
    own.areas++;
    this.areas.source = this.sources.number(own);
    this._leave(source);
    return shared;
  }

  /** The current area as a span. */
  private _currentSpan(): Span {
    const { areas } = this;
    let lengthLow = areas.lastLow - areas.iovaLow + 1;
    let lengthHigh = areas.lastHigh - areas.iovaHigh;
    if (lengthLow < 0) {
      lengthLow += WORD;
      lengthHigh--;
    } else if (lengthLow >= WORD) {
      lengthLow -= WORD;
      lengthHigh++;
    }
    return {
      iovaHigh: areas.iovaHigh,
      iovaLow: areas.iovaLow,
      lengthHigh,
      lengthLow,
      startHigh: areas.startHigh,
      startLow: areas.startLow,
    };
  }

  /** Pins an area, loads it into the domains and charges it; all or nothing. */
  private _fill(
    at: Span,
    source: Source,
    access: number,
    domains: readonly PagingDomain[] = this.domains,
  ): Refusal | null {
    const first = pageOf(at.startHigh, at.startLow);
    const last = lastPage(at);
    const { shared } = source;
    if (shared) {
      const fresh = shared.pin(first, last);
      if (typeof fresh !== 'number') return fresh;
      const refusal = this._load(at, shared.frames(first, last), access, domains) ?? charge(shared.account, fresh);
      if (!refusal) return null;
      this._unloadSpan(at, domains);
      shared.unpin(first, last);
      return refusal;
    }
    const spans = source.pin(this._memory, first, last);
    if (!Array.isArray(spans)) return spans;
    const refusal = this._load(at, spans, access, domains) ?? charge(source.account, last - first + 1);
    if (!refusal) return null;
    this._unloadSpan(at, domains);
    this._unpinSpans(source, spans);
    return refusal;
  }

  /** The same as `_fill`, faster where a few whole pages of process memory, in a row, go into one domain. */
  private _fillPages(at: Span, source: Source, access: number): Refusal | null {
    const domain = this.domains[0]!;
    const pages = smallPages(at.lengthHigh, at.lengthLow, at.startLow);
    const fits = pages === 1 ? domain.format.minShift === PAGE_SHIFT : pages > 1 && hasSmallPages(domain, pages);
    if (!fits || this.domains.length > 1 || source.shared) return this._fill(at, source, access);
    const page = pageOf(at.startHigh, at.startLow);
    const frame = domain.checkAccess(access) ? -1 : source.pinRow(this._memory, page, pages);
    // The general way tells why not.
    if (frame < 0) return this._fill(at, source, access);
    const unit = pageOf(at.iovaHigh, at.iovaLow);
    const refusal = source.account.mode === 'none' ? null : charge(source.account, pages);
    const { table } = domain;
    const physical = frame * PAGE_SIZE;
    if (
      !refusal &&
      (pages === 1 ? table.mapOne(unit, physical, access) : table.mapSmall(unit, physical, pages, access))
    )
      return null;
    if (!refusal) {
      domain.unmap(unit, pages);
      uncharge(source.account, pages);
    }
    source.unpinRow(this._memory, frame, pages);
    return refusal ?? refuse('ENOMEM', 'iommu_map', 'no memory for page tables');
  }

  /** Maps pinned frames into domains; on failure nothing stays in any. */
  private _load(
    at: Span,
    spans: readonly FrameSpan[],
    access: number,
    domains: readonly PagingDomain[],
  ): Refusal | null {
    for (const [index, domain] of domains.entries()) {
      const refusal = this._loadOne(at, spans, access, domain);
      if (!refusal) continue;
      this._unloadSpan(at, domains.slice(0, index));
      return refusal;
    }
    return null;
  }

  private _loadOne(at: Span, spans: readonly FrameSpan[], access: number, domain: PagingDomain): Refusal | null {
    const byFolio = domain.unit.spec.dirtyTracking;
    const shift = domain.format.minShift;
    const smallest = 2 ** shift;
    const offset = at.startLow % PAGE_SIZE;
    const firstPage = pageOf(at.startHigh, at.startLow);
    const total = unitsOf(at, shift);
    const unit = unitOf(at.iovaHigh, at.iovaLow, shift);
    let done = 0;
    for (const { page, frame, count, folioShift } of spans) {
      const skip = page === firstPage ? offset : 0;
      const units = Math.min(total - done, (count * PAGE_SIZE - skip) / smallest);
      const maxShift = this.hugePages ? (byFolio ? folioShift : 63) : PAGE_SHIFT;
      const refusal = domain.map(unit + done, frame * PAGE_SIZE + skip, units, access, maxShift);
      if (refusal) {
        if (done > 0) domain.unmap(unit, done);
        return refusal;
      }
      done += units;
    }
    return null;
  }

  private _unloadSpan(at: Span, domains: readonly PagingDomain[]): void {
    for (const domain of domains) {
      const shift = domain.format.minShift;
      domain.unmap(unitOf(at.iovaHigh, at.iovaLow, shift), unitsOf(at, shift));
    }
  }

  private _unpinSpans(source: Source, spans: readonly FrameSpan[]): void {
    let pages = 0;
    for (const { frame, count } of spans) {
      this._memory.unpin(frame, count);
      pages += count;
    }
    source.countPins(-pages);
  }

  /** Takes the current area out of all domains and lets its pages go. */
  private _unfill(source: Source): void {
    const { areas, domains } = this;
    const [domain] = domains;
    if (domains.length === 1 && !source.shared) {
      const unit = pageOf(areas.iovaHigh, areas.iovaLow);
      const last = pageOf(areas.lastHigh, areas.lastLow);
      const whole = ((areas.startLow | areas.iovaLow) & (PAGE_SIZE - 1)) === 0;
      const pages = whole && last - unit < FEW_PAGES ? last - unit + 1 : 0;
      let physical = -1;
      if (pages === 1) physical = domain!.format.minShift === PAGE_SHIFT ? domain!.table.unmapOne(unit) : -1;
      else if (pages > 1 && hasSmallPages(domain!, pages)) physical = domain!.table.unmapSmall(unit, pages);
      if (physical >= 0) {
        source.unpinRow(this._memory, physical / PAGE_SIZE, pages);
        uncharge(source.account, pages);
        return;
      }
    }
    this._unpinCurrent(source, domain!);
    for (const each of domains) {
      const shift = each.format.minShift;
      const unit = unitOf(areas.iovaHigh, areas.iovaLow, shift);
      each.unmap(unit, unitOf(areas.lastHigh, areas.lastLow, shift) - unit + 1);
    }
  }

  /** Lets the pages of the current area go; `domain` still shows them. */
  private _unpinCurrent(source: Source, domain: PagingDomain): void {
    const { areas } = this;
    const first = pageOf(areas.startHigh, areas.startLow);
    const last = lastPage(this._currentSpan());
    if (source.shared) {
      uncharge(source.shared.account, source.shared.unpin(first, last));
      return;
    }
    this._unpinSpans(source, this._framesOfCurrent(source, domain));
    uncharge(source.account, last - first + 1);
  }

  /** Frames behind the current area: of an area of its own the page table tells. */
  private _framesOfCurrent(source: Source, domain: PagingDomain = this.domains[0]!): FrameSpan[] {
    const at = this._currentSpan();
    const first = pageOf(at.startHigh, at.startLow);
    if (source.shared) return source.shared.frames(first, lastPage(at));
    const shift = domain.format.minShift;
    const unit = unitOf(at.iovaHigh, at.iovaLow, shift);
    const end = unit + unitsOf(at, shift);
    const offset = at.startLow % PAGE_SIZE;
    const spans: FrameSpan[] = [];
    let next = first;
    let run: ReturnType<PhysicalMemory['runAt']> = null;
    for (const leaf of domain.table.leaves(unit, end - 1)) {
      const from = Math.max(leaf.unit, unit);
      const to = Math.min(leaf.unit + 2 ** (leaf.shift - shift), end);
      const physical = leaf.physical + (from - leaf.unit) * 2 ** shift;
      const page = first + Math.floor((offset + (from - unit) * 2 ** shift) / PAGE_SIZE);
      const lastOfLeaf = first + Math.floor((offset + (to - unit) * 2 ** shift - 1) / PAGE_SIZE);
      const begin = Math.max(page, next);
      if (begin > lastOfLeaf) continue;
      const frame = Math.floor(physical / PAGE_SIZE) + (begin - page);
      const left = spans[spans.length - 1];
      const count = lastOfLeaf - begin + 1;
      // The leaf may be smaller than the folio, where this IOVA allowed no more.
      if (!run || frame < run.start || frame >= run.start + run.count) run = this._memory.runAt(frame);
      const folioShift = run?.folioShift ?? PAGE_SHIFT;
      if (left && left.frame + left.count === frame && left.folioShift === folioShift) left.count += count;
      else spans.push({ page: begin, frame, count, folioShift });
      next = lastOfLeaf + 1;
    }
    return spans;
  }
}

/** Fewer pages than these fit in one table, and are never one large page. */
const FEW_PAGES = 512;

/** How many pages, where they are few and whole; else 0. */
function smallPages(lengthHigh: number, lengthLow: number, startLow: number): number {
  if (lengthHigh !== 0 || ((lengthLow | startLow) & (PAGE_SIZE - 1)) !== 0) return 0;
  return lengthLow < FEW_PAGES * PAGE_SIZE ? lengthLow / PAGE_SIZE : 0;
}

/** Whether a domain has no page that is larger than 4096 bytes and not larger than these together. */
function hasSmallPages({ format }: PagingDomain, pages: number): boolean {
  if (format.minShift !== PAGE_SHIFT) return false;
  const { leafShifts } = format;
  const next = leafShifts.length > 1 ? leafShifts[leafShifts.length - 2]! : Number.POSITIVE_INFINITY;
  return 2 ** (next - PAGE_SHIFT) > pages;
}

const unitOf = (high: number, low: number, shift: number): number => high * 2 ** (32 - shift) + (low >>> shift);
const unitsOf = ({ lengthHigh, lengthLow }: Span, shift: number): number => unitOf(lengthHigh, lengthLow, shift);

/** The last page, in the process or file, that a span touches. */
function lastPage({ startHigh, startLow, lengthHigh, lengthLow }: Span): number {
  const offset = (startLow % PAGE_SIZE) + (lengthLow % PAGE_SIZE) - 1;
  return pageOf(startHigh, startLow) + pageOf(lengthHigh, lengthLow) + Math.floor(offset / PAGE_SIZE);
}

/** First and last page number, in the process or file, that an area touches. */
export function pageRange(area: Area): [number, number] {
  return [Number(area.start / PAGE), Number((area.start + (area.last - area.iova)) / PAGE)];
}
