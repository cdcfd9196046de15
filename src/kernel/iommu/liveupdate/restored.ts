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
import { PageTable } from '../../../machine/page-table.ts';
import type { PciFunction } from '../../../machine/pci.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { IommufdContext } from '../../iommufd/context.ts';
import type { IommufdDevice } from '../../iommufd/device/device.ts';
import { HwptPaging } from '../../iommufd/hw-pagetable/hwpt.ts';
import type { Kernel } from '../../kernel.ts';
import type { DeviceRecord, DomainRecord, HandoverDocument } from '../../kho/handover.ts';
import type { ShmemInode } from '../../mm/shmem.ts';
import { PagingDomain } from '../domain.ts';
import { type IommuGroup, RestoredOwner } from '../group.ts';

/** A marked HWPT of the previous kernel. */
export interface RestoredHwpt {
  token: bigint;
  domain: PagingDomain | null;
  /** Made at the first BIND of a device on the domain (R8). */
  hwpt: HwptPaging | null;
  /** RESTORE has told its id (policy finish=strict asks for it). */
  claimed: boolean;
  /** Destroyed, or dropped at boot since no device was left on it. */
  gone: boolean;
}

export interface RestoredDevice {
  fn: PciFunction;
  domain: PagingDomain;
  owner: RestoredOwner;
  resetWorks: boolean;
  adopted: boolean;
  /** The restored cdev was closed for good, or the function was removed in state L: state N. */
  ended: boolean;
}

export class RestoredDomains {
  private readonly _kernel: Kernel;
  readonly devices = new Map<string, RestoredDevice>();
  private readonly _domains = new Map<number, PagingDomain>();
  /** By session and token of the iommufd. */
  private readonly _hwpts = new Map<string, Map<bigint, RestoredHwpt>>();
  private readonly _frozen = new Map<PagingDomain, Set<ShmemInode>>();
  /** The iommufd that was retrieved, by session and token. */
  private readonly _contexts = new Map<string, IommufdContext>();

  constructor(kernel: Kernel) {
    this._kernel = kernel;
  }

  /**
   * At boot, before anybody can use a device (R1, C7): takes over root tables, clears entries of devices that were not
   * preserved, rebuilds domains. Returns why the kernel must panic, or null.
   */
  boot(document: HandoverDocument): string | null {
    const { machine } = this._kernel;
    const record = document.iommu;
    if (!record) return null;
    for (const { unit: id, root, tables } of record.units) {
      const unit = machine.units.get(id);
      if (!unit || unit.rootTable !== root) return `IOMMU ${id}: no root table at frame ${root}`;
      for (const run of tables) machine.memory.setOwner(run.start, run.count, 'context-table');
    }
    const present = record.devices.filter(({ bdf }) => machine.functions.has(bdf));
    for (const domain of record.domains) {
      const used = present.some((device) => device.domain === domain.id);
      const failure = used ? this._rebuild(domain) : this._dropTables(domain);
      if (failure) return failure;
    }
    for (const { unit: id } of record.units) {
      const unit = machine.units.get(id)!;
      const kept = new Set(
        present.filter((device) => device.unit === id).map(({ bdf }) => machine.functions.get(bdf)!.sourceId),
      );
      for (const source of unit.sources()) if (!kept.has(source)) unit.setContext(source, { kind: 'blocked' });
    }
    for (const device of present) this._takeDevice(device);
    for (const session of document.luo.sessions)
      for (const file of session.files) {
        if (file.compatible !== 'iommufd-v1') continue;
        const hwpts = (file.data as { hwpts: { token: string; domain: number }[] }).hwpts;
        const map = new Map<bigint, RestoredHwpt>();
        for (const { token, domain } of hwpts) {
          const found = this._domains.get(domain) ?? null;
          map.set(BigInt(token), { token: BigInt(token), domain: found, hwpt: null, claimed: false, gone: !found });
        }
        this._hwpts.set(key(session.name, BigInt(file.token)), map);
      }
    return null;
  }

  private _rebuild(record: DomainRecord): string | null {
    const { machine, iommu } = this._kernel;
    const unit = machine.units.get(record.unit);
    const format = unit?.formats[record.tableType];
    if (!unit || !format) return `domain ${record.id}: IOMMU ${record.unit} is not there`;
    for (const run of record.tables) {
      for (let frame = run.start; frame < run.start + run.count; frame++)
        if (!machine.memory.runAt(frame)) return `domain ${record.id}: page table page ${frame} was not preserved`;
      machine.memory.setOwner(run.start, run.count, 'page-table');
    }
    const options = {
      tableType: record.tableType,
      dirtyTracking: record.dirtyTracking,
      nestParent: false,
      pasid: false,
    };
    const domain = new PagingDomain(record.id, unit, options, new PageTable(machine.memory, format, record.root), true);
    domain.holdPages(machine.memory);
    const lost = domain.lostPages.reduce((sum, { count }) => sum + count, 0);
    if (lost > 0)
      this._kernel.emit(
        'hazard',
        `restored domain ${record.id} maps ${lost} pages that nobody had preserved, as their memfd has others in their place: devices go on using them`,
        { hazard: 'memory-lost-under-domain', id: record.id },
        'R20',
      );
    this._domains.set(record.id, domain);
    iommu.domains.set(record.id, domain);
    return null;
  }

