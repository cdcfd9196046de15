/**
 * The memory behind areas (drivers/iommu/iommufd/pages.c): pins it, loads it into the domains, which all show every area,
 * and unpins it. "The current area" is that of the area table.
 */
import { PAGE_SHIFT, PAGE_SIZE, pageOf, unitOf, WORD } from '../../../machine/address.ts';
import type { PhysicalMemory } from '../../../machine/memory.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { PagingDomain } from '../../iommu/domain.ts';
import type { FrameSpan } from '../../mm/frame-map.ts';
import { charge, type Source, uncharge } from '../io-pagetable/pages.ts';
import { lastPage, type PageRow, type Span, unitsOf } from '../io-pagetable/span.ts';
import type { AreaTable } from './area-table.ts';

/** Fewer pages than this fit in one table, and are never one large page. */
const FEW_PAGES = 512;

/** Returns the number of pages of a range that is less than FEW_PAGES whole pages; else 0. */
function smallPages(lengthHigh: number, lengthLow: number, startLow: number): number {
  if (lengthHigh !== 0 || ((lengthLow | startLow) & (PAGE_SIZE - 1)) !== 0) return 0;
  return lengthLow < FEW_PAGES * PAGE_SIZE ? lengthLow / PAGE_SIZE : 0;
}

/**
 * Whether a domain maps `pages` pages of 4096 bytes by that size only: its next larger leaf is larger than all of them.
 */
export function hasSmallPages({ format }: PagingDomain, pages: number): boolean {
  if (format.minShift !== PAGE_SHIFT) return false;
  const { leafShifts } = format;
  const next = leafShifts.length > 1 ? leafShifts[leafShifts.length - 2]! : Number.POSITIVE_INFINITY;
  return 2 ** (next - PAGE_SHIFT) > pages;
}

export class AreaPages {
  private readonly _memory: PhysicalMemory;
  private readonly areas: AreaTable;
  domains: PagingDomain[] = [];
  hugePages = true;

  constructor(memory: PhysicalMemory, areas: AreaTable) {
    this._memory = memory;
    this.areas = areas;
  }

