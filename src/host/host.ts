/**
 * A host: a machine, and the kernel that runs on it now. Commands change it and are synchronous
 * and deterministic: the same commands on the same spec give the same answers, always.
 *
 *   running --kexec.freeze--> kexec (no kernel; hardware goes on) --kexec.boot--> running | panic
 *   running --crash--> kdump --reset--> running;   panic --reset--> running
 */

import { usesDmaApi } from '../kernel/drivers.ts';
import { assert, type Refusal, refuse } from '../kernel/errno.ts';
import type { EventDataOf, EventKind, EventSink } from '../kernel/events.ts';
import { Faults } from '../kernel/faults.ts';
import { Kernel, type KernelOptions } from '../kernel/kernel.ts';
import type { HandoverDocument } from '../kernel/kho/handover.ts';
import { leftBehind, tellDeparture } from '../kernel/liveupdate/departure.ts';
import { DEFAULT_BOOT } from '../kernel/policies.ts';
import type { DmaEngine, WhyStopped } from '../machine/engines/engine.ts';
import { Machine } from '../machine/machine.ts';
import type { PciFunction } from '../machine/pci/function.ts';
import { refused } from './answers.ts';
import type {
  Answer,
  Command,
  EmittedEvent,
  Execution,
  HostQuery,
  HostRecord,
  HostSpec,
  NextKernel,
  Refused,
} from './command.ts';
import { perform } from './commands/index.ts';
import { tellEngines, tellStopped } from './engine-events.ts';
import { type Departure, departure, handoverView } from './handover.ts';
import type { SnapshotView } from './past-views.ts';
import { answerQuery } from './queries/index.ts';
import type { Found } from './queries/row.ts';
import type { HandoverView } from './views.ts';

/** The simulated time that a command takes. */
const COMMAND_NANOSECONDS = 1000n;
/** The simulated time that a boot takes: the blackout of a live update. */
const BOOT_NANOSECONDS = 1_000_000_000n;

const NO_EVENTS: readonly EmittedEvent[] = [];

export type HostState = 'running' | 'kdump' | 'panic' | 'kexec';

interface PendingBoot {
  next: NextKernel | undefined;
  departed: Departure;
}

type FreezeCommand = Extract<Command, { op: 'kexec.freeze' }>;

