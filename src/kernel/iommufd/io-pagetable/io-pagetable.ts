/**
 * The IO page table of an IOAS (drivers/iommu/iommufd/io_pagetable.c): areas, reserved and allowed ranges, and the
 * domains that must show every area. What is refused, and in which order, is Linux's: README.md has the table.
 *
 * Invariants: areas are disjoint, lie outside reserved ranges, are multiples of `alignment`, and are present in every
 * domain; no allowed range touches a reserved one.
 */
import {
  below,
  big,
  hex,
  hexOf,
  highOf,
  lastHighOf,
  lastLowOf,
  lowOf,
  PAGE,
  PAGE_SHIFT,
  PAGE_SIZE,
  pageHigh,
  pageLow,
  pageOf,
  UMAX,
  WORD,
} from '../../../machine/address.ts';
import { assert, type Refusal, refuse } from '../../errno.ts';
import type { Area } from '../areas/area-cursor.ts';
import { DomainSpace } from './domain-space.ts';
import { chooseIova, chooseLowIova } from './iova-allocator.ts';
import { charge, type Origin, SharedPages, type Source, uncharge } from './pages.ts';
import { type PageRow, pageRange, type Span, span } from './span.ts';

const IMMUTABLE = 'a HWPT of this IOAS is preserved: close the session to change mappings';

export class IoPagetable extends DomainSpace {
  static override readonly caches = { ...DomainSpace.caches, _lastHigh: () => 0, _lastLow: () => 0 };
  /** Last IOVA of the range that `_check` has seen last. */
  private _lastHigh = 0;
  private _lastLow = 0;
  private _preserved = 0;

  /** Whether a HWPT of it is preserved: nothing may change then (C2). */
  get immutable(): boolean {
    return this._preserved > 0;
  }

  /** How many of its HWPTs are preserved. */
  get preservedHwpts(): number {
    return this._preserved;
  }

  /** A HWPT of it is preserved. */
  preserve(): void {
    this._preserved++;
  }

  unpreserve(): void {
    assert(this._preserved > 0, 'a HWPT of the IOAS was preserved');
    this._preserved--;
  }

  /** Reads ahead what maps and unmaps at the first `count` IOVAs look at, as `prefetchAreas` and `prefetchEntries` do. */
  prefetch(iovas: Float64Array, count: number): number {
    let read = this.areas.prefetch(iovas, count);
    for (const { table } of this.domains) read ^= table.prefetch(iovas, count);
    return read;
  }

  // ---- mapping ---------------------------------------------------------------------------------------------------

  /**
   * iopt_map_pages at a fixed IOVA: rows 7 to 10 of MAP. EBUSY immutable (C2); EINVAL length or alignment, EOVERFLOW,
   * EINVAL reserved, EEXIST taken; with a domain the errnos of `AreaPages.fill`. Nothing changes on failure.
   */
  mapFixed(at: Span, source: Source, access: number): Refusal | null {
    const wrong = this._check(at);
    if (wrong) return wrong;
    const { iovaHigh, iovaLow, startLow } = at;
    if (startLow & this.mask)
      return refuse('EINVAL', 'iopt_insert_area', `the memory is not aligned to ${this.alignment} within its page`);
    if (this.domains.length > 0) {
      const refusal = this._pages.fillPages(at, source, access);
      if (refusal) return refusal;
    }
    const number = this.sources.number(source);
    source.hold(1);
    this.areas.insertAfter(iovaHigh, iovaLow, this._lastHigh, this._lastLow, at.startHigh, startLow, number, access);
    return null;
  }

  /**
   * Does `mapFixed` for many single pages of process memory, as long as none is refused; what is common to them is done
   * once. Returns the number mapped; 0 also when the fast way does not apply.
   */
  mapPages(row: PageRow, source: Source, access: number): number {
    const { page, stride, start, startStride, count } = row;
    const domain = this.domains[0];
    if (this.immutable || this.domains.length > 1 || source.shared || source.origin.kind !== 'user') return 0;
    if (domain && (domain.format.minShift !== PAGE_SHIFT || domain.checkAccess(access))) return 0;
    const last = page + (count - 1) * stride;
    const [firstHigh, firstLow] = [pageHigh(page), pageLow(page)];
    const [lastHigh, lastLow] = [pageHigh(last), pageLow(last) + PAGE_SIZE - 1];
    if (!this.isFree(firstHigh, firstLow, lastHigh, lastLow)) return 0;
    if (this.areas.seek(lastHigh, lastLow) && this.areas.reaches(firstHigh, firstLow)) return 0;
    let done = count;
    if (domain) {
      if (charge(source.account, count)) return 0;
      done = this._pages.fillMany(domain, row, source, access);
      uncharge(source.account, count - done);
      if (done === 0) return 0;
    }
    const number = this.sources.number(source);
    source.hold(done);
    this.areas.insertPages(page, stride, start, startStride, done, number, access);
    return done;
  }

