/**
 * What an IOAS asks of its areas (drivers/iommu/iommufd/io_pagetable.c): the domains, which must all show every area, and
 * the alignment that they and users inside the kernel need.
 */
import { PAGE, UMAX } from '../../../machine/address.ts';
import type { PhysicalMemory } from '../../../machine/memory.ts';
import { assert, type Refusal, refuse } from '../../errno.ts';
import type { PagingDomain } from '../../iommu/domain.ts';
import { AreaPages } from '../areas/area-pages.ts';
import { IovaSpace } from './iova-space.ts';
import { SourceList } from './source-list.ts';

/**
 * A user of the IOAS inside the kernel (struct iommufd_access): it is asked to let go of what is about to be unmapped.
 */
export interface IoptAccess {
  /** What it has pinned, by number, with the first IOVAs of the areas. */
  readonly pins: ReadonlyMap<number, { readonly pieces: readonly { readonly area: bigint }[] }>;
  unpin(number: number): void;
}

/** How often users inside the kernel have pinned an area; `locks` of these pins are of hardware queues. */
export interface Holds {
  pins: number;
  locks: number;
}

export class DomainSpace extends IovaSpace {
  static override readonly caches = { ...IovaSpace.caches, _holders: () => null, _alignments: () => null };

  protected readonly _memory: PhysicalMemory;
  protected readonly _pages: AreaPages;
  readonly sources: SourceList;
  /** Users inside the kernel (accesses, hardware queues), each with the alignment in bytes that it asks for. */
  readonly accesses = new Map<IoptAccess, bigint>();
  /** Areas that `accesses` have pinned, by first IOVA. Such an area cannot be cut, nor unmapped while it has locks. */
  readonly holds = new Map<bigint, Holds>();
  /** Whose pins `holds` counts, by number, by first IOVA of the area; null: not asked for yet. */
  private _holders: Map<bigint, Map<IoptAccess, Set<number>>> | null = null;
  /** How many domains and users ask for each alignment; null: not asked for yet. */
  private _alignments: Map<bigint, number> | null = null;

  constructor(memory: PhysicalMemory) {
    super();
    this._memory = memory;
    this._pages = new AreaPages(this._memory, this.areas);
    this.sources = new SourceList();
  }

  get domains(): readonly PagingDomain[] {
    return this._pages.domains;
  }

  get hugePages(): boolean {
    return this._pages.hugePages;
  }

  /** iopt_calculate_iova_alignment: the alignment in bytes that the domains and the users inside the kernel need, and `more`. */
  private _alignmentWith(more: bigint, hugePages: boolean): bigint {
    if (this._alignments === null) {
      this._alignments = new Map();
      for (const { minPage } of this.domains) this._wantAlignment(minPage, 1);
      for (const wanted of this.accesses.values()) this._wantAlignment(wanted, 1);
    }
    let alignment = hugePages ? 1n : PAGE;
    for (const wanted of [more, ...this._alignments.keys()]) if (wanted > alignment) alignment = wanted;
    return alignment;
  }

  /** One more, or one less, asks for an alignment. */
  private _wantAlignment(alignment: bigint, by: 1 | -1): void {
    if (this._alignments === null) return;
    const count = (this._alignments.get(alignment) ?? 0) + by;
    if (count > 0) this._alignments.set(alignment, count);
    else this._alignments.delete(alignment);
  }

