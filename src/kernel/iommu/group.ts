/**
 * IOMMU groups and DMA ownership (drivers/iommu/iommu.c). A group is the unit of every change of domain.
 *
 *   owner      who                                   domain
 *   none       nobody                                the default domain
 *   kernel     n drivers that use the DMA API        the default domain
 *   user       n claims by one iommufd               the blocking domain, or one of the user's
 *   restored   what came from the previous kernel    the restored domain (R5: a driver would ask, and must not get it)
 *
 *   none --useDefaultDomain--> kernel --the last unuseDefaultDomain--> none
 *   none --claimDmaOwner--> user --the last releaseDmaOwner--> none
 *   none --adoptRestored, at boot--> restored (state L) --claimDmaOwner by the restored cdev--> user
 *   user --returnToRestored, a bind that failed--> restored --endRestored, its function is removed--> none
 *
 * The group's domain and the context entries of its functions are one fact: only `_put` changes either, and a function
 * that joins or leaves gets or loses its entry in the same step.
 */
import type { ContextEntry } from '../../machine/iommu-unit.ts';
import type { PciFunction } from '../../machine/pci/function.ts';
import { assert, type Refusal, refuse } from '../errno.ts';
import { BLOCKED, DEFAULT, type Domain, IDENTITY, type NestedDomain, type PagingDomain } from './domain.ts';
import type { IommuKernel } from './iommu.ts';

/** Why nobody can adopt a device any more: docs/hazards.md, `never-adopted`. */
export type WhyLost = 'finished' | 'retrieve-failed' | 'session-stuck' | 'session-failed' | 'liveupdate-off';

/** Owner of a group whose domain came from the previous kernel, until its restored cdev is bound. */
export class RestoredOwner {
  /** Name of the incoming session and token of the iommufd there that may take over. */
  readonly session: string;
  readonly iommufdToken: bigint;
  /** Why it cannot do that any more in this kernel; null: it can. */
  lost: WhyLost | null = null;
  constructor(session: string, iommufdToken: bigint) {
    this.session = session;
    this.iommufdToken = iommufdToken;
  }
}

/**
 * Who owns a group's DMA. Each group has an object of its own: a restored host must not share other objects than
 * before.
 */
export type GroupOwner =
  | { readonly kind: 'none' }
  | { readonly kind: 'kernel'; count: number }
  /** `context`: the iommufd that the claims came from; `count`: how many. */
  | { readonly kind: 'user'; readonly context: object; count: number }
  | { readonly kind: 'restored'; readonly owner: RestoredOwner };

export type GroupType = 'DMA' | 'DMA-FQ' | 'identity' | 'blocked';

/** So many functions are in most groups at the most. */
const SMALL = 16;

export class IommuGroup {
  readonly id: number;
  private readonly _kernel: IommuKernel;
  functions: PciFunction[] = [];
  type: GroupType;
  private _domain: Domain;
  private _owner: GroupOwner = { kind: 'none' };

  constructor(kernel: IommuKernel, id: number, type: GroupType) {
    this._kernel = kernel;
    this.id = id;
    this.type = type;
    this._domain = this.defaultDomain;
  }

  get domain(): Domain {
    return this._domain;
  }

  get owner(): GroupOwner {
    return this._owner;
  }

  /** How many drivers or claims own the group: owner_cnt of Linux. */
  get ownerCount(): number {
    const owner = this._owner;
    return owner.kind === 'none' ? 0 : owner.kind === 'restored' ? 1 : owner.count;
  }

  get defaultDomain(): Domain {
    return this.type === 'identity' ? IDENTITY : this.type === 'blocked' ? BLOCKED : DEFAULT;
  }

  /** Adds a function, which is on the group's current domain from then on. */
  addFunction(fn: PciFunction): void {
    this._add(fn);
    this._program(fn);
  }

  /** `push` keeps room for 16 more: too much in each small group of each host, and next to nothing in one that is not small. */
  private _add(fn: PciFunction): void {
    if (this.functions.length < SMALL) this.functions = this.functions.concat(fn);
    else this.functions.push(fn);
  }

  removeFunction(fn: PciFunction): void {
    this.functions = this.functions.filter((other) => other !== fn);
    // Functions behind a VMD share its requester id, and with it the context entry (pci_real_dma_dev).
    if (!this.functions.some((other) => other.sourceId === fn.sourceId))
      this._kernel.machine.unitOf(fn).setContext(fn.sourceId, { kind: 'blocked' });
  }

  /**
   * iommu_device_use_default_domain: a driver that uses the DMA API is about to probe. EBUSY: somebody else owns it.
   */
  useDefaultDomain(): Refusal | null {
    const where = 'iommu_device_use_default_domain';
    const owner = this._owner;
    switch (owner.kind) {
      case 'restored':
        return refuse(
          'EBUSY',
          where,
          `a restored domain is attached to group ${this.id}: ${wayOut(owner.owner, 'adopt it, and close it first')}`,
          'R5',
        );
      case 'user':
        return refuse('EBUSY', where, `the DMA of group ${this.id} is owned by a user; close its devices first`, 'R5');
      case 'kernel':
        owner.count++;
        return null;
      case 'none':
        this._owner = { kind: 'kernel', count: 1 };
        return null;
    }
  }

  /** iommu_device_unuse_default_domain: a driver that uses the DMA API was unbound. */
  unuseDefaultDomain(): void {
    const owner = this._owner;
    assert(owner.kind === 'kernel', 'a kernel driver owned the group');
    if (--owner.count === 0) this._owner = { kind: 'none' };
  }

