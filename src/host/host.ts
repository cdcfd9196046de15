/**
 * A host: a machine, the kernel that runs on it now, and the log of what happened. Commands change it and are synchronous
 * and deterministic: the same commands on the same spec give the same answers, always.
 *
 *   running --kexec.freeze--> kexec (no kernel; hardware goes on) --kexec.boot--> running | panic
 *   running --crash--> kdump --reset--> running;   panic --reset--> running
 */

import { runCall } from '../kernel/calls.ts';
import { ERRNO, type Errno, Refusal, refuse } from '../kernel/errno.ts';
import type { EventData, EventSink } from '../kernel/events.ts';
import { FAULT_POINTS, type FaultPoint, Faults } from '../kernel/faults.ts';
import { hex } from '../kernel/ioctl.ts';
import { IommufdContext } from '../kernel/iommufd/context.ts';
import { UMAX } from '../kernel/iommufd/io-pagetable/span.ts';
import { Ioas } from '../kernel/iommufd/ioas.ts';
import { Kernel, type KernelOptions } from '../kernel/kernel.ts';
import type { HandoverDocument } from '../kernel/kho/handover.ts';
import { DEFAULT_BOOT } from '../kernel/policies.ts';
import { CAPABILITIES, type Process } from '../kernel/process.ts';
import { Machine } from '../machine/machine.ts';
import type { PciFunction } from '../machine/pci.ts';
import type {
  Answer,
  Command,
  DmaAccess,
  DmaResult,
  Execution,
  HostRecord,
  HostSpec,
  NextKernel,
  Query,
  Refused,
} from './command.ts';
import { EventLog } from './event-log.ts';
import { answerQuery, deviceView, groupView, hostView, processView } from './queries.ts';

/** What a command costs of simulated time. */
export const COMMAND_NANOSECONDS = 1000n;
/** What a boot costs: the blackout of a live update. */
const BOOT_NANOSECONDS = 1_000_000_000n;

/** Owners of the frames that IOMMUs walk. */
const IOMMU_TABLES: ReadonlySet<string> = new Set(['page-table', 'context-table']);

export type HostState = 'running' | 'kdump' | 'panic' | 'kexec';

interface PendingBoot {
  next: NextKernel | undefined;
}

const ok = (value: unknown): Answer => ({ kind: 'ok', value });
export const refused = ({ errno, where, why, rule }: Refusal): Refused => ({
  kind: 'refused',
  errno,
  where,
  why,
  ...(rule && { rule }),
});
const notFound = (what: string): Answer => ({ kind: 'not-found', what });

export class Host implements EventSink {
  readonly spec: HostSpec;
  readonly machine: Machine;
  readonly log = new EventLog();
  readonly faults = new Faults(this);
  /** Null while no kernel runs: between freeze and boot, and after a panic. */
  kernel: Kernel | null = null;
  kernelNumber = 0;
  /** What the running kernel was started with; stays readable when it is gone. */
  options: KernelOptions;
  state: HostState = 'running';
  panic: string | null = null;
  /** Why it cannot begin as its spec has it: a new host is not made then. */
  readonly refusal: Refused | null;
  private _pending: PendingBoot | null = null;
  private _records: HostRecord[] = [];

  constructor(spec: HostSpec) {
    this.spec = spec;
    this.machine = new Machine(spec.machine);
    this.options = this._firstOptions();
    this._start(this.options, null);
    this.refusal = this._bindFirst(this.kernel!);
  }

  /** The drivers that functions begin with, also where a built-in one was faster; or why the kernel does not bind some. */
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

  /** Frozen: the next kernel is to be booted with `kexec.boot`. */
  get pendingBoot(): boolean {
    return this._pending !== null;
  }

  query(query: Query): Answer {
    return answerQuery(this, query);
  }

  execute(command: Command): Execution {
    this._records = [];
    this.machine.clock += COMMAND_NANOSECONDS;
    const answer = this._answer(command);
    // It is not journaled, so a replay knows nothing of it.
    if (answer.kind === 'not-found') this.machine.clock -= COMMAND_NANOSECONDS;
    return { answer, records: this._records };
  }

