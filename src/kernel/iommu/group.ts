/**
 * IOMMU groups and DMA ownership (drivers/iommu/iommu.c). A group is the unit of every change of domain.
 *
 *   FREE            ownerCount 0                      default domain
 *   KERNEL          n drivers that use the DMA API    default domain
 *   USER            n claims by one owner             blocking or a user's domain
 *   LUO (state L)   count 1, a RestoredOwner          restored domain (R5: a driver would ask, and must not get it)
 */
import type { ContextEntry } from '../../machine/iommu-unit.ts';
import type { PciFunction } from '../../machine/pci.ts';
import { assert, type Refusal, refuse } from '../errno.ts';
import { BLOCKED, DEFAULT, type Domain, IDENTITY, type NestedDomain, type PagingDomain } from './domain.ts';
import type { IommuKernel } from './iommu.ts';

/** Owner of a group whose domain came from the previous kernel, until its restored cdev is bound. */
export class RestoredOwner {
  /** Name of the incoming session and token of the iommufd there that may take over. */
  readonly session: string;
  readonly iommufdToken: bigint;
  constructor(session: string, iommufdToken: bigint) {
    this.session = session;
    this.iommufdToken = iommufdToken;
  }
}

export type GroupType = 'DMA' | 'DMA-FQ' | 'identity' | 'blocked';

export class IommuGroup {
  readonly id: number;
  private readonly _kernel: IommuKernel;
  /** Grows by `concat`: `push` and spreading keep room for 16 more, in each group of each host. */
  functions: PciFunction[] = [];
  type: GroupType;
  domain: Domain;
  ownerCount = 0;
  /** An iommufd context, a RestoredOwner, or null for kernel drivers. */
  owner: object | null = null;

  constructor(kernel: IommuKernel, id: number, type: GroupType) {
    this._kernel = kernel;
    this.id = id;
    this.type = type;
    this.domain = this.defaultDomain;
  }

  get defaultDomain(): Domain {
    return this.type === 'identity' ? IDENTITY : this.type === 'blocked' ? BLOCKED : DEFAULT;
  }

  /** A hot-added function goes on the group's current domain at once. */
  addFunction(fn: PciFunction): void {
    this.functions = this.functions.concat(fn);
    this._program(fn);
  }

  removeFunction(fn: PciFunction): void {
    this.functions = this.functions.filter((other) => other !== fn);
    // Functions behind a VMD share its requester id, and with it the context entry (pci_real_dma_dev).
    if (!this.functions.some((other) => other.sourceId === fn.sourceId))
      this._kernel.machine.unitOf(fn).setContext(fn.sourceId, { kind: 'blocked' });
  }

  /** iommu_device_use_default_domain: a driver that uses the DMA API is about to probe. EBUSY. */
  useDefaultDomain(): Refusal | null {
    const where = 'iommu_device_use_default_domain';
    if (this.owner instanceof RestoredOwner)
      return refuse(
        'EBUSY',
        where,
        `a restored domain is attached to group ${this.id}: adopt it from session "${this.owner.session}" and close it first`,
        'R5',
      );
    if (this.ownerCount > 0 && (this.owner !== null || this.domain !== this.defaultDomain))
      return refuse('EBUSY', where, `the DMA of group ${this.id} is owned by a user; close its devices first`, 'R5');
    this.ownerCount++;
    return null;
  }

  /** iommu_device_unuse_default_domain: such a driver is gone. */
  unuseDefaultDomain(): void {
    assert(this.ownerCount > 0 && this.owner === null, 'a kernel driver owned the group');
    this.ownerCount--;
  }

  /**
   * iommu_device_claim_dma_owner, called by BIND. EPERM another owner (R6, R7), EBUSY a foreign domain, EINVAL a
   * firmware requirement. `restoredFor`: this is the bind of a restored cdev to its iommufd: ownership is transferred
   * and the attached domain left alone.
   */
  claimDmaOwner(owner: object, restoredFor: RestoredOwner | null): Refusal | null {
    const where = 'iommu_device_claim_dma_owner';
    if (this.owner instanceof RestoredOwner) {
      if (this.owner !== restoredFor)
        return refuse(
          'EPERM',
          where,
          `the restored domain of group ${this.id} belongs to session "${this.owner.session}": only the cdev and the iommufd retrieved from it may take over`,
          restoredFor ? 'R6' : 'R7',
        );
      this.owner = owner;
      return null;
    }
    if (this.ownerCount > 0) {
      if (this.owner !== owner)
        return refuse(
          'EPERM',
          where,
          `group ${this.id} is owned by ${this.owner ? 'another user' : 'a kernel driver'}`,
        );
      this.ownerCount++;
      return null;
    }
    if (this.domain !== this.defaultDomain) return refuse('EBUSY', where, 'the group is on a foreign domain');
    if (this.functions.some((fn) => this._kernel.iommu.reservedRanges(fn).some((range) => range.type === 'direct')))
      return refuse('EINVAL', where, 'firmware requires a 1:1 mapping for a function of the group');
    this.owner = owner;
    this.ownerCount = 1;
    this._set(BLOCKED);
    return null;
  }

  /** Undoes a transferred claim whose bind failed: all or nothing (R6). */
  returnToRestored(owner: RestoredOwner): void {
    this.owner = owner;
  }

  /** iommu_device_release_dma_owner: at the last one the group returns to its default domain. */
  releaseDmaOwner(): void {
    assert(this.ownerCount > 0 && this.owner !== null, 'the group has an owner');
    if (--this.ownerCount > 0) return;
    this.owner = null;
    this._set(this.defaultDomain);
  }

