/**
 * Domains that came from the previous kernel, and the devices on them (R1 to R20).
 *
 *   L  luo mode: the group is owned by a RestoredOwner        -- BIND of the restored cdev with its iommufd -> A
 *   A  adopted: bound, on the restored domain                 -- ATTACH of a new HWPT -> S, DETACH -> X
 *   S  swapped: bound, on another HWPT    X  bound, blocking  -- last close of the cdev -> N
 *   N  no restored state applies
 *   L -- the function is removed (hot-unplug) -> its record ends: N when it comes back (R1)
 *
 * Nothing but userspace ends a restored domain: IOMMU_DESTROY, or the end of its iommufd (R2, R13). One without a HWPT is
 * dropped when the last of its devices in state L is removed, as nobody can reach it any more.
 */

import type { FrameRun } from '../../../machine/memory.ts';
import type { PciFunction } from '../../../machine/pci/function.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { IommufdContext, IommufdKernel, IommufdLiveUpdate } from '../../iommufd/context.ts';
import type { IommufdDevice } from '../../iommufd/device/device.ts';
import { HwptPaging } from '../../iommufd/hw-pagetable/hwpt.ts';
import { LazyMap } from '../../lazy-map.ts';
import type { ShmemInode } from '../../mm/shmem.ts';
import type { PagingDomain } from '../domain.ts';
import { type IommuGroup, RestoredOwner, type WhyLost } from '../group.ts';
import { tellDropped, tellNeverAdopted, tellSwap } from './hazards.ts';
import type { RestoredHwpt, RestoredHwpts } from './restored-hwpt.ts';

/** A device in state L. */
export interface WaitingDevice {
  readonly state: 'waiting';
  readonly domain: PagingDomain;
  /** The owner of its group. */
  readonly owner: RestoredOwner;
}

/** A device whose restored cdev was bound: in state A, S or X, as its group's domain says. In state N there is none. */
export type RestoredDevice = WaitingDevice | { readonly state: 'adopted'; readonly domain: PagingDomain };

export class RestoredDomains implements IommufdLiveUpdate {
  private readonly _kernel: IommufdKernel;
  /** Devices by address of the function. */
  readonly devices = new LazyMap<string, RestoredDevice>();
  private readonly _domains = new LazyMap<number, PagingDomain>();
  /** Marked HWPTs, by session and token of their iommufd. */
  private readonly _hwpts = new LazyMap<string, RestoredHwpts>();
  private readonly _frozen = new LazyMap<PagingDomain, Set<ShmemInode>>();
  /** The iommufds that were retrieved, by session and token. */
  private readonly _contexts = new LazyMap<string, IommufdContext>();

  constructor(kernel: IommufdKernel) {
    this._kernel = kernel;
  }

  /** Those that are left, by id. */
  get domains(): ReadonlyMap<number, PagingDomain> {
    return this._domains;
  }

  /** The marked HWPTs of each iommufd of the previous kernel. */
  get hwpts(): Iterable<ReadonlyMap<bigint, RestoredHwpt>> {
    return this._hwpts.values();
  }

  /** The memfds that keep their size for a domain. */
  get frozen(): ReadonlyMap<PagingDomain, ReadonlySet<ShmemInode>> {
    return this._frozen;
  }

  /** The iommufds that were retrieved and are open. */
  get contexts(): Iterable<IommufdContext> {
    return this._contexts.values();
  }

  // ---- at boot ---------------------------------------------------------------------------------------------------

  takeDomain(domain: PagingDomain): void {
    this._domains.set(domain.id, domain);
    this._kernel.iommu.takeOver(domain);
  }

  /** Records a device that is on a domain that was taken over: state L. */
  takeDevice(bdf: string, domain: number, session: string, iommufdToken: bigint): void {
    const owner = new RestoredOwner(session, iommufdToken);
    this.devices.set(bdf, { state: 'waiting', domain: this._domains.get(domain)!, owner });
    this._kernel.emit('restore.device', `${bdf} stays on restored domain ${domain}`, { bdf, id: domain }, 'R1');
  }

  /** Records the marked HWPTs of an iommufd. */
  takeHwpts(session: string, token: bigint, hwpts: RestoredHwpts): void {
    this._hwpts.set(key(session, token), hwpts);
  }

  // ---- what there is ---------------------------------------------------------------------------------------------