  private _answer(command: Command): Answer {
    switch (command.op) {
      case 'clock.advance':
        this.machine.clock += BigInt(command.nanoseconds);
        return ok({ now: this.machine.clock.toString() });
      case 'device.dma':
        return this._onFunction(command.bdf, (fn) =>
          ok({ results: command.accesses.map((access) => this._dma(fn, access)) }),
        );
      case 'reset':
        return this._reset();
      case 'kexec.boot':
        return this._bootNext(command.handover);
      case 'fault.arm':
        return this._armFault(command.point, command.nth, command.errno);
      case 'fault.disarm':
        return this.faults.disarm(command.id) ? ok({}) : notFound(`fault ${command.id}`);
    }
    const { kernel } = this;
    if (!kernel) return this.withoutKernel();
    switch (command.op) {
      case 'calls':
        return this._onProcess(kernel, command.pid, (process) => {
          const results = [];
          for (const call of command.calls) {
            const result = runCall(kernel, process, call);
            results.push(result);
            if (command.stopOnError && result.ret === -1) break;
          }
          return ok({ results });
        });
      case 'process.create': {
        const process = kernel.createProcess(command.name ?? 'process', command.capabilities ?? CAPABILITIES);
        return ok(processView(process));
      }
      case 'process.kill':
        return this._onProcess(kernel, command.pid, (process) => {
          kernel.killProcess(process);
          return ok({});
        });
      case 'device.add': {
        if (this.machine.functions.has(command.device.bdf))
          return refused(refuse('EEXIST', 'pci_scan_single_device', `${command.device.bdf} is there already`));
        const fn = kernel.addFunction(command.device);
        if (!command.device.driver) return ok(deviceView(this, fn));
        const refusal = kernel.drivers.bind(fn, command.device.driver);
        if (!refusal) return ok(deviceView(this, fn));
        kernel.removeFunction(fn);
        return refused(refusal);
      }
      case 'device.remove':
        return this._onFunction(command.bdf, (fn) => ok(kernel.drivers.remove(fn).blocked ? { blocked: true } : {}));
      case 'device.update':
        return this._onFunction(command.bdf, (fn) => {
          fn.interruptsEnabled = command.interruptsEnabled;
          return ok(deviceView(this, fn));
        });
      case 'device.flr':
        return this._onFunction(command.bdf, (fn) => {
          // Without a method of reset sysfs has no such file (pci_dev_reset_attr_is_visible).
          if (!fn.spec.reset)
            return refused(refuse('ENOENT', 'do_filp_open', `${fn.bdf} cannot be reset: it has no \`reset\` in sysfs`));
          kernel.resetFunction(fn, 'sysfs');
          return ok(deviceView(this, fn));
        });
      case 'driver.bind':
        return this._onFunction(command.bdf, (fn) => {
          const refusal = kernel.drivers.bind(fn, command.driver);
          return refusal ? refused(refusal) : ok(deviceView(this, fn));
        });
      case 'driver.unbind':
        return this._onFunction(command.bdf, (fn) => {
          const outcome = kernel.drivers.unbind(fn, command.driver);
          return outcome instanceof Refusal ? refused(outcome) : ok(outcome);
        });
      case 'group.type': {
        const group = kernel.iommu.groups.get(command.group);
        if (!group) return notFound(`group ${command.group}`);
        const refusal = group.setType(command.type);
        return refusal ? refused(refusal) : ok(groupView(this, group));
      }
      case 'ioas.reserve':
        return this._onProcess(kernel, command.pid, (process) => this._reserve(process, command));
      case 'kexec.freeze':
        return this._freeze(kernel, command);
      case 'crash':
        return this._crash();
    }
  }

  private _onFunction(bdf: string, run: (fn: PciFunction) => Answer): Answer {
    const fn = this.machine.functions.get(bdf);
    return fn ? run(fn) : notFound(`device ${bdf}`);
  }

  private _onProcess(kernel: Kernel, pid: number, run: (process: Process) => Answer): Answer {
    const process = kernel.processes.get(pid);
    return process ? run(process) : notFound(`process ${pid}`);
  }

  /** What is answered to whatever needs a kernel, while there is none. */
  withoutKernel(): Answer {
    const why =
      this.state === 'panic'
        ? `the kernel has stopped (${this.panic}): reset the host`
        : 'no kernel runs between freeze and boot: the next one is about to boot';
    return refused(refuse('EIO', 'kernel', why));
  }

  private _dma(fn: PciFunction, access: DmaAccess): DmaResult {
    const data = new Uint8Array(access.length);
    if (access.op === 'write' && access.data) data.set(Uint8Array.fromBase64(access.data).subarray(0, access.length));
    const outcome = this.machine.dma(fn, access.op, BigInt(access.iova), data);
    for (const frame of outcome.written) this._judgeWrite(fn, frame);
    if (outcome.interrupt) this.emit('pci.interrupt', `${fn.bdf} wrote to the interrupt window`, { bdf: fn.bdf });
    if (!outcome.fault) return access.op === 'read' ? { ok: true, data: data.toBase64() } : { ok: true };
    const { reason, op, iova, bdf } = outcome.fault;
    const fault = { reason, op, iova: hex(iova), bdf };
    this.emit('dma.fault', `${bdf}: ${op} of ${fault.iova} is refused: ${reason}`, fault);
    return { ok: false, fault };
  }

  /** Writes into memory that is nobody's, or somebody else's: the corruption of a real machine. */
  private _judgeWrite(fn: PciFunction, frame: number): void {
    const { bdf } = fn;
    const run = this.machine.memory.runAt(frame);
    if (!run) {
      const stray = { hazard: 'stray-write', bdf, frame };
      this.emit('hazard', `${bdf} wrote into frame ${frame}, which nobody owns`, stray);
      return;
    }
    // Nothing is ever mapped to a table of an IOMMU: whoever sends a device there without translation is wrong, too.
    const owner = IOMMU_TABLES.has(run.owner) ? run.owner : this.kernel?.iommu.foreignOwner(fn, frame);
    if (!owner) return;
    const foreign = { hazard: 'foreign-write', bdf, frame, owner };
    this.emit('hazard', `${bdf} wrote into frame ${frame}, which belongs to somebody else by now: ${owner}`, foreign);
  }

