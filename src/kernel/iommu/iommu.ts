/** The IOMMU core of one kernel: groups, domains and their ids. */
import { PageTable } from '../../machine/page-table.ts';
import type { PciFunction } from '../../machine/pci/function.ts';
import type { ReservedRange } from '../../machine/spec.ts';
import { type Refusal, refuse } from '../errno.ts';
import type { KernelServices } from '../services.ts';
import { TakenNumbers } from '../taken-numbers.ts';
import { PagingDomain, type PagingOptions } from './domain.ts';
import { type GroupType, IommuGroup, type RestoredOwner } from './group.ts';

/** Domain ids are 16 bits wide in VT-d's context entries; 0 is the DMA API's here. */
const MAX_DOMAIN_ID = 0xffff;

export interface ReservedRegion {
  start: bigint;
  last: bigint;
  type: ReservedRange['type'];
}

/** What the IOMMU core asks of live update (drivers/iommu/liveupdate.c). */
export interface IommuLiveUpdate {
  /**
   * The domain of the previous kernel that a function is on, and the owner of its group; null: none, or not any more.
   */
  waiting(fn: PciFunction): { domain: PagingDomain; owner: RestoredOwner } | null;
  /** The last handle of a restored domain is gone. False: the domain stays, as devices in luo mode are on it. */
  letGo(domain: PagingDomain): boolean;
  /** A function was removed from the host and from its group. */
  functionRemoved(fn: PciFunction, group: IommuGroup): void;
}

/** What the IOMMU core needs of the kernel. */
export interface IommuKernel extends KernelServices {
  readonly iommu: IommuCore;
  readonly restored: IommuLiveUpdate;
}

export class IommuCore {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _taken: () => null };

  private readonly _kernel: IommuKernel;
  readonly groups = new Map<number, IommuGroup>();
  readonly domains = new Map<number, PagingDomain>();
  /** The ids of `domains`; null: not asked for yet, or no longer known. */
  private _taken: TakenNumbers | null = null;

  constructor(kernel: IommuKernel) {
    this._kernel = kernel;
  }

  /** The group of a function; null on a host without an IOMMU. */
  groupOf(fn: PciFunction): IommuGroup | null {
    return fn.spec.group === null ? null : this.groups.get(fn.spec.group)!;
  }

  /** Adds a function to its group, which is made for the first one. Without an IOMMU there are no groups. */
  addFunction(fn: PciFunction): void {
    if (fn.spec.group === null) return;
    let group = this.groups.get(fn.spec.group);
    if (!group) {
      const type: GroupType = { dma: 'DMA', identity: 'identity', blocked: 'blocked' }[
        this._kernel.machine.unitOf(fn).spec.defaultDomain
      ] as GroupType;
      group = new IommuGroup(this._kernel, fn.spec.group, type);
      this.groups.set(group.id, group);
    }
    const restored = this._kernel.restored.waiting(fn);
    // The context entry of the restored domain is in the hardware already (R1).
    if (restored) group.adoptRestored(fn, restored.domain, restored.owner);
    else group.addFunction(fn);
  }

  removeFunction(fn: PciFunction): void {
    const group = this.groupOf(fn);
    if (!group) return;
    group.removeFunction(fn);
    this._kernel.restored.functionRemoved(fn, group);
    if (group.functions.length === 0) this.groups.delete(group.id);
  }

  /** iommu_get_resv_regions: the ranges that the unit of a function reserves, and its own. */
  reservedRanges(fn: PciFunction): ReservedRegion[] {
    return [...this._kernel.machine.unitOf(fn).spec.reserved, ...fn.spec.reserved].map((range) => ({
      start: BigInt(range.start),
      last: BigInt(range.last),
      type: range.type,
    }));
  }

  /** iommu_paging_domain_alloc_flags: a domain for the unit of a function. ENOMEM; ENOSPC no domain id is left. */
  allocDomain(fn: PciFunction, options: PagingOptions): PagingDomain | Refusal {
    const where = 'iommu_domain_alloc_paging_flags';
    const injected = this._kernel.faults.refusal('hwpt.alloc', where);
    if (injected) return injected;
    this._taken ??= new TakenNumbers(this.domains.keys());
    const id = this._taken.firstFree(1);
    if (id > MAX_DOMAIN_ID) return refuse('ENOSPC', where, 'all domain ids are in use');
    const unit = this._kernel.machine.unitOf(fn);
    const table = PageTable.make(this._kernel.machine.memory, unit.formats[options.tableType]!);
    if (!table) return refuse('ENOMEM', where, 'no memory for a page table');
    const domain = new PagingDomain(id, unit, options, table, false);
    this.domains.set(id, domain);
    this._taken.take(id);
    return domain;
  }

  /** A domain of the previous kernel keeps its id. */
  takeOver(domain: PagingDomain): void {
    this.domains.set(domain.id, domain);
    this._taken?.take(domain.id);
  }

  /** Frees a domain whose HWPT or last device is gone. A restored one stays while devices in luo mode are on it. */
  freeDomain(domain: PagingDomain): void {
    if (domain.restored && !this._kernel.restored.letGo(domain)) return;
    this.domains.delete(domain.id);
    this._taken?.give(domain.id);
    domain.free(this._kernel.machine.memory);
    this._kernel.emit('iommu.free', `domain ${domain.id} is freed`, { id: domain.id, restored: domain.restored });
  }

  /**
   * Returns the owner of a frame that a function has written through a restored domain although it was not preserved,
   * and that somebody else has been given since. Null otherwise: what other domains map is pinned.
   */
  foreignOwner(fn: PciFunction, frame: number): string | null {
    const domain = this.groupOf(fn)?.domain;
    if (domain?.kind !== 'paging' || !domain.hasLost(frame)) return null;
    return this._kernel.machine.memory.runAt(frame)?.owner ?? null;
  }

  /** Turns dirty tracking of a domain on or off, in the context entries of all groups on it (or on one nested on it). */
  setDirtyTracking(domain: PagingDomain, enabled: boolean): void {
    domain.dirtyEnabled = enabled;
    for (const group of this.groups.values())
      if (group.domain === domain || (group.domain.kind === 'nested' && group.domain.parent === domain))
        group.reprogram();
  }
}
