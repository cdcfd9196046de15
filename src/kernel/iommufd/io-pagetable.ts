/**
 * The IO page table of an IOAS (drivers/iommu/iommufd/io_pagetable.c): areas, reserved and allowed ranges, and the
 * domains that must show every area. All answers are the ioctls' of Linux, in its order of checks.
 *
 * Invariants: areas are disjoint, lie outside reserved ranges, are multiples of `alignment`, and are present in every
 * domain; no allowed range touches a reserved one.
 */
import { READ, WRITE } from '../../machine/page-table.ts';
import { type Refusal, refuse } from '../errno.ts';
import type { PagingDomain } from '../iommu/domain.ts';
import type { IovaRange } from '../uapi/types.ts';
import { type Area, AreaList } from './area-list.ts';
import { chooseIova } from './iova-allocator.ts';
import { charge, type Pages, uncharge } from './pages.ts';

export const UMAX = 2n ** 64n - 1n;
export const PAGE = 4096n;
const PAGE_SHIFT = 12;

export interface Reservation extends IovaRange {
  owner: object;
}

export interface Placement {
  /** Wanted IOVA; null: the kernel chooses. */
  iova: bigint | null;
  length: bigint;
  access: number;
  pages: Pages;
  /** First byte in the process or file. */
  start: bigint;
}

export class IoPagetable {
  readonly areas = new AreaList();
  reserved: Reservation[] = [];
  /** Complement of `reserved`; null: to be computed. */
  #ranges: IovaRange[] | null = null;
  allowed: IovaRange[] = [];
  domains: PagingDomain[] = [];
  /** Alignments that users inside the kernel ask for (accesses, hardware queues). */
  readonly accessAlignments = new Map<object, bigint>();
  hugePages = true;
  alignment = 1n;
  /** Number of preserved HWPTs: nothing may change while there is one (C2). */
  immutable = 0;

