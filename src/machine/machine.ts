/** A machine: memory, IOMMU units and PCI functions. It survives every kexec and knows nothing of kernels. */
import type { DmaEngines } from './engines/engines.ts';
import {
  type FaultReason,
  IommuUnit,
  isInterruptRange,
  passThrough,
  passThroughRange,
  type Translation,
} from './iommu-unit.ts';
import { FRAME_SIZE, PhysicalMemory } from './memory.ts';
import type { MachineObserver } from './observer.ts';
import { PciFunction } from './pci/function.ts';
import type { FunctionSpec, MachineSpec } from './spec.ts';

export interface DmaFault {
  reason: FaultReason;
  op: 'read' | 'write';
  iova: bigint;
  bdf: string;
}

export interface DmaOutcome {
  fault: DmaFault | null;
  data: Uint8Array;
  /** Frames that were written, ascending in the order of the access. */
  written: number[];
  interrupt: boolean;
}

export class Machine {
  /** Simulated nanoseconds since the machine was made; the host advances it. */
  clock = 0n;
  readonly memory: PhysicalMemory;
  readonly units = new Map<string, IommuUnit>();
  readonly functions = new Map<string, PciFunction>();
  /** Null until the first one is started. */
  engines: DmaEngines | null = null;

  constructor(spec: MachineSpec) {
    this.memory = new PhysicalMemory(Number(BigInt(spec.memory) / BigInt(FRAME_SIZE)));
    for (const unit of spec.iommus) this.units.set(unit.id, new IommuUnit(unit, this.memory));
    for (const fn of spec.functions) this.addFunction(fn);
  }

  /** Is told every change of what the hardware can see; null: nobody is. */
  get observer(): MachineObserver | null {
    const { observer } = this.memory;
    return observer !== null && observer === this.engines ? this.engines.next : observer;
  }

  set observer(observer: MachineObserver | null) {
    if (this.engines !== null && this.memory.observer === this.engines) this.engines.next = observer;
    else this.memory.observer = observer;
  }

  /** Has engines see what changes from now on. */
  watchEngines(): void {
    const { engines } = this;
    if (engines === null) return;
    if (this.memory.observer !== engines) {
      engines.next = this.memory.observer;
      this.memory.observer = engines;
    }
    engines.watch();
  }

  addFunction(spec: FunctionSpec): PciFunction {
    const fn = new PciFunction(spec);
    this.functions.set(fn.bdf, fn);
    return fn;
  }

  /** The unit that a function is behind. Only for a machine with an IOMMU. */
  unitOf(fn: PciFunction): IommuUnit {
    return this.units.get(fn.spec.iommu!)!;
  }

  /** Returns where DMA of a function to an IOVA goes; without an IOMMU to that address itself. */
  translate(fn: PciFunction, iova: bigint): Translation | FaultReason {
    return fn.spec.iommu === null ? passThrough(iova, this.memory) : this.unitOf(fn).translate(fn.sourceId, iova);
  }

  /** Yields what IOVAs [first, last] of a function translate to, ascending, without the holes. */
  translations(fn: PciFunction, first: bigint, last: bigint): Iterable<Translation & { iova: bigint }> {
    return fn.spec.iommu === null
      ? passThroughRange(first, last, this.memory)
      : this.unitOf(fn).translations(fn.sourceId, first, last);
  }

  /**
   * One DMA access of `data.length` bytes: a write takes them from `data`, a read puts them there. Bytes before a fault have
   * been transferred, as on a real bus.
   */
  dma(fn: PciFunction, op: 'read' | 'write', iova: bigint, data: Uint8Array): DmaOutcome {
    const unit = fn.spec.iommu === null ? null : this.unitOf(fn);
    const outcome: DmaOutcome = { fault: null, data, written: [], interrupt: false };
    for (let done = 0; done < data.length; ) {
      const at = iova + BigInt(done);
      const fail = (reason: FaultReason): DmaOutcome => {
        outcome.fault = { reason, op, iova: at, bdf: fn.bdf };
        return outcome;
      };
      if (isInterruptRange(unit?.kind ?? null, at)) {
        if (op === 'read') return fail('interrupt-range');
        outcome.interrupt = true;
        return outcome;
      }
      const translation = this.translate(fn, at);
      if (typeof translation === 'string') return fail(translation);
      if (op === 'read' && !translation.readable) return fail('not-readable');
      if (op === 'write' && !translation.writeable) return fail('not-writeable');
      const { physical } = translation;
      const length = Math.min(translation.length, FRAME_SIZE - (physical % FRAME_SIZE), data.length - done);
      const frame = Math.floor(physical / FRAME_SIZE);
      if (frame >= this.memory.frames) return fail('beyond-memory');
      const piece = data.subarray(done, done + length);
      if (op === 'read') this.memory.read(physical, piece);
      else {
        this.memory.write(physical, piece);
        unit?.markDirty(fn.sourceId, at);
        outcome.written.push(frame);
      }
      done += length;
    }
    return outcome;
  }
}