  /**
   * iopt_table_add_domain: the domain shows all areas from now on. EINVAL its smallest page is larger than 4096, EADDRINUSE
   * alignment or aperture, or the errno of the first area that cannot be filled; nothing has changed then.
   */
  addDomain(domain: PagingDomain): Refusal | null {
    const where = 'iopt_table_add_domain';
    if (domain.minPage > PAGE) return refuse('EINVAL', where, 'the smallest page of the IOMMU is larger than 4096');
    const before = this.alignment;
    const undo = (refusal: Refusal): Refusal => {
      this.unreserve(domain);
      this.alignment = before;
      return refusal;
    };
    const misaligned = this.realign(this._alignmentWith(domain.minPage, this.hugePages));
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
      const refusal = first ? this._pages.fillCurrent(source, domain) : this._pages.loadCurrent(source, domain);
      if (refusal) {
        areas.seekFirst();
        for (; filled > 0; filled--, areas.next()) this._pages.unload(this.sources.at(areas.source), domain, first);
        return undo(refusal);
      }
      filled++;
    }
    this._pages.domains.push(domain);
    this._wantAlignment(domain.minPage, 1);
    return null;
  }

  /** iopt_table_remove_domain: with the last domain all pages are unpinned. The caller frees the domain. */
  removeDomain(domain: PagingDomain): void {
    const { areas } = this;
    const isLast = this.domains.length === 1;
    // The domain is about to be freed with all its tables: nothing has to be taken out of it one by one.
    if (isLast)
      for (let more = areas.seekFirst(); more; more = areas.next())
        this._pages.unpinCurrent(this.sources.at(areas.source), domain);
    this._pages.domains.splice(this._pages.domains.indexOf(domain), 1);
    this._wantAlignment(domain.minPage, -1);
    this.unreserve(domain);
    this.alignment = this._alignmentWith(1n, this.hugePages);
  }

  /**
   * IOMMU_OPTION_HUGE_PAGES. Off: EINVAL areas are in a domain, EADDRINUSE an area is not on pages. On: always
   * succeeds.
   */
  setHugePages(on: boolean): Refusal | null {
    if (on) {
      this._pages.hugePages = true;
      this.alignment = this._alignmentWith(1n, true);
      return null;
    }
    if (!this.hugePages) return null;
    if (this.domains.length > 0 && this.areas.size > 0)
      return refuse('EINVAL', 'iopt_disable_large_pages', 'areas are mapped into a HWPT already');
    const refusal = this.realign(this._alignmentWith(1n, false));
    if (refusal) return refusal;
    this._pages.hugePages = false;
    return null;
  }

  /** iopt_add_access: raises the alignment for a user inside the kernel. EADDRINUSE an area is less aligned. */
  addAccess(user: IoptAccess, alignment: bigint): Refusal | null {
    const refusal = this.realign(this._alignmentWith(alignment, this.hugePages));
    if (refusal) return refusal;
    this.accesses.set(user, alignment);
    this._wantAlignment(alignment, 1);
    return null;
  }

  removeAccess(user: IoptAccess): void {
    this._wantAlignment(this.accesses.get(user)!, -1);
    this.accesses.delete(user);
    this.alignment = this._alignmentWith(1n, this.hugePages);
  }

  /** Pin `number` of an access begins to hold the area that begins at an IOVA; with a lock it cannot be unmapped. */
  holdArea(iova: bigint, user: IoptAccess, number: number, locked: boolean): void {
    const holds = this.holds.get(iova) ?? { pins: 0, locks: 0 };
    this.holds.set(iova, holds);
    holds.pins++;
    if (locked) holds.locks++;
    if (this._holders) noteHolder(this._holders, iova, user, number);
  }

  dropArea(iova: bigint, user: IoptAccess, number: number, locked: boolean): void {
    const holds = this.holds.get(iova);
    assert(holds && holds.pins > 0 && (!locked || holds.locks > 0), 'an access held the area');
    if (locked) holds.locks--;
    if (--holds.pins === 0) this.holds.delete(iova);
    const holders = this._holders?.get(iova);
    const numbers = holders?.get(user);
    numbers?.delete(number);
    if (numbers?.size === 0) holders!.delete(user);
    if (holders?.size === 0) this._holders!.delete(iova);
  }

  /** Accesses let go of an area that is about to be unmapped: their pins of it end. */
  protected letGo(iova: bigint): void {
    if (this._holders === null) {
      this._holders = new Map();
      for (const user of this.accesses.keys())
        for (const [number, { pieces }] of user.pins)
          for (const { area } of pieces) noteHolder(this._holders, area, user, number);
    }
    for (const [user, numbers] of [...(this._holders.get(iova) ?? [])])
      for (const number of [...numbers]) user.unpin(number);
  }
}

function noteHolder(
  holders: Map<bigint, Map<IoptAccess, Set<number>>>,
  iova: bigint,
  user: IoptAccess,
  number: number,
): void {
  const users = holders.get(iova) ?? new Map<IoptAccess, Set<number>>();
  const numbers = users.get(user) ?? new Set<number>();
  holders.set(iova, users.set(user, numbers.add(number)));
}