  private _reserve(
    process: Process,
    { fd, ioas: id, start, length }: Extract<Command, { op: 'ioas.reserve' }>,
  ): Answer {
    const where = 'iommufd_test_add_reserved';
    const file = process.file(fd);
    if (file instanceof Refusal) return refused(file);
    if (!(file instanceof IommufdContext)) return refused(refuse('EBADFD', where, `descriptor ${fd} is no iommufd`));
    const first = BigInt(start);
    const bytes = BigInt(length);
    if (bytes === 0n) return refused(refuse('EINVAL', where, 'length is 0'));
    if (first + bytes - 1n > UMAX) return refused(refuse('EOVERFLOW', where, 'the range reaches beyond 64 bits'));
    const ioas = file.objects.lookup(id, Ioas, 'an IOAS');
    if (ioas instanceof Refusal) return refused(ioas);
    const refusal = ioas.iopt.reserve(first, first + bytes - 1n, {});
    return refusal ? refused(refusal) : ok({});
  }

  private _armFault(point: string, nth = 1, errno?: Errno): Answer {
    if (!(point in FAULT_POINTS)) return notFound(`fault point ${point}`);
    const known = point as FaultPoint;
    return ok({ ...this.faults.arm(known, nth, errno ?? FAULT_POINTS[known].errno) });
  }

  /** reboot(LINUX_REBOOT_CMD_KEXEC): EPERM, EBUSY, EINVAL, or the errno of the first freeze that fails (R22). */
  private _freeze(
    kernel: Kernel,
    { mode, image, kernel: next, pid }: Extract<Command, { op: 'kexec.freeze' }>,
  ): Answer {
    const where = 'sys_reboot';
    if (pid !== undefined) {
      const process = kernel.processes.get(pid);
      if (!process) return notFound(`process ${pid}`);
      if (!process.capabilities.has('CAP_SYS_BOOT'))
        return refused(refuse('EPERM', where, 'reboot() needs CAP_SYS_BOOT'));
    }
    if (image === 'loading') return refused(refuse('EBUSY', 'kernel_kexec', 'a kexec_file_load is running'));
    if (image === 'none') return refused(refuse('EINVAL', 'kernel_kexec', 'no kexec image is loaded'));
    const refusal = kernel.luo?.freeze() ?? null;
    if (refusal) return refused(refusal);
    // An image of plain kexec_load carries no handover: the freeze has run for nothing (kho.md 4).
    const document = mode === 'live-update' ? kernel.handover() : null;
    this.emit('kexec', `kernel ${this.kernelNumber} ends: ${mode}`, { mode });
    const kept = document ? kernel.preservedFunctions() : new Set<PciFunction>();
    for (const fn of this.machine.functions.values()) if (!kept.has(fn)) fn.interruptsEnabled = false;
    const powerLoss = this.faults.strike('kexec.power-loss');
    if (powerLoss) this.emit('power-loss', 'the machine loses power: nothing is handed over', {});
    const dies = this.faults.strike('service.death');
    this.kernel = null;
    this.state = 'kexec';
    this._pending = { next };
    this._records.push({ kind: 'handover', text: document && !powerLoss ? JSON.stringify(document) : null });
    if (dies) this._records.push({ kind: 'die' });
    return ok(hostView(this));
  }

  private _bootNext(handover: string | null): Answer {
    const pending = this._pending;
    if (!pending) return refused(refuse('EINVAL', 'kexec', 'no kernel waits to be booted'));
    this._pending = null;
    this.machine.clock += BOOT_NANOSECONDS;
    const { next } = pending;
    // From a crash kernel the machine goes back to the build it began with.
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
    return ok(hostView(this));
  }

  /** A panic with a crash kernel: it has no handover and no live update; devices were left running. */
  private _crash(): Answer {
    this.emit('crash', `kernel ${this.kernelNumber} crashes`, {});
    this.machine.clock += BOOT_NANOSECONDS;
    this._start({ ...this.options, boot: { ...this.options.boot, kho: false, liveupdate: false }, kdump: true }, null);
    this.state = 'kdump';
    return ok(hostView(this));
  }

  /** Power cycle: everything is lost, the first kernel's build boots cold. */
  private _reset(): Answer {
    this.emit('reset', 'the host is reset', {});
    this.machine.clock += BOOT_NANOSECONDS;
    this._pending = null;
    for (const fn of this.machine.functions.values()) fn.interruptsEnabled = false;
    this._start(this._firstOptions(), null);
    return ok(hostView(this));
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
      this.emit('panic', `kernel panic: ${kernel.panic}`, { reason: kernel.panic, errno: ERRNO.EIO });
      return;
    }
    this.kernel = kernel;
    this.state = 'running';
    this.panic = null;
  }

  /** Writes to the log; the kernel does so, too. */
  emit(kind: string, message: string, data: EventData, rule?: string): void {
    this.log.append({
      time: this.machine.clock,
      kernel: this.kernelNumber,
      kind,
      message,
      data: rule === undefined ? data : { ...data, rule },
    });
  }
}