  private _dropTables(record: DomainRecord): string | null {
    for (const run of record.tables) this._kernel.machine.memory.release(run.start, run.count);
    this._kernel.emit(
      'restore.dropped',
      `domain ${record.id}: none of its devices is there, its tables are freed`,
      { id: record.id },
      'R1',
    );
    return null;
  }

  private _takeDevice({ bdf, domain, session, iommufdToken, resetWorks }: DeviceRecord): void {
    const { machine } = this._kernel;
    const fn = machine.functions.get(bdf)!;
    const entry = machine.unitOf(fn).context(fn.sourceId);
    // The entry is kept as it is, and the domain says the same of it.
    this._domains.get(domain)!.dirtyEnabled = entry.kind === 'table' && entry.dirtyEnabled;
    this.devices.set(bdf, {
      fn,
      domain: this._domains.get(domain)!,
      owner: new RestoredOwner(session, BigInt(iommufdToken)),
      resetWorks,
      adopted: false,
      ended: false,
    });
    this._kernel.emit('restore.device', `${bdf} stays on restored domain ${domain}`, { bdf, id: domain }, 'R1');
  }

  /** The state of a function; what each letter means: README.md. */
  stateOf(fn: PciFunction): 'L' | 'A' | 'S' | 'X' | 'N' {
    const device = this.devices.get(fn.bdf);
    if (!device || device.ended) return 'N';
    if (!device.adopted) return 'L';
    const { domain } = this._kernel.iommu.groupOf(fn)!;
    return domain === device.domain ? 'A' : domain.kind === 'blocked' ? 'X' : 'S';
  }

  hwptsOf(session: string, token: bigint): Map<bigint, RestoredHwpt> {
    return this._hwpts.get(key(session, token)) ?? new Map();
  }

  iommufdRetrieved(context: IommufdContext): void {
    this._contexts.set(key(context.restored!.session, context.restored!.token), context);
  }

  iommufdClosed(context: IommufdContext): void {
    if (context.restored) this._contexts.delete(key(context.restored.session, context.restored.token));
  }

  /** The owner whose claim passes for this restored device and iommufd; null: none (EPERM in the claim). */
  ownerFor(device: RestoredDevice, context: IommufdContext): RestoredOwner | null {
    return this._contexts.get(key(device.owner.session, device.owner.iommufdToken)) === context ? device.owner : null;
  }

  /** R8: the HWPT appears by itself at the BIND, and the device counts as attached to it. ENOMEM leaves state L. */
  adopt(device: RestoredDevice, bound: IommufdDevice): Refusal | null {
    const { context } = bound;
    const record = [...context.restored!.hwpts.values()].find(({ domain }) => domain === device.domain);
    if (!record) return refuse('EINVAL', 'iommufd_device_adopt', 'the restored domain belongs to no marked HWPT', 'R8');
    if (!record.hwpt) {
      const injected = this._kernel.faults.refusal('allocation', 'iommufd_hwpt_lu_adopt');
      if (injected) return injected;
      record.hwpt = context.objects.commit(
        context.objects.reserve(),
        new HwptPaging(context, null, device.domain, false),
      );
    }
    record.hwpt.users++;
    context.attachments.set(bound.group, { hwpt: record.hwpt, devices: new Set([bound]) });
    device.adopted = true;
    this._kernel.emit(
      'restore.adopted',
      `${device.fn.bdf} is bound with its restored domain, HWPT ${record.hwpt.id}`,
      {
        bdf: device.fn.bdf,
        hwpt: record.hwpt.id,
        id: device.domain.id,
      },
      'R8',
    );
    return null;
  }

  /** The restored cdev of a device was closed for good. */
  closed(fn: PciFunction): void {
    const device = this.devices.get(fn.bdf);
    if (device) device.ended = true;
  }