  /**
   * iommu_device_claim_dma_owner, called by BIND. EPERM another owner (R6, R7), EINVAL a firmware requirement. A group
   * that nobody owns is on its default domain, so Linux's EBUSY for a foreign one never comes up. `restoredFor`: this is
   * the bind of a restored cdev to its iommufd: ownership is transferred and the attached domain left alone.
   */
  claimDmaOwner(context: object, restoredFor: RestoredOwner | null): Refusal | null {
    const where = 'iommu_device_claim_dma_owner';
    const owner = this._owner;
    switch (owner.kind) {
      case 'restored':
        if (owner.owner !== restoredFor)
          return refuse(
            'EPERM',
            where,
            `a restored domain is attached to group ${this.id}: ${wayOut(owner.owner, 'only the cdev and the iommufd that are retrieved from it may take over')}`,
            restoredFor ? 'R6' : 'R7',
          );
        this._owner = { kind: 'user', context, count: 1 };
        return null;
      case 'user':
        if (owner.context !== context) return refuse('EPERM', where, `group ${this.id} is owned by another user`);
        owner.count++;
        return null;
      case 'kernel':
        return refuse('EPERM', where, `group ${this.id} is owned by a kernel driver`);
      case 'none':
        break;
    }
    if (this.functions.some((fn) => this._kernel.iommu.reservedRanges(fn).some((range) => range.type === 'direct')))
      return refuse('EINVAL', where, 'firmware requires a 1:1 mapping for a function of the group');
    this._owner = { kind: 'user', context, count: 1 };
    this._move(BLOCKED);
    return null;
  }

  /** Undoes a transferred claim whose bind failed: all or nothing (R6). */
  returnToRestored(owner: RestoredOwner): void {
    this._owner = { kind: 'restored', owner };
  }

  /** iommu_device_release_dma_owner: ends one claim. With the last one the group returns to its default domain. */
  releaseDmaOwner(): void {
    const owner = this._owner;
    assert(owner.kind === 'user', 'a user owned the group');
    if (--owner.count > 0) return;
    this._owner = { kind: 'none' };
    this._move(this.defaultDomain);
  }

  /** iommu_attach_group. EBUSY foreign domain; EINVAL incompatible; injected errors. */
  attach(domain: Domain): Refusal | null {
    const where = 'iommu_attach_group';
    if (this._domain !== this.defaultDomain && this._domain !== BLOCKED)
      return refuse('EBUSY', where, 'the group is attached to another domain');
    const refusal = this._kernel.faults.refusal('iommu.attach', where) ?? this.compatible(domain);
    if (refusal) return refusal;
    this._move(domain);
    return null;
  }

  /**
   * iommu_group_replace_domain: attaches a new domain, never the blocking one in between. On failure the old one stays.
   */
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
    this._move(domain);
    return null;
  }

  /** iommu_detach_group: to the blocking domain while a user owns the group, else to the default one. */
  detach(): void {
    this._move(this._owner.kind === 'user' ? BLOCKED : this.defaultDomain);
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
        this._owner.kind === 'restored'
          ? `a restored domain is attached to group ${this.id}: ${wayOut(this._owner.owner, 'adopt it, and close it first')}`
          : `the DMA of group ${this.id} is in use`,
        this._owner.kind === 'restored' ? 'R5' : undefined,
      );
    const wasDefault = this._domain === this.defaultDomain;
    this.type = wanted;
    if (wasDefault) this._move(this.defaultDomain);
    return null;
  }

  /** At boot: adds a function that the hardware has on a restored domain already. The group is owned by LUO. */
  adoptRestored(fn: PciFunction, domain: PagingDomain, owner: RestoredOwner): void {
    this._add(fn);
    this._owner = { kind: 'restored', owner };
    this._put(domain);
  }

  /** The function with the restored domain was removed: the rest of the group goes to the default domain (R1). */
  endRestored(): void {
    assert(this._owner.kind === 'restored', 'the group is in luo mode');
    this._owner = { kind: 'none' };
    this._move(this.defaultDomain);
  }

  /** Writes the context entries again, after a property of the domain changed. */
  reprogram(): void {
    this._put(this._domain);
  }

  private _move(domain: Domain): void {
    if (domain === this._domain) return;
    const from = this._domain;
    this._put(domain);
    for (const fn of this.functions)
      this._kernel.emit('iommu.attach', `${fn.bdf}: ${describe(from)} to ${describe(domain)}`, {
        bdf: fn.bdf,
        group: this.id,
        from: from.kind,
        domain: domain.kind,
        id: domain.kind === 'paging' ? domain.id : null,
      });
  }

  /** Sets the domain, and the context entries of all functions. Nothing else changes either. */
  private _put(domain: Domain): void {
    this._domain = domain;
    for (const fn of this.functions) this._program(fn);
  }

  private _program(fn: PciFunction): void {
    this._kernel.machine.unitOf(fn).setContext(fn.sourceId, contextEntry(this._domain));
  }
}

/** What the context entry of a function on this domain says. */
export function contextEntry(domain: Domain): ContextEntry {
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

/** What can be done about a device in state L. */
const wayOut = ({ session, lost }: RestoredOwner, possible: string): string =>
  lost === null
    ? `it belongs to session "${session}": ${possible}`
    : `nobody can adopt it any more in this kernel (${lost}): only a reboot helps`;

function describe(domain: Domain): string {
  return domain.kind === 'paging'
    ? `${domain.restored ? 'restored ' : ''}domain ${domain.id}`
    : `${domain.kind} domain`;
}