  domain(id: number): PagingDomain | undefined {
    return this._domains.get(id);
  }

  hwptsOf(session: string, token: bigint): RestoredHwpts {
    return this._hwpts.get(key(session, token)) ?? new Map();
  }

  /** The state of a function; what each letter means: README.md. */
  stateOf(fn: PciFunction): 'L' | 'A' | 'S' | 'X' | 'N' {
    const device = this.devices.get(fn.bdf);
    if (!device) return 'N';
    if (device.state === 'waiting') return 'L';
    const { domain } = this._kernel.iommu.groupOf(fn)!;
    return domain === device.domain ? 'A' : domain.kind === 'blocked' ? 'X' : 'S';
  }

  /** The device of a function in state L. */
  waiting(fn: PciFunction): WaitingDevice | null {
    const device = this.devices.get(fn.bdf);
    return device?.state === 'waiting' ? device : null;
  }

  // ---- what happens to it ----------------------------------------------------------------------------------------

  iommufdRetrieved(context: IommufdContext): void {
    this._contexts.set(key(context.restored!.session, context.restored!.token), context);
  }

  iommufdClosed(context: IommufdContext): void {
    if (context.restored) this._contexts.delete(key(context.restored.session, context.restored.token));
  }

  /** The owner whose claim passes for this restored device and iommufd; null: none (EPERM in the claim). */
  ownerFor({ owner }: WaitingDevice, context: IommufdContext): RestoredOwner | null {
    return this._contexts.get(key(owner.session, owner.iommufdToken)) === context ? owner : null;
  }

  /** R8: BIND makes the HWPT of the domain, and the device counts as attached to it: L to A. ENOMEM: it stays in L. */
  adopt({ domain }: WaitingDevice, bound: IommufdDevice): Refusal | null {
    const { context, fn } = bound;
    const hwpt = this._hwptOf(domain, context);
    if (!(hwpt instanceof HwptPaging)) return hwpt;
    hwpt.hold();
    context.attachments.set(bound.group, { hwpt, devices: new Set([bound]) });
    this.devices.set(fn.bdf, { state: 'adopted', domain });
    this._kernel.emit(
      'restore.adopted',
      `${fn.bdf} is bound with its restored domain, HWPT ${hwpt.id}`,
      { bdf: fn.bdf, hwpt: hwpt.id, id: domain.id },
      'R8',
    );
    return null;
  }

  /** Returns the HWPT of a domain; it is made for the first device. */
  private _hwptOf(domain: PagingDomain, context: IommufdContext): HwptPaging | Refusal {
    const where = 'iommufd_device_adopt';
    const { hwpts } = context.restored!;
    for (const [token, record] of hwpts) {
      if (record.state === 'gone' || record.domain !== domain) continue;
      if (record.state === 'live') return record.hwpt;
      const injected = this._kernel.faults.refusal('hwpt.adopt', 'iommufd_hwpt_lu_adopt');
      if (injected) return injected;
      const { objects } = context;
      const hwpt = objects.commit(objects.reserve(), new HwptPaging(context, null, domain, false));
      hwpts.set(token, { state: 'live', domain, hwpt, claimed: false });
      return hwpt;
    }
    return refuse('EINVAL', where, 'the restored domain belongs to no marked HWPT', 'R8');
  }

  /** Nobody can adopt the devices of a session any more: its file for them is out of reach for good. */
  sessionLost(session: string, why: WhyLost): void {
    this._outOfReach(({ owner }) => owner.session === session, why);
  }

  /** The retrieve of their iommufd has failed, which is final. */
  iommufdFailed(session: string, token: bigint): void {
    this._outOfReach(({ owner }) => owner.session === session && owner.iommufdToken === token, 'retrieve-failed');
  }

  /** Its cdev cannot be had any more: the retrieve has failed, which is final, or it was finished before. */
  cdevLost(of: string, why: WhyLost): void {
    this._outOfReach((_device, bdf) => bdf === of, why);
  }

  private _outOfReach(isMeant: (device: WaitingDevice, bdf: string) => boolean, why: WhyLost): void {
    for (const [bdf, device] of this.devices) {
      if (device.state !== 'waiting' || device.owner.lost !== null || !isMeant(device, bdf)) continue;
      device.owner.lost = why;
      tellNeverAdopted(this._kernel, bdf, why);
    }
  }