  /**
   * A function is gone, and its context entry with it: plugging it in again cannot bring its translation back (R1). Its
   * group has lost its domain; the other devices on the domain go on. In A, S, X vfio-pci keeps the function.
   */
  functionRemoved(fn: PciFunction, group: IommuGroup): void {
    const device = this.devices.get(fn.bdf);
    if (!device || device.ended) return;
    const { domain } = device;
    device.ended = true;
    group.endRestored();
    this._kernel.emit(
      'hazard',
      `${fn.bdf} was removed before it was adopted: its DMA on restored domain ${domain.id} has ended for good`,
      { hazard: 'removed-before-adopted', bdf: fn.bdf, id: domain.id },
      'R1',
    );
    if (this.hasWaiting(domain) || this._recordsOf(domain).some(({ hwpt }) => hwpt)) return;
    this._kernel.iommu.freeDomain(domain);
    this._kernel.emit(
      'restore.dropped',
      `domain ${domain.id}: the last device that could have been adopted is gone, its tables are freed`,
      { id: domain.id },
      'R1',
    );
  }

  /** Whether devices in luo mode are on the domain. */
  hasWaiting(domain: PagingDomain): boolean {
    return [...this.devices.values()].some((device) => device.domain === domain && !device.adopted && !device.ended);
  }

  /** A device moved from a restored HWPT to another: what the old one mapped and the new one does not now faults. */
  swapped(old: HwptPaging, next: HwptPaging, bdf: string): void {
    this._kernel.emit(
      'restore.swapped',
      `${bdf} moves from restored HWPT ${old.id} to HWPT ${next.id}`,
      { bdf, from: old.id, hwpt: next.id },
      'R12',
    );
    const { table, minPage } = old.domain;
    let lost = 0n;
    let first: bigint | null = null;
    for (const { unit, units } of table.extents(0, Number.MAX_SAFE_INTEGER)) {
      const iova = BigInt(unit) * minPage;
      const { missing, from } = uncovered(next, iova, iova + BigInt(units) * minPage - 1n);
      if (missing > 0n) first ??= from;
      lost += missing;
    }
    if (first !== null)
      this._kernel.emit(
        'hazard',
        `${bdf}: ${lost} bytes that the restored domain mapped, from 0x${first.toString(16)} on, fault from now on`,
        {
          hazard: 'incomplete-hot-swap',
          bdf,
          iova: `0x${first.toString(16)}`,
          bytes: `0x${lost.toString(16)}`,
        },
        'R12',
      );
  }

  /** A memfd came back: while a restored domain maps its pages it keeps its size (R20). */
  memfdRetrieved(inode: ShmemInode): void {
    for (const domain of this._domains.values()) {
      if (!inode.pages.spans.some((span) => overlaps(domain.heldPages, span.frame, span.count))) continue;
      const frozen = this._frozen.get(domain) ?? new Set();
      this._frozen.set(domain, frozen.add(inode));
      if (this._kernel.policies.freezeRestoredMemfd) inode.restoredDomains++;
    }
  }

  /** Raises a hazard if pages under a live restored domain lose their file. */
  pagesLost(runs: readonly FrameRun[], why: string): void {
    for (const domain of this._domains.values()) {
      if (!runs.some((run) => overlaps(domain.heldPages, run.start, run.count))) continue;
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
   * Nobody has a handle of the domain any more. False, and it stays, where devices in luo mode are on it: their iommufd is
   * closed (policy finish=ignore), and they go on as they are (R2).
   */
  letGo(domain: PagingDomain): boolean {
    if (this.hasWaiting(domain)) {
      for (const record of this._recordsOf(domain)) record.hwpt = null;
      return false;
    }
    this._domains.delete(domain.id);
    if (this._kernel.policies.freezeRestoredMemfd)
      for (const inode of this._frozen.get(domain) ?? []) inode.restoredDomains--;
    this._frozen.delete(domain);
    for (const record of this._recordsOf(domain)) {
      record.gone = true;
      record.hwpt = null;
      record.domain = null;
    }
    return true;
  }

  private _recordsOf(domain: PagingDomain): RestoredHwpt[] {
    return [...this._hwpts.values()].flatMap((hwpts) =>
      [...hwpts.values()].filter((record) => record.domain === domain),
    );
  }
}

const key = (session: string, token: bigint): string => `${token.toString(16)}:${session}`;

function overlaps(held: readonly FrameRun[], start: number, count: number): boolean {
  return held.some((run) => run.start < start + count && start < run.start + run.count);
}

/** Bytes of [first, last] that no area of the HWPT's IOAS maps, and the first of them. */
function uncovered(hwpt: HwptPaging, first: bigint, last: bigint): { missing: bigint; from: bigint | null } {
  let missing = 0n;
  let from: bigint | null = null;
  for (let cursor = first; cursor <= last; ) {
    const area = hwpt.ioas!.iopt.areas.first(cursor, last);
    const end = area ? area.iova : last + 1n;
    if (end > cursor) {
      missing += end - cursor;
      from ??= cursor;
    }
    cursor = area ? area.last + 1n : end;
  }
  return { missing, from };
}