  /** Maps where the kernel chooses, and writes the IOVA into `at`. Errnos of `chooseIova`, then of `mapFixed`. */
  mapChosen(at: Span, source: Source, access: number): Refusal | null {
    if (!this.immutable && at.lengthHigh === 0 && at.lengthLow < WORD / 2 && (at.lengthLow & this.mask) === 0) {
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
    if (this.immutable) return refuse('EBUSY', 'iopt_map_pages', IMMUTABLE, 'C2');
    if (length % this.alignment !== 0n)
      return refuse('EINVAL', 'iopt_alloc_area_pages', `length is not a multiple of ${this.alignment}`);
    return chooseIova(this, start, length);
  }

  /**
   * iopt_map_pages for several slices at once (COPY): all or nothing. Returns the IOVA of the first. `wanted` null: the
   * kernel chooses. EPERM a slice was not mapped for writing (`needsWrite`), else the errnos of `mapFixed`.
   */
  mapSlices(
    wanted: bigint | null,
    slices: readonly { start: bigint; length: bigint; source: Source }[],
    access: number,
    needsWrite: boolean,
  ): bigint | Refusal {
    const length = slices.reduce((sum, slice) => sum + slice.length, 0n);
    const iova = wanted ?? this._choose(length, slices[0]!.start);
    if (typeof iova !== 'bigint') return iova;
    const wrong = this._check(span(iova, length, 0n));
    if (wrong) return wrong;
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
          this._open(this.areas.slot);
          this._unfillAreas(this.areas.slot, 1);
          this.areas.remove();
        }
        return refusal;
      }
      at += slice.length;
    }
    return iova;
  }

  /** iopt_check_iova, and the checks before it. Then `areas` is where the area can be inserted, `_last…` its end. */
  private _check(at: Span): Refusal | null {
    const { iovaHigh, iovaLow, lengthHigh, lengthLow } = at;
    if (this.immutable) return refuse('EBUSY', 'iopt_map_pages', IMMUTABLE, 'C2');
    const mask = this.mask;
    if (lengthLow & mask)
      return refuse('EINVAL', 'iopt_alloc_area_pages', `length is not a multiple of ${this.alignment}`);
    const check = 'iopt_check_iova';
    if (iovaLow & mask) return refuse('EINVAL', check, `iova is not a multiple of ${this.alignment}`);
    const lastLow = lastLowOf(iovaLow, lengthLow);
    const lastHigh = lastHighOf(iovaHigh, iovaLow, lengthHigh, lengthLow);
    if (lastHigh >= WORD) return refuse('EOVERFLOW', check, 'the last IOVA is beyond 64 bits');
    if (!this.isFree(iovaHigh, iovaLow, lastHigh, lastLow))
      return refuse(
        'EINVAL',
        check,
        'the range touches a reserved one or lies outside the aperture; see IOMMU_IOAS_IOVA_RANGES',
      );
    if (this.areas.seek(lastHigh, lastLow) && this.areas.reaches(iovaHigh, iovaLow))
      return refuse('EEXIST', check, `${hexOf(this.areas.iovaHigh, this.areas.iovaLow)} is mapped already`);
    this._lastHigh = lastHigh;
    this._lastLow = lastLow;
    return null;
  }

  // ---- unmapping -------------------------------------------------------------------------------------------------

  /**
   * iopt_unmap_iova_range: unmaps whole areas of [start, last], ascending, and adds their bytes to `progress`. EBUSY
   * immutable (C2), or a hardware queue lives in the area; ENOENT the range cuts the area: those before stay unmapped.
   */
  unmap(start: bigint, last: bigint, progress: { bytes: bigint }): Refusal | null {
    const counted = { high: 0, low: 0 };
    const refusal = this.unmapRange(highOf(start), lowOf(start), highOf(last), lowOf(last), counted) as Refusal | null;
    progress.bytes += (BigInt(counted.high) << 32n) + BigInt(counted.low);
    return refusal;
  }

  /**
   * Does what `unmap` does, with words. The bytes unmapped are added to `counted`, whose low word stays below 2^53.
   * After about `most` areas it returns `more`: called again, with nothing done in between, it goes on.
   */
  unmapRange(
    startHigh: number,
    startLow: number,
    endHigh: number,
    endLow: number,
    counted: { high: number; low: number },
    most = Number.POSITIVE_INFINITY,
  ): Refusal | null | 'more' {
    if (this.immutable) return refuse('EBUSY', 'iopt_unmap_iova_range', IMMUTABLE, 'C2');
    const { areas } = this;
    let found = areas.seek(startHigh, startLow) && areas.reaches(startHigh, startLow);
    if (!found) found = areas.next();
    for (let left = most; found; ) {
      if (left <= 0) return 'more';
      // The areas of one block are removed from it at once.
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
        // Most ranges end with their first area: what follows need not be looked at.
        if (taken === 0 && areas.lastLow === endLow && areas.lastHigh === endHigh) {
          reached = true;
          taken = 1;
          break;
        }
      }
      if (taken > 0) this._open(slot);
      this._unfillAreas(slot, taken);
      areas.removeRun(slot, taken);
      left -= taken;
      if (refusal !== null || reached) return refusal ?? null;
      found = areas.next();
    }
    return null;
  }

  /** The areas of the current block from `slot` on are about to go. */
  private _open(slot: number): void {
    this.areas.slot = slot;
    this.opened(this.areas.iovaHigh * WORD + this.areas.iovaLow);
  }

  /** Removes areas of the current block, from `slot` on, from all domains and from the count of their sources. */
  private _unfillAreas(slot: number, count: number): void {
    const { areas } = this;
    for (let at = slot; at < slot + count; ) {
      areas.slot = at;
      const source = this.sources.at(areas.source);
      const page = pageOf(areas.iovaHigh, areas.iovaLow);
      const row = Math.max(1, areas.alike(page, 1, 1, slot + count - at));
      if (this.domains.length > 0 && (row === 1 || !this._pages.unfillRow(source, page, row)))
        for (let each = at; each < at + row; each++) {
          areas.slot = each;
          this._pages.unfill(source);
        }
      this._leave(source, row);
      at += row;
    }
  }

  /**
   * Unmaps areas of `pages` pages each, `stride` pages from one to the next, as long as exactly these are there.
   * Returns the number unmapped; 0 also when the fast way does not apply. Page numbers are below 2^40.
   */
  unmapPages(page: number, stride: number, pages: number, count: number): number {
    if (this.immutable || this.holds.size > 0) return 0;
    const { areas } = this;
    if (!areas.seek(pageHigh(page), pageLow(page))) return 0;
    this.opened(page * PAGE_SIZE);
    for (let done = 0; done < count; ) {
      const { slot } = areas;
      const first = page + done * stride;
      const taken = areas.alike(first, stride, pages, Math.min(areas.leftInBlock, count - done));
      if (taken === 0) return done;
      const source = this.sources.at(areas.source);
      if (this.domains.length > 0 && (pages > 1 || stride > 1 || !this._pages.unfillRow(source, first, taken)))
        for (let at = slot; at < slot + taken; at++) {
          areas.slot = at;
          this._pages.unfill(source);
        }
      this._leave(source, taken);
      areas.removeRun(slot, taken);
      done += taken;
      if (!areas.next()) return done;
    }
    return count;
  }

  /** Returns null if a range may unmap the current area, undefined if the area lies behind it, or why it may not. */
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
      return refuse('EBUSY', where, `a hardware queue lives in the area at ${hexOf(iovaHigh, iovaLow)}`);
    if (below(iovaHigh, iovaLow, startHigh, startLow) || below(endHigh, endLow, lastHigh, lastLow))
      return refuse(
        'ENOENT',
        where,
        `the range cuts the area at ${hexOf(iovaHigh, iovaLow)}; areas are unmapped whole`,
      );
    if (holds) {
      this.letGo(areas.area().iova);
      areas.seek(iovaHigh, iovaLow);
    }
    return null;
  }

  /** Counts `areas` areas of a source less; without any it is off the list. */
  private _leave(source: Source, areas = 1): void {
    source.drop(areas);
    if (source.areas === 0) this.sources.remove(source);
  }

  /** Unmaps everything, also what is immutable: the IOAS is being destroyed. */
  clear(): void {
    assert(!this.immutable, 'a preserved HWPT keeps its IOAS');
    this.unmap(0n, UMAX, { bytes: 0n });
  }

  /** iopt_cut_iova (TYPE1): splits an area; `iova` begins the second piece. EINVAL not aligned, or the area is pinned. */
  cut(iova: bigint): Refusal | null {
    const where = 'iopt_cut_iova';
    const area = this.areas.at(iova);
    if (!area || area.iova === iova) return null;
    if (iova % this.alignment !== 0n || (area.start + (iova - area.iova)) % PAGE !== 0n)
      return refuse('EINVAL', where, `an area cannot be cut at ${hex(iova)}`);
    if (this.holds.has(area.iova))
      return refuse('EINVAL', where, `the area at ${hex(area.iova)} is pinned by an access`);
    this.areas.seek(highOf(iova), lowOf(iova));
    this.areas.cut(iova);
    this.sources.at(area.source).hold(1);
    return null;
  }

  // ---- pages -----------------------------------------------------------------------------------------------------

  /** Where an area's memory comes from. */
  originOf(area: Area): Origin {
    return this.sources.at(area.source).origin;
  }

  /**
   * Makes the pages of an area an object that others can share, for COPY and for accesses, and returns it. From then on
   * the pages are pinned and charged there, once for all who share them.
   */
  share(area: Area): SharedPages {
    const source = this.sources.at(area.source);
    if (source.shared) return source.shared;
    const shared = new SharedPages(this._memory, source.origin, source.writable, source.account);
    this.areas.seek(highOf(area.iova), lowOf(area.iova));
    const [first, last] = pageRange(area);
    if (this.domains.length > 0) {
      shared.adopt(first, last, this._pages.framesOfCurrent(source));
      source.countPins(first - last - 1);
    }
    const own = this.sources.forShared(shared);
    own.hold(1);
    this.areas.source = this.sources.number(own);
    this._leave(source);
    return shared;
  }
}