  /** iopt_calculate_iova_alignment, with these domains. */
  #alignmentWith(domains: readonly PagingDomain[], hugePages: boolean): bigint {
    let alignment = hugePages ? 1n : PAGE;
    for (const domain of domains) if (domain.minPage > alignment) alignment = domain.minPage;
    for (const wanted of this.accessAlignments.values()) if (wanted > alignment) alignment = wanted;
    return alignment;
  }

  /** Raises or lowers the alignment; EADDRINUSE if an area does not fit. */
  #realign(alignment: bigint): Refusal | null {
    if (alignment > this.alignment)
      for (const area of this.areas)
        if (area.iova % alignment || (area.last - area.iova + 1n) % alignment || (area.start % PAGE) % alignment)
          return refuse(
            'EADDRINUSE',
            'iopt_update_iova_alignment',
            `the area at 0x${area.iova.toString(16)} is not aligned to ${alignment}`,
          );
    this.alignment = alignment;
    return null;
  }

  /** Ranges that nothing reserves, ascending: what IOVA_RANGES shows. */
  ranges(): readonly IovaRange[] {
    this.#ranges ??= this.#computeRanges();
    return this.#ranges;
  }

  #computeRanges(): IovaRange[] {
    const sorted = [...this.reserved].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
    const ranges: IovaRange[] = [];
    let cursor = 0n;
    for (const { start, last } of sorted) {
      if (start > cursor) ranges.push({ start: cursor, last: start - 1n });
      if (last + 1n > cursor) cursor = last + 1n;
    }
    if (cursor <= UMAX) ranges.push({ start: cursor, last: UMAX });
    return ranges;
  }

  #reservedIn(start: bigint, last: bigint): boolean {
    return this.reserved.some((range) => range.start <= last && range.last >= start);
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
    this.#ranges = null;
    return null;
  }

  unreserve(owner: object): void {
    this.reserved = this.reserved.filter((range) => range.owner !== owner);
    this.#ranges = null;
  }

  /** iopt_set_allow_iova: replaces the list; EADDRINUSE if a range touches a reserved one. */
  allow(ranges: IovaRange[]): Refusal | null {
    if (ranges.some((range) => this.#reservedIn(range.start, range.last)))
      return refuse(
        'EADDRINUSE',
        'iopt_set_allow_iova',
        'an allowed range touches a reserved one; see IOMMU_IOAS_IOVA_RANGES',
      );
    this.allowed = [...ranges].sort((a, b) => (a.start < b.start ? -1 : 1));
    return null;
  }

  /**
   * iopt_map_pages. EBUSY immutable (C2); EINVAL length or alignment, reserved; EOVERFLOW; EEXIST taken; ENOSPC no
   * room; with a domain what pinning and loading answer. Nothing changes on failure. Returns the IOVA.
   */
  map(request: Placement): bigint | Refusal {
    const iova = this.place(request.length, request.start, request.iova);
    if (typeof iova !== 'bigint') return iova;
    const area = this.makeArea(iova, request);
    if ('errno' in area) return area;
    const refusal = this.insert([area]);
    return refusal ?? iova;
  }

  /** iopt_alloc_area_pages up to the choice of the IOVA: rows 7 to 8 of IOMMU_IOAS_MAP. */
  place(length: bigint, address: bigint, wanted: bigint | null): bigint | Refusal {
    const where = 'iopt_alloc_area_pages';
    if (this.immutable > 0)
      return refuse(
        'EBUSY',
        'iopt_map_pages',
        'a HWPT of this IOAS is preserved: close the session to change mappings',
        'C2',
      );
    if (length % this.alignment !== 0n) return refuse('EINVAL', where, `length is not a multiple of ${this.alignment}`);
    if (wanted === null) return chooseIova(this, address, length);
    const check = 'iopt_check_iova';
    if (wanted % this.alignment !== 0n) return refuse('EINVAL', check, `iova is not a multiple of ${this.alignment}`);
    if (wanted + length - 1n > UMAX) return refuse('EOVERFLOW', check, 'the last IOVA is beyond 64 bits');
    const last = wanted + length - 1n;
    if (this.#reservedIn(wanted, last))
      return refuse(
        'EINVAL',
        check,
        'the range touches a reserved one or lies outside the aperture; see IOMMU_IOAS_IOVA_RANGES',
      );
    const taken = this.areas.first(wanted, last);
    if (taken) return refuse('EEXIST', check, `0x${taken.iova.toString(16)} is mapped already`);
    return wanted;
  }

  makeArea(iova: bigint, { length, access, pages, start }: Omit<Placement, 'iova'>): Area | Refusal {
    if ((start % PAGE) % this.alignment !== 0n)
      return refuse('EINVAL', 'iopt_insert_area', `the memory is not aligned to ${this.alignment} within its page`);
    return { iova, last: iova + length - 1n, access, pages, start, locks: 0 };
  }

  /** Loads areas into all domains and lists them; all or nothing. */
  insert(areas: Area[]): Refusal | null {
    const filled: Area[] = [];
    if (this.domains.length > 0)
      for (const area of areas) {
        const refusal = this.#fill(area, this.domains);
        if (refusal) {
          for (const undo of filled.reverse()) this.#unfill(undo, this.domains);
          return refusal;
        }
        filled.push(area);
      }
    for (const area of areas) {
      area.pages.areas++;
      this.areas.insert(area);
    }
    return null;
  }

  /**
   * iopt_unmap_iova: whole areas of [start, last], ascending. ENOENT at the first one that the range cuts, EBUSY at one
   * that hardware holds; those before stay unmapped. Answers the bytes unmapped.
   */
  unmap(start: bigint, last: bigint, progress: { bytes: bigint }): Refusal | null {
    const where = 'iopt_unmap_iova_range';
    if (this.immutable > 0)
      return refuse('EBUSY', where, 'a HWPT of this IOAS is preserved: close the session to change mappings', 'C2');
    for (let area = this.areas.first(start, last); area; area = this.areas.first(start, last)) {
      if (area.iova < start || area.last > last)
        return refuse(
          'ENOENT',
          where,
          `the range cuts the area at 0x${area.iova.toString(16)}; areas are unmapped whole`,
        );
      if (area.locks > 0)
        return refuse('EBUSY', where, `a hardware queue lives in the area at 0x${area.iova.toString(16)}`);
      this.onUnmap?.(area.iova, area.last);
      this.removeArea(area);
      progress.bytes += area.last - area.iova + 1n;
    }
    return null;
  }

  /** Tells accesses inside the kernel to let go of pins in a range that is unmapped. */
  onUnmap: ((start: bigint, last: bigint) => void) | null = null;

  removeArea(area: Area): void {
    this.areas.remove(area);
    if (this.domains.length > 0) this.#unfill(area, this.domains);
    area.pages.areas--;
    releasePages(area.pages);
  }

  /** All maps go, as when the IOAS is destroyed. */
  clear(): void {
    for (const area of [...this.areas]) this.removeArea(area);
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
    if (this.pinnedByAccess?.(area.iova, area.last))
      return refuse('EINVAL', where, `the area at 0x${area.iova.toString(16)} is pinned by an access`);
    const right: Area = { ...area, iova, start: area.start + (iova - area.iova) };
    area.last = iova - 1n;
    right.pages.areas++;
    this.areas.insert(right);
    return null;
  }

  pinnedByAccess: ((start: bigint, last: bigint) => boolean) | null = null;

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
    const misaligned = this.#realign(this.#alignmentWith([...this.domains, domain], this.hugePages));
    if (misaligned) return misaligned;
    const { apertureStart, apertureLast } = domain.format;
    const low = apertureStart > 0n ? this.reserve(0n, apertureStart - 1n, domain) : null;
    if (low) return undo(low);
    const high = apertureLast < UMAX ? this.reserve(apertureLast + 1n, UMAX, domain) : null;
    if (high) return undo(high);
    const filled: Area[] = [];
    const first = this.domains.length === 0;
    for (const area of this.areas) {
      const refusal = first ? this.#fill(area, [domain]) : this.#load(area, domain);
      if (refusal) {
        for (const done of filled.reverse()) {
          domain.unmap(done.iova, done.last - done.iova + 1n);
          if (first) this.#unpin(done);
        }
        return undo(refusal);
      }
      filled.push(area);
    }
    this.domains.push(domain);
    return null;
  }

  /** iopt_table_remove_domain: the last one unpins everything. */
  removeDomain(domain: PagingDomain): void {
    this.domains = this.domains.filter((other) => other !== domain);
    for (const area of this.areas) {
      domain.unmap(area.iova, area.last - area.iova + 1n);
      if (this.domains.length === 0) this.#unpin(area);
    }
    this.unreserve(domain);
    this.alignment = this.#alignmentWith(this.domains, this.hugePages);
  }

  /** HUGE_PAGES. EINVAL with areas in a domain, EADDRINUSE areas that do not fit. */
  setHugePages(on: boolean): Refusal | null {
    if (on) {
      this.hugePages = true;
      this.alignment = this.#alignmentWith(this.domains, true);
      return null;
    }
    if (!this.hugePages) return null;
    if (this.domains.length > 0 && this.areas.size > 0)
      return refuse('EINVAL', 'iopt_disable_large_pages', 'areas are mapped into a HWPT already');
    const refusal = this.#realign(this.#alignmentWith(this.domains, false));
    if (refusal) return refusal;
    this.hugePages = false;
    return null;
  }

  /** Raises the alignment for a user inside the kernel; EADDRINUSE. */
  addAccess(user: object, alignment: bigint): Refusal | null {
    this.accessAlignments.set(user, alignment);
    const refusal = this.#realign(this.#alignmentWith(this.domains, this.hugePages));
    if (refusal) this.accessAlignments.delete(user);
    return refusal;
  }

  removeAccess(user: object): void {
    this.accessAlignments.delete(user);
    this.alignment = this.#alignmentWith(this.domains, this.hugePages);
  }

  /** Pins an area, loads it into the domains and charges it; all or nothing. */
  #fill(area: Area, domains: readonly PagingDomain[]): Refusal | null {
    const [first, last] = pageRange(area);
    const fresh = area.pages.pin(first, last);
    if (typeof fresh !== 'number') return fresh;
    const loaded: PagingDomain[] = [];
    let refusal: Refusal | null = null;
    for (const domain of domains) {
      refusal = this.#load(area, domain);
      if (refusal) break;
      loaded.push(domain);
    }
    refusal ??= charge(area.pages.account, fresh);
    if (!refusal) return null;
    for (const domain of loaded) domain.unmap(area.iova, area.last - area.iova + 1n);
    area.pages.unpin(first, last);
    return refusal;
  }

  #unfill(area: Area, domains: readonly PagingDomain[]): void {
    for (const domain of domains) domain.unmap(area.iova, area.last - area.iova + 1n);
    this.#unpin(area);
  }

  #unpin(area: Area): void {
    const [first, last] = pageRange(area);
    uncharge(area.pages.account, area.pages.unpin(first, last));
  }

  /** Maps a pinned area into one domain. */
  #load(area: Area, domain: PagingDomain): Refusal | null {
    const [first, last] = pageRange(area);
    const byFolio = domain.unit.spec.dirtyTracking;
    const end = area.start + (area.last - area.iova) + 1n;
    for (const span of area.pages.frames(first, last)) {
      const spanStart = BigInt(span.page) * PAGE;
      const spanEnd = spanStart + BigInt(span.count) * PAGE;
      const from = spanStart > area.start ? spanStart : area.start;
      const to = spanEnd < end ? spanEnd : end;
      const physical = span.frame * 4096 + Number(from - spanStart);
      const maxShift = this.hugePages ? (byFolio ? span.folioShift : 63) : PAGE_SHIFT;
      const iova = area.iova + (from - area.start);
      const refusal = domain.map(iova, physical, to - from, area.access & (READ | WRITE), maxShift);
      if (refusal) {
        if (iova > area.iova) domain.unmap(area.iova, iova - area.iova);
        return refusal;
      }
    }
    return null;
  }
}

/** First and last page number, in the process or file, that an area touches. */
export function pageRange(area: Area): [number, number] {
  return [Number(area.start / PAGE), Number((area.start + (area.last - area.iova)) / PAGE)];
}

/** Drops the file reference of pages that no area shows any more. */
export function releasePages(pages: Pages): void {
  if (pages.areas === 0 && pages.source.kind === 'file') pages.releaseFile();
}