export class Host implements EventSink {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _records: () => [], _events: () => null };

  readonly spec: HostSpec;
  readonly machine: Machine;
  readonly faults = new Faults(this);
  /** Null while no kernel runs: between freeze and boot, and after a panic. */
  kernel: Kernel | null = null;
  kernelNumber = 0;
  /** Those that have names. */
  snapshots: readonly SnapshotView[] = [];
  /** What the running kernel was started with; when none runs, what the last one was. */
  options: KernelOptions;
  state: HostState = 'running';
  panic: string | null = null;
  /** Why drivers of its spec cannot be bound, or null. A new host with a refusal is not created. */
  readonly refusal: Refused | null;
  private _pending: PendingBoot | null = null;
  private _records: HostRecord[] = [];
  /** What the current command has emitted; null: nothing, and nothing is allocated for that. */
  private _events: EmittedEvent[] | null = null;

  constructor(spec: HostSpec) {
    this.spec = spec;
    this.machine = new Machine(spec.machine);
    this.options = this._firstOptions();
    this._start(this.options, null);
    this.refusal = this._bindFirst(this.kernel!);
  }

  /**
   * Binds the drivers of the spec, in place of built-in ones that have probed. Returns why some cannot be bound, or
   * null.
   */
  private _bindFirst({ drivers }: Kernel): Refused | null {
    const refusals: { bdf: string; refusal: Refusal }[] = [];
    for (const { bdf, driver } of this.spec.machine.functions) {
      const fn = this.machine.functions.get(bdf)!;
      const current = drivers.bound.get(bdf);
      if (!driver || driver === current) continue;
      if (current !== undefined) drivers.unbind(fn, current);
      const refusal = drivers.bind(fn, driver);
      if (refusal) refusals.push({ bdf, refusal });
    }
    const [first] = refusals;
    if (!first) return null;
    const functions = refusals.map(({ bdf, refusal: { errno, why } }) => ({ bdf, errno, why }));
    return { ...refused(first.refusal), functions };
  }

  /** Whether the host is frozen, so that `kexec.boot` has to boot the next kernel. */
  get pendingBoot(): boolean {
    return this._pending !== null;
  }

  query(query: HostQuery): Answer {
    const found = this.look(query);
    if ('kind' in found) return found;
    for (;;) {
      const { done, value } = found.next();
      if (done) return value;
    }
  }

  /** The same, where there may be very much to be found in steps, between which nothing may happen to the host. */
  look(query: HostQuery): Found {
    return answerQuery(this, query);
  }

  execute(command: Command): Execution {
    this.begin();
    return this.end(perform(this, command));
  }

  /** A command begins: until its `end` it is the only one. */
  begin(): void {
    this._records = [];
    this._events = null;
    if (this.machine.engines !== null) this.machine.watchEngines();
    this.machine.clock += COMMAND_NANOSECONDS;
  }

  /** It is done, and has this answer. */
  end(answer: Answer): Execution {
    // A command that is not found is not journaled: a replay does not run it.
    if (answer.kind === 'not-found') this.machine.clock -= COMMAND_NANOSECONDS;
    if (this.machine.engines !== null) tellEngines(this);
    return { answer, records: this._records, events: this.takeEvents() };
  }

  /** This host, as it was when the snapshot was taken, takes the place of the one that it has become. */
  takePlaceOf(now: Host, name: string, sequence: number): Execution {
    this.snapshots = now.snapshots;
    this._records = [];
    this._events = null;
    this.emit('restored', `the host is again as snapshot "${name}" has it, behind command ${sequence}`, {
      name,
      sequence,
      state: this.state,
    });
    return { answer: { kind: 'ok', value: { name, sequence } }, records: [], events: this.takeEvents() };
  }

  /** The answer to commands that need a kernel while none runs: EIO. */
  withoutKernel(): Answer {
    const why =
      this.state === 'panic'
        ? `the kernel has stopped (${this.panic}): reset the host`
        : 'no kernel runs between freeze and boot: the next one is about to boot';
    return refused(refuse('EIO', 'kernel', why));
  }

  /**
   * Ends this kernel: freezes what is preserved and hands it over. Returns the refusal of the first freeze that fails
   * (R22).
   */
  freeze(kernel: Kernel, mode: FreezeCommand['mode'], next: NextKernel | undefined): Refusal | null {
    const refusal = kernel.luo?.freeze() ?? null;
    if (refusal) return refusal;
    // An image of plain kexec_load carries no handover, so what was frozen is lost.
    const document = mode === 'live-update' ? kernel.handover() : null;
    const kept = document ? kernel.preservedFunctions() : new Set<PciFunction>();
    const left = leftBehind(kernel, kept, mode === 'plain');
    const departed = departure(this, kernel, { mode, kept, left });
    this._tellKexec(departed, kept.size, left.length);
    tellDeparture(kernel, left);
    for (const fn of this.machine.functions.values()) if (!kept.has(fn)) fn.interruptsEnabled = false;
    this._stopEngines('quiesced', ({ bdf }) => usesDmaApi(kernel.drivers.bound.get(bdf) ?? 'vfio-pci'));
    const powerLoss = this.faults.strike('kexec.power-loss');
    if (powerLoss) {
      this.emit('power-loss', 'the machine loses power: nothing is handed over', {});
      this._stopEngines('power-cycle', () => true);
    }
    const dies = this.faults.strike('service.death');
    this.kernel = null;
    this.state = 'kexec';
    this._pending = { next, departed };
    this._records.push({ kind: 'handover', text: document && !powerLoss ? JSON.stringify(document) : null });
    if (dies) this._records.push({ kind: 'die' });
    return null;
  }

  private _tellKexec({ mode, sessions, files }: Departure, devices: number, left: number): void {
    const handedOver = `${sessions.length} sessions with ${files.length} files, ${devices} devices`;
    const lost = left === 0 ? '' : `; ${left} devices are left behind`;
    this.emit('kexec', `kernel ${this.kernelNumber} ends: ${mode}, handing over ${handedOver}${lost}`, {
      mode,
      sessions: sessions.length,
      files: files.length,
      devices,
      leftBehind: left,
    });
  }

  /** Boots the next kernel after a freeze; `handover` null: a cold boot. Returns what has become of what was handed over. */
  bootNext(handover: string | null): HandoverView {
    const pending = this._pending;
    assert(pending, 'a kernel waits to be booted');
    this._pending = null;
    this.machine.clock += BOOT_NANOSECONDS;
    const { next, departed } = pending;
    // After a crash kernel the build of the first kernel is booted again.
    const base = this.options.kdump ? this._firstOptions() : this.options;
    const document = handover === null ? null : (JSON.parse(handover) as HandoverDocument);
    this._start(
      {
        profile: next?.profile ?? base.profile,
        policies: this.spec.policies,
        boot: { ...base.boot, ...next?.boot },
        abi: {
          ...(next?.khoAbi !== undefined && { kho: next.khoAbi }),
          ...(next?.luoAbi !== undefined && { luo: next.luoAbi }),
          ...(next?.iommuAbi !== undefined && { iommu: next.iommuAbi }),
          ...(next?.pciAbi !== undefined && { pci: next.pciAbi }),
          ...(next?.handlers && { handlers: next.handlers }),
        },
      },
      document,
    );
    return handoverView(this, departed);
  }

  /** A panic: a crash kernel boots, without handover and live update. Devices are left running. */
  crash(): void {
    this.emit('crash', `kernel ${this.kernelNumber} crashes`, {});
    this.machine.clock += BOOT_NANOSECONDS;
    this._start({ ...this.options, boot: { ...this.options.boot, kho: false, liveupdate: false }, kdump: true }, null);
    this.state = 'kdump';
  }

  /** Power cycle: all memory is lost, and the build of the first kernel boots cold. */
  reset(): void {
    this.emit('reset', 'the host is reset', {});
    this.machine.clock += BOOT_NANOSECONDS;
    this._pending = null;
    this._stopEngines('power-cycle', () => true);
    for (const fn of this.machine.functions.values()) fn.powerOn();
    this._start(this._firstOptions(), null);
  }

  private _stopEngines(why: WhyStopped, isMeant: (engine: DmaEngine) => boolean): void {
    const { engines } = this.machine;
    for (const engine of [...(engines?.running ?? [])]) {
      if (!isMeant(engine)) continue;
      engines!.stop(engine, why);
      tellStopped(this, engine);
    }
  }

  private _firstOptions(): KernelOptions {
    return { profile: this.spec.profile, policies: this.spec.policies, boot: { ...DEFAULT_BOOT, ...this.spec.boot } };
  }

  private _start(options: KernelOptions, document: HandoverDocument | null): void {
    this.kernelNumber++;
    this.options = options;
    this.kernel = null;
    const kernel = Kernel.start(this.machine, options, this.faults, this, document);
    if ('panic' in kernel) {
      this.state = 'panic';
      this.panic = kernel.panic;
      this.emit('panic', `kernel panic: ${kernel.panic}`, { reason: kernel.panic, errno: 'EIO' });
      return;
    }
    this.kernel = kernel;
    this.state = 'running';
    this.panic = null;
  }

  /** What was emitted since the last time; of a new host: its boot. It leaves the host. */
  takeEvents(): readonly EmittedEvent[] {
    const events = this._events ?? NO_EVENTS;
    this._events = null;
    return events;
  }

  /** Tells the log; the kernel does so, too. */
  emit<Kind extends EventKind>(kind: Kind, message: string, data: EventDataOf<Kind>, rule?: string): void {
    this._events ??= [];
    this._events.push({
      time: this.machine.clock.toString(),
      kernel: this.kernelNumber,
      kind,
      message,
      data: rule === undefined ? data : { ...data, rule },
    });
  }
}
