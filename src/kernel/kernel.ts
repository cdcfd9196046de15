/**
 * One kernel's life on a machine: from boot to the next kexec. A pure, synchronous, deterministic state machine: calls go
 * in, results or refusals and events come out. It is built from the machine and, after a live update, from the handover
 * document, and from nothing else.
 */

import type { Machine } from '../machine/machine.ts';
import { FRAME_SIZE } from '../machine/memory.ts';
import type { PciFunction } from '../machine/pci/function.ts';
import type { FunctionSpec } from '../machine/spec.ts';
import { Drivers } from './drivers.ts';
import type { EventDataOf, EventKind, EventSink } from './events.ts';
import type { Faults } from './faults.ts';
import { IommuCore } from './iommu/iommu.ts';
import { IOMMUFD_HANDLER } from './iommu/liveupdate/iommufd.ts';
import { iommuHandover, pciHandover, preservedFunctions } from './iommu/liveupdate/preserve.ts';
import { restoreIommu } from './iommu/liveupdate/restore.ts';
import { RestoredDomains } from './iommu/liveupdate/restored.ts';
import { type HandoverDocument, IOMMU_ABI, KHO_ABI, Kho, LUO_ABI, PCI_ABI } from './kho/handover.ts';
import { LazyMap } from './lazy-map.ts';
import type { AnyFileHandler, LiveUpdateKernel } from './liveupdate/handler.ts';
import { LiveUpdate } from './liveupdate/luo.ts';
import { AddressSpace } from './mm/address-space.ts';
import { MEMFD_HANDLER } from './mm/memfd-luo.ts';
import type { BootOptions, Policies, Profile } from './policies.ts';
import { type LockedCounter, Process } from './process.ts';
import { Vfio } from './vfio/vfio.ts';
import { VFIO_HANDLER } from './vfio/vfio-luo.ts';

export interface KernelOptions {
  profile: Profile;
  policies: Policies;
  boot: BootOptions;
  /** ABI strings and file handlers of this build; those of this code if absent. */
  abi?: { kho?: string; luo?: string; iommu?: string; pci?: string; handlers?: readonly string[] };
  /** The crash kernel: no handover, no live update. */
  kdump?: boolean;
}

/** How many entries tables that forks have made have together, of processes that there are: a few calls make much out of little. */
const MAX_ENTRIES = 2 ** 20;

export interface Panic {
  panic: string;
}

const HANDLERS: Readonly<Record<Profile, readonly AnyFileHandler[]>> = {
  'linux-7.3': [MEMFD_HANDLER],
  'persisted-domains': [MEMFD_HANDLER, IOMMUFD_HANDLER, VFIO_HANDLER],
};

export class Kernel implements LiveUpdateKernel {
  readonly machine: Machine;
  readonly options: KernelOptions;
  readonly faults: Faults;
  private readonly _sink: EventSink;
  readonly iommu: IommuCore;
  readonly restored: RestoredDomains;
  readonly vfio: Vfio;
  readonly drivers: Drivers;
  readonly kho = new Kho();
  /** Null without KHO or LUO, and in a crash kernel: then there is no /dev/liveupdate. */
  luo: LiveUpdate | null = null;
  kexecCount = 0;
  readonly processes = new Map<number, Process>();
  private readonly _users = new LazyMap<number, LockedCounter>();
  private _nextPid = 1;
  /** What tables of processes that forks have made, and that there are, had when they were made. */
  private _forkedEntries = 0;

  private constructor(machine: Machine, options: KernelOptions, faults: Faults, sink: EventSink) {
    this.machine = machine;
    this.options = options;
    this.faults = faults;
    this._sink = sink;
    this.iommu = new IommuCore(this);
    this.restored = new RestoredDomains(this);
    this.vfio = new Vfio(this);
    this.drivers = new Drivers(this);
  }