  /** Whether all devices that wait on the domain are out of reach. */
  isOutOfReach(domain: PagingDomain): boolean {
    const waiting = this.devices.values().filter((device) => device.state === 'waiting' && device.domain === domain);
    return waiting.every((device) => device.state === 'waiting' && device.owner.lost !== null);
  }

  /** The restored cdev of a device was closed for good: state N. */
  closed(fn: PciFunction): void {
    this.devices.delete(fn.bdf);
  }

  /**
   * Ends state L of a function that was removed with its context entry: plugging it in again cannot bring its
   * translation back (R1). Its group leaves the domain; other devices on it go on. In A, S, X vfio-pci keeps the
   * function.
   */
  functionRemoved(fn: PciFunction, group: IommuGroup): void {
    const device = this.waiting(fn);
    if (!device) return;
    const { domain } = device;
    this.devices.delete(fn.bdf);
    group.endRestored();
    this._kernel.emit(
      'hazard',
      `${fn.bdf} was removed before it was adopted: its DMA on restored domain ${domain.id} has ended for good`,
      { hazard: 'removed-before-adopted', bdf: fn.bdf, id: domain.id },
      'R1',
    );
    if (this.hasWaiting(domain) || this._isLive(domain)) return;
    this._kernel.iommu.freeDomain(domain);
    this._kernel.emit(
      'restore.dropped',
      `domain ${domain.id}: the last device that could have been adopted is gone, its tables are freed`,
      { id: domain.id },
      'R1',
    );
    tellDropped(this._kernel, domain.id);
  }

  /** Whether devices in luo mode are on the domain. */
  hasWaiting(domain: PagingDomain): boolean {
    return this.devices.values().some((device) => device.state === 'waiting' && device.domain === domain);
  }

  /** A device moved from a restored HWPT to another. */
  swapped(old: HwptPaging, next: HwptPaging, bdf: string): void {
    this._kernel.emit(
      'restore.swapped',
      `${bdf} moves from restored HWPT ${old.id} to HWPT ${next.id}`,
      { bdf, from: old.id, hwpt: next.id },
      'R12',
    );
    tellSwap(this._kernel, bdf, old.domain, next.domain);
  }

  /** A memfd was retrieved: it keeps its size while a restored domain maps its pages (R20). */
  memfdRetrieved(inode: ShmemInode): void {
    for (const domain of this._domains.values()) {
      if (!inode.pages.spans.some((span) => domain.holds(span.frame, span.count))) continue;
      const frozen = this._frozen.get(domain) ?? new Set();
      this._frozen.set(domain, frozen.add(inode));
      if (this._kernel.policies.freezeRestoredMemfd) inode.freeze();
    }
  }

  /** Raises a hazard if pages under a live restored domain lose their file. */
  pagesLost(runs: readonly FrameRun[], why: string): void {
    for (const domain of this._domains.values()) {
      if (!runs.some((run) => domain.holds(run.start, run.count))) continue;
      this._kernel.emit(
        'hazard',
        `${why}: restored domain ${domain.id} still maps its pages, devices go on using them`,
        {
          hazard: 'memory-lost-under-domain',
          id: domain.id,
        },
        'R20',
      );
    }
  }

  /**
   * The last handle of a domain is gone. False: the domain stays, as devices in luo mode are on it. Their iommufd is
   * closed (policy finish=ignore), and they go on as they are (R2).
   */
  letGo(domain: PagingDomain): boolean {
    if (this.hasWaiting(domain)) {
      this._setRecordsOf(domain, { state: 'waiting', domain });
      return false;
    }
    this._domains.delete(domain.id);
    if (this._kernel.policies.freezeRestoredMemfd) for (const inode of this._frozen.get(domain) ?? []) inode.thaw();
    this._frozen.delete(domain);
    this._setRecordsOf(domain, { state: 'gone' });
    return true;
  }

  private _setRecordsOf(domain: PagingDomain, next: RestoredHwpt): void {
    for (const hwpts of this._hwpts.values())
      for (const [token, record] of hwpts)
        if (record.state !== 'gone' && record.domain === domain) hwpts.set(token, next);
  }

  private _isLive(domain: PagingDomain): boolean {
    return [...this._hwpts.values()].some((hwpts) =>
      [...hwpts.values()].some((record) => record.state === 'live' && record.domain === domain),
    );
  }
}

const key = (session: string, token: bigint): string => `${token.toString(16)}:${session}`;