  /** iommu_attach_group. EBUSY foreign domain; EINVAL incompatible; injected errors. */
  attach(domain: Domain): Refusal | null {
    const where = 'iommu_attach_group';
    if (this.domain !== this.defaultDomain && this.domain !== BLOCKED)
      return refuse('EBUSY', where, 'the group is attached to another domain');
    const refusal = this._kernel.faults.refusal('iommu.attach', where) ?? this.compatible(domain);
    if (refusal) return refusal;
    this._set(domain);
    return null;
  }

  /** iommu_group_replace_domain: old to new without the blocking domain in between; on failure the old one stays. */
  replace(domain: Domain): Refusal | null {
    const refusal =
      this._kernel.faults.refusal('iommu.replace', 'iommu_group_replace_domain') ?? this.compatible(domain);
    if (refusal) return refusal;
    if (!this._kernel.policies.hitlessReplace)
      this._kernel.emit(
        'hazard',
        `DMA of group ${this.id} is refused for a moment during replace`,
        {
          hazard: 'replace-window',
          group: this.id,
        },
        'R12',
      );
    this._set(domain);
    return null;
  }

  /** iommu_detach_group: to blocking while owned. */
  detach(): void {
    this._set(this.owner ? BLOCKED : this.defaultDomain);
  }

  /** The driver's attach_dev: EINVAL where the domain does not fit a function of the group. */
  compatible(domain: Domain): Refusal | null {
    const where = 'iommu_attach_device';
    if (domain.kind === 'nested') return this._compatibleNested(domain);
    if (domain.kind !== 'paging') return null;
    for (const fn of this.functions) {
      const unit = this._kernel.machine.unitOf(fn);
      if (unit.kind !== domain.unit.kind || (unit.kind === 'arm-smmuv3' && unit !== domain.unit))
        return refuse(
          'EINVAL',
          where,
          `the domain was made for IOMMU ${domain.unit.id}, ${fn.bdf} is behind ${unit.id}`,
        );
      if (domain.options.dirtyTracking && !(unit.spec.dirtyTracking && fn.spec.dirtyTracking))
        return refuse('EINVAL', where, `${fn.bdf} cannot track dirty pages, the domain does`);
    }
    return null;
  }

  private _compatibleNested({ parent, gate }: NestedDomain): Refusal | null {
    for (const fn of this.functions) {
      const unit = this._kernel.machine.unitOf(fn);
      if (unit.kind !== parent.unit.kind)
        return refuse('EINVAL', 'iommu_attach_device', `the domain was made for IOMMU ${parent.unit.id}`);
      const refusal = gate?.admit(fn);
      if (refusal) return refusal;
    }
    return null;
  }

  /** sysfs `type`: EINVAL unknown word, EPERM while owned (R5), except DMA to DMA-FQ. */
  setType(word: string): Refusal | null {
    const where = 'iommu_group_store_type';
    const wanted = word === 'auto' ? 'DMA' : word;
    if (wanted !== 'DMA' && wanted !== 'DMA-FQ' && wanted !== 'identity')
      return refuse('EINVAL', where, 'the type is identity, DMA, DMA-FQ or auto');
    if (!(this.type === 'DMA' && wanted === 'DMA-FQ') && (this.ownerCount > 0 || this.functions.length === 0))
      return refuse(
        'EPERM',
        where,
        `the DMA of group ${this.id} is in use`,
        this.owner instanceof RestoredOwner ? 'R5' : undefined,
      );
    const wasDefault = this.domain === this.defaultDomain;
    this.type = wanted;
    if (wasDefault) this._set(this.defaultDomain);
    return null;
  }

  /** At boot: the group is on the restored domain, owned by LUO; hardware has this already. */
  adoptRestored(fn: PciFunction, domain: PagingDomain, owner: RestoredOwner): void {
    this.functions = this.functions.concat(fn);
    this.domain = domain;
    this.owner = owner;
    this.ownerCount = 1;
  }

  /** Writes the context entries again, after a property of the domain changed. */
  reprogram(): void {
    for (const fn of this.functions) this._program(fn);
  }

  private _set(domain: Domain): void {
    if (domain === this.domain) return;
    const from = this.domain;
    this.domain = domain;
    for (const fn of this.functions) {
      this._program(fn);
      this._kernel.emit('iommu.attach', `${fn.bdf}: ${describe(from)} to ${describe(domain)}`, {
        bdf: fn.bdf,
        group: this.id,
        from: from.kind,
        domain: domain.kind,
        id: domain.kind === 'paging' ? domain.id : null,
      });
    }
  }

  private _program(fn: PciFunction): void {
    this._kernel.machine.unitOf(fn).setContext(fn.sourceId, contextEntry(this.domain));
  }
}

function contextEntry(domain: Domain): ContextEntry {
  switch (domain.kind) {
    case 'blocked':
    case 'identity':
      return { kind: domain.kind };
    case 'default':
      return { kind: 'table', domainId: 0, root: null, tableType: 0, dirtyEnabled: false };
    case 'nested':
      return contextEntry(domain.parent);
    case 'paging':
      return {
        kind: 'table',
        domainId: domain.id,
        root: domain.table.root,
        tableType: domain.options.tableType,
        dirtyEnabled: domain.dirtyEnabled,
      };
  }
}

function describe(domain: Domain): string {
  return domain.kind === 'paging'
    ? `${domain.restored ? 'restored ' : ''}domain ${domain.id}`
    : `${domain.kind} domain`;
}