  get profile(): Profile {
    return this.options.profile;
  }
  get policies(): Policies {
    return this.options.policies;
  }
  get boot(): BootOptions {
    return this.options.boot;
  }

  /**
   * Boots. `handover` null: a cold boot. All memory that is not handed over is free by then. Panics where the handover
   * fits KHO but not LUO or the IOMMU (R23), or a domain cannot be rebuilt (R1).
   */
  static start(
    machine: Machine,
    options: KernelOptions,
    faults: Faults,
    sink: EventSink,
    handover: HandoverDocument | null,
  ): Kernel | Panic {
    const kernel = new Kernel(machine, options, faults, sink);
    const { abi = {}, boot, kdump = false } = options;
    const ours = { kho: KHO_ABI, luo: LUO_ABI, iommu: IOMMU_ABI, pci: PCI_ABI, ...abi };
    const known = handover && handover.kho === ours.kho && !kdump ? handover : null;
    if (handover && !known)
      kernel.emit(
        'boot.cold',
        `handover "${handover.kho}" is not known to this kernel ("${ours.kho}"): cold boot`,
        {},
        'R23',
      );
    // Units whose tables were not handed over are switched off: these tables are about to be freed.
    const handedOver = new Set(known?.iommu?.units.map(({ unit }) => unit));
    for (const unit of machine.units.values()) if (!handedOver.has(unit.id)) unit.disable();
    machine.memory.retain(known?.preserved ?? [], 'reserved');
    kernel.kexecCount = known ? known.kexecCount + 1 : 0;
    const knowsDomains = options.profile === 'persisted-domains';
    if (known && known.luo.abi !== ours.luo)
      return { panic: `LUO: incompatible handover "${known.luo.abi}", this kernel has "${ours.luo}"` };
    if (known?.iommu && knowsDomains && known.iommu.abi !== ours.iommu)
      return { panic: `IOMMU: incompatible handover "${known.iommu.abi}"` };
    if (known?.pci && knowsDomains && known.pci.abi !== ours.pci)
      return { panic: `PCI: incompatible handover "${known.pci.abi}"` };
    const failure = restoreIommu(kernel, knowsDomains ? known : null);
    if (failure) return { panic: `IOMMU: ${failure}` };
    for (const fn of machine.functions.values()) {
      kernel.iommu.addFunction(fn);
      // What the kernel before had enabled would interrupt this one (pci_msi_init, pci_msix_init).
      fn.config.setMessages(null, 0);
    }
    const enabled = boot.kho && boot.liveupdate && !kdump;
    if (enabled) {
      const handlers = HANDLERS[options.profile].filter(
        ({ compatible }) => !abi.handlers || abi.handlers.includes(compatible),
      );
      kernel.luo = new LiveUpdate(kernel, handlers, known?.luo ?? null);
    }
    const ignored = handover && whyIgnored(handover, { known: known !== null, enabled, knowsDomains });
    if (ignored) kernel.emit('hazard', ignored.what, { hazard: 'handover-ignored', why: ignored.why }, 'R23');
    if (!enabled) for (const { name } of known?.luo.sessions ?? []) kernel.restored.sessionLost(name, 'liveupdate-off');
    const sessions = known?.luo.sessions.length;
    const how = known ? `with a handover of ${sessions} session${sessions === 1 ? '' : 's'}` : 'cold';
    kernel.emit('boot', `booted ${how}`, {
      profile: options.profile,
      handover: known !== null,
      liveupdate: enabled,
    });
    kernel.drivers.autoprobe();
    return kernel;
  }

  emit<Kind extends EventKind>(kind: Kind, message: string, data: EventDataOf<Kind>, rule?: string): void {
    this._sink.emit(kind, message, data, rule);
  }

  createProcess(name: string, capabilities: readonly string[]): Process {
    const mm = new AddressSpace(this.machine.memory);
    const process = new Process(mm, this._nextPid++, name, capabilities);
    this.processes.set(process.pid, process);
    return process;
  }