  /** The current area as a span. */
  currentSpan(): Span {
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

  /**
   * Pins an area, loads it into the domains and charges it, in this order (iopt_area_fill_domains); all or nothing.
   * EFAULT, EINVAL, EOVERFLOW or ENOMEM of pinning; EINVAL or ENOMEM of loading; ENOMEM of charging.
   */
  fill(at: Span, source: Source, access: number, domains: readonly PagingDomain[] = this.domains): Refusal | null {
    const first = pageOf(at.startHigh, at.startLow);
    const last = lastPage(at);
    const { shared } = source;
    if (shared) {
      const fresh = shared.pin(first, last);
      if (typeof fresh !== 'number') return fresh;
      const refusal = this.load(at, shared.frames(first, last), access, domains) ?? charge(shared.account, fresh);
      if (!refusal) return null;
      this._unloadSpan(at, domains);
      shared.unpin(first, last);
      return refusal;
    }
    const spans = source.pin(this._memory, first, last);
    if (!Array.isArray(spans)) return spans;
    const refusal = this.load(at, spans, access, domains) ?? charge(source.account, last - first + 1);
    if (!refusal) return null;
    this._unloadSpan(at, domains);
    this._unpinSpans(source, spans);
    return refusal;
  }

  /**
   * Does what `fill` does, faster where less than FEW_PAGES whole pages of process memory in a row go into one domain.
   */
  fillPages(at: Span, source: Source, access: number): Refusal | null {
    const domain = this.domains[0]!;
    const pages = smallPages(at.lengthHigh, at.lengthLow, at.startLow);
    const fits = pages === 1 ? domain.format.minShift === PAGE_SHIFT : pages > 1 && hasSmallPages(domain, pages);
    if (!fits || this.domains.length > 1 || source.shared) return this.fill(at, source, access);
    const page = pageOf(at.startHigh, at.startLow);
    const frame = domain.checkAccess(access) ? -1 : source.pinRow(this._memory, page, pages);
    // `fill` tells why not.
    if (frame < 0) return this.fill(at, source, access);
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

  /** Returns the number of pages of the current area where that is less than FEW_PAGES whole pages; else 0. */
  private _fewOfCurrent(): number {
    const { areas } = this;
    if (((areas.startLow | areas.iovaLow | (areas.lastLow + 1)) & (PAGE_SIZE - 1)) !== 0) return 0;
    const pages = pageOf(areas.lastHigh, areas.lastLow) - pageOf(areas.iovaHigh, areas.iovaLow) + 1;
    return pages < FEW_PAGES ? pages : 0;
  }

  /** Does what `fill` does, for the current area and a domain that is the first of all. */
  fillCurrent(source: Source, domain: PagingDomain): Refusal | null {
    const { areas } = this;
    const { access } = areas;
    const pages = source.shared ? 0 : this._fewOfCurrent();
    if (pages > 0 && hasSmallPages(domain, pages) && !domain.checkAccess(access)) {
      const frame = source.pinRow(this._memory, pageOf(areas.startHigh, areas.startLow), pages);
      if (frame >= 0) {
        if (!charge(source.account, pages)) {
          if (this._mapFew(domain, frame * PAGE_SIZE, pages)) return null;
          uncharge(source.account, pages);
        }
        source.unpinRow(this._memory, frame, pages);
      }
    }
    // It can do more, or tells why not.
    return this.fill(this.currentSpan(), source, access, [domain]);
  }

  /** Maps the current area, which other domains show already, into one more. Errnos of `load`. */
  loadCurrent(source: Source, domain: PagingDomain): Refusal | null {
    const { areas } = this;
    const { access } = areas;
    const { table, format } = this.domains[0]!;
    const pages = source.shared || format.minShift !== PAGE_SHIFT ? 0 : this._fewOfCurrent();
    if (pages > 0 && hasSmallPages(domain, pages) && !domain.checkAccess(access)) {
      const physical = table.rowAt(pageOf(areas.iovaHigh, areas.iovaLow), pages);
      if (physical >= 0 && this._mapFew(domain, physical, pages)) return null;
    }
    return this.load(this.currentSpan(), this.framesOfCurrent(source), access, [domain]);
  }

  /** Maps memory in a row for the current area, in smallest pages. False: no memory for tables, and nothing is mapped. */
  private _mapFew(domain: PagingDomain, physical: number, pages: number): boolean {
    const { areas } = this;
    const unit = pageOf(areas.iovaHigh, areas.iovaLow);
    const { table } = domain;
    if (pages === 1 ? table.mapOne(unit, physical, areas.access) : table.mapSmall(unit, physical, pages, areas.access))
      return true;
    domain.unmap(unit, pages);
    return false;
  }

  /** Maps pinned frames into domains; on failure nothing stays in any. */
  load(at: Span, spans: readonly FrameSpan[], access: number, domains: readonly PagingDomain[]): Refusal | null {
    for (const [index, domain] of domains.entries()) {
      const refusal = this._loadOne(at, spans, access, domain);
      if (!refusal) continue;
      this._unloadSpan(at, domains.slice(0, index));
      return refusal;
    }
    return null;
  }

  private _loadOne(at: Span, spans: readonly FrameSpan[], access: number, domain: PagingDomain): Refusal | null {
    // With dirty tracking a leaf is not larger than the page of memory behind it; else the largest that fits.
    const byFolio = domain.options.dirtyTracking;
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

  /** Removes the current area from all domains, unpins and uncharges its pages. */
  unfill(source: Source): void {
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
    this.unpinCurrent(source, domain!, domains);
  }

  private _unloadCurrent(domain: PagingDomain): void {
    const { areas } = this;
    const shift = domain.format.minShift;
    const unit = unitOf(areas.iovaHigh, areas.iovaLow, shift);
    domain.unmap(unit, unitOf(areas.lastHigh, areas.lastLow, shift) - unit + 1);
  }

  /** Unpins and uncharges the pages of the current area, which `domain` shows; `from` are unmapped before. */
  unpinCurrent(source: Source, domain: PagingDomain, from: readonly PagingDomain[] = []): void {
    const { areas } = this;
    const { shared } = source;
    const few = shared || from.length > 0 || domain.format.minShift !== PAGE_SHIFT ? 0 : this._fewOfCurrent();
    const row = few > 0 ? domain.table.rowAt(pageOf(areas.iovaHigh, areas.iovaLow), few) : -1;
    if (row >= 0) {
      source.unpinRow(this._memory, row / PAGE_SIZE, few);
      uncharge(source.account, few);
      return;
    }
    const first = pageOf(areas.startHigh, areas.startLow);
    const last = lastPage(this.currentSpan());
    const spans = shared ? [] : this.framesOfCurrent(source, domain);
    for (const each of from) this._unloadCurrent(each);
    if (shared) {
      uncharge(shared.account, shared.unpin(first, last));
      return;
    }
    this._unpinSpans(source, spans);
    uncharge(source.account, last - first + 1);
  }

  /** Frames behind the current area. Those of an area that shares no pages are read from the page table of `domain`. */
  framesOfCurrent(source: Source, domain: PagingDomain = this.domains[0]!): FrameSpan[] {
    const at = this.currentSpan();
    const first = pageOf(at.startHigh, at.startLow);
    if (source.shared) return source.shared.frames(first, lastPage(at));
    const shift = domain.format.minShift;
    const unit = unitOf(at.iovaHigh, at.iovaLow, shift);
    const end = unit + unitsOf(at, shift);
    const offset = at.startLow % PAGE_SIZE;
    const few = shift === PAGE_SHIFT ? smallPages(at.lengthHigh, at.lengthLow, at.startLow) : 0;
    const row = few > 0 ? domain.table.rowAt(unit, few) / PAGE_SIZE : -1;
    const owner = row >= 0 ? this._memory.runAt(row) : null;
    if (owner && row + few <= owner.start + owner.count)
      return [{ page: first, frame: row, count: few, folioShift: owner.folioShift }];
    const spans: FrameSpan[] = [];
    let next = first;
    let run: ReturnType<PhysicalMemory['runAt']> = null;
    for (const { unit: from, units, physical } of domain.table.extents(unit, end - 1)) {
      const begun = offset + (from - unit) * 2 ** shift;
      const page = first + Math.floor(begun / PAGE_SIZE);
      const behind = first + Math.floor((begun + units * 2 ** shift - 1) / PAGE_SIZE) + 1;
      // A page that two extents share is listed once.
      for (let at = Math.max(page, next); at < behind; at = next) {
        const frame = Math.floor(physical / PAGE_SIZE) + (at - page);
        if (!run || frame < run.start || frame >= run.start + run.count) run = this._memory.runAt(frame);
        const count = run ? Math.min(behind - at, run.start + run.count - frame) : behind - at;
        const folioShift = run?.folioShift ?? PAGE_SHIFT;
        const left = spans[spans.length - 1];
        if (left && left.frame + left.count === frame && left.folioShift === folioShift) left.count += count;
        else spans.push({ page: at, frame, count, folioShift });
        next = at + count;
      }
    }
    return spans;
  }

  /** Pins and maps single pages until one of them cannot be; returns how many were. The caller charges. */
  fillMany(domain: PagingDomain, row: PageRow, source: Source, access: number): number {
    const { page, stride, start, startStride, count } = row;
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

  /**
   * Unmaps, unpins and uncharges pages in a row whose frames are in a row, too. Returns false, and nothing has changed,
   * if they are not, if there are more domains, or if the pages are shared.
   */
  unfillRow(source: Source, page: number, count: number): boolean {
    const [domain] = this.domains;
    if (this.domains.length > 1 || source.shared || domain!.format.minShift !== PAGE_SHIFT) return false;
    const physical = domain!.table.unmapSmall(page, count);
    if (physical < 0) return false;
    source.unpinRow(this._memory, physical / PAGE_SIZE, count);
    uncharge(source.account, count);
    return true;
  }

  /** Removes the current area from one domain; `unpin`: its pages are unpinned and uncharged, too. */
  unload(source: Source, domain: PagingDomain, unpin: boolean): void {
    if (unpin) this.unpinCurrent(source, domain, [domain]);
    else this._unloadCurrent(domain);
  }
}