  /** Forks a process. Null: there is no memory for copies of its private pages, or for tables of one more process. */
  forkProcess(parent: Process, name: string): Process | null {
    const { entries } = parent;
    const child = this._forkedEntries + entries > MAX_ENTRIES ? null : parent.fork(this._nextPid, name);
    if (!child) return null;
    child.entriesOfFork = entries;
    this._forkedEntries += entries;
    this._nextPid++;
    this.processes.set(child.pid, child);
    return child;
  }

  killProcess(process: Process): void {
    this.processes.delete(process.pid);
    this._forkedEntries -= process.entriesOfFork;
    process.exit();
    this.emit('process.exit', `process ${process.pid} (${process.name}) ends`, { pid: process.pid });
  }

  /** Locked pages of users that have mapped some. */
  get users(): ReadonlyMap<number, LockedCounter> {
    return this._users;
  }

  userLocked(uid: number): LockedCounter {
    let counter = this._users.get(uid);
    if (!counter) {
      counter = { pages: 0 };
      this._users.set(uid, counter);
    }
    return counter;
  }

  addFunction(spec: FunctionSpec): PciFunction {
    const fn = this.machine.addFunction(spec);
    this.iommu.addFunction(fn);
    this.emit('pci.add', `${fn.bdf} appears${spec.group === null ? '' : ` in group ${spec.group}`}`, {
      bdf: fn.bdf,
      group: spec.group,
    });
    return fn;
  }

  removeFunction(fn: PciFunction): void {
    this.iommu.removeFunction(fn);
    this.machine.functions.delete(fn.bdf);
    this.emit('pci.remove', `${fn.bdf} is gone`, { bdf: fn.bdf });
  }

  /** Resets a function; its translation stays (R18). */
  resetFunction(fn: PciFunction, why: EventDataOf<'pci.reset'>['why']): void {
    fn.reset();
    this.vfio.devices.get(fn.bdf)?.pci?.irqs.deviceReset();
    this.emit('pci.reset', `${fn.bdf} is reset (${why})`, { bdf: fn.bdf, why });
  }

  /** Makes the document for the next kernel, after a successful freeze. */
  handover(): HandoverDocument | null {
    const { luo } = this;
    if (!luo) return null;
    const iommu = iommuHandover(this, luo.outgoing);
    return {
      kho: KHO_ABI,
      kexecCount: this.kexecCount,
      preserved: this.kho.runs(),
      luo: { abi: LUO_ABI, number: luo.number + 1, sessions: luo.serialize() },
      iommu,
      pci: pciHandover(luo.outgoing),
    };
  }

  /** The functions that are handed over running. The drivers of all others quiesce theirs before a kexec. */
  preservedFunctions(): Set<PciFunction> {
    return preservedFunctions(this.luo?.outgoing ?? []);
  }

  /** How many bytes of memory are preserved for the next kernel. */
  get preservedBytes(): number {
    return this.kho.frames * FRAME_SIZE;
  }
}

/** What of a handover a kernel passes over without a word, and why; null: nothing that anybody needs. */
function whyIgnored(
  { kho, luo, iommu }: HandoverDocument,
  { known, enabled, knowsDomains }: { known: boolean; enabled: boolean; knowsDomains: boolean },
): { why: 'abi' | 'liveupdate-off' | 'profile'; what: string } | null {
  const sessions = `${luo.sessions.length} session${luo.sessions.length === 1 ? '' : 's'}`;
  if (luo.sessions.length === 0) return null;
  if (!known) return { why: 'abi', what: `this kernel does not read handover "${kho}": ${sessions} are gone` };
  if (!enabled)
    return { why: 'liveupdate-off', what: `this kernel has no Live Update Orchestrator: nobody can reach ${sessions}` };
  if (iommu && !knowsDomains)
    return {
      why: 'profile',
      what: `a kernel of this profile knows no restored domains: ${iommu.domains.length} that were handed over are gone`,
    };
  return null;
}
