/** A host without service around it: what the kernel's own structures cost. */
import { Batch } from '../src/host/batch/batch.ts';
import { type Columns, MAP, Numbers, OP_BITS, UNMAP, Words } from '../src/host/batch/columns.ts';
import { pack } from '../src/host/batch/packed.ts';
import type { CallInput, Command } from '../src/host/command.ts';
import { Host } from '../src/host/host.ts';
import { buildHostSpec } from '../src/host/host-spec.ts';
import { MAP_FIXED_IOVA, MAP_READABLE, MAP_WRITEABLE } from '../src/kernel/uapi/iommufd.ts';
import { mapRun } from './bodies.ts';
import { now } from './harness.ts';
import { hex, MEMORY, PAGE } from './vmm.ts';

/** Operations at a time, as lanes do them. */
const SLICE = 4096;
const ACCESS = MAP_READABLE | MAP_WRITEABLE;

export interface EngineOptions {
  /** Pages of memory of the process. */
  pages: number;
  /** Whether a device is attached to the IOAS. */
  attached: boolean;
}

/** One operation; without IOVA the kernel chooses. */
export interface Operation {
  op: 'map' | 'unmap';
  iova: number | null;
  length: number;
  userVa: number;
}

/** A host with one VMM that has an IOAS. */
export class EngineVmm {
  readonly host: Host;
  readonly pid: number;
  readonly fd: number;
  readonly ioas: number;

  constructor({ pages, attached }: EngineOptions) {
    const memory = hex(Math.max(2 ** 30, pages * PAGE * 2));
    const built = buildHostSpec({ preset: 'vmm-lab', memory });
    if ('errors' in built) throw new Error(JSON.stringify(built.errors));
    this.host = new Host(built.spec);
    this.pid = (this.#execute({ op: 'process.create' }) as { pid: number }).pid;
    this.fd = Number(this.call({ call: 'open', path: '/dev/iommu' }).ret);
    this.ioas = Number(this.#ioctl(this.fd, 'IOMMU_IOAS_ALLOC', { flags: 0 }).out_ioas_id);
    if (attached) {
      const cdev = Number(this.call({ call: 'open', path: '/dev/vfio/devices/vfio0' }).ret);
      this.#ioctl(cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { argsz: 16, flags: 0, iommufd: this.fd });
      this.#ioctl(cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { argsz: 12, flags: 0, pt_id: this.ioas });
    }
    this.call({ call: 'mmap', addr: hex(MEMORY), length: hex(pages * PAGE) });
  }

  call(call: CallInput) {
    const { results } = this.#execute({ op: 'calls', pid: this.pid, calls: [call] }) as {
      results: { ret: number | string; errno?: string; arg?: Record<string, unknown> }[];
    };
    const [result] = results;
    if (!result || result.errno !== undefined) throw new Error(`${call.call}: ${JSON.stringify(result)}`);
    return result;
  }

  /** Pages in order from the first one, each `stride` pages behind the one before. */
  mapPages(count: number, stride: number): void {
    this.#batch('json', mapRun(count, stride), count);
  }

  /** Nanoseconds an operation that the engine takes for them, all in one batch. */
  time(operations: readonly Operation[]): number {
    const payload = pack(columnsOf(operations));
    const start = now();
    this.#batch('packed', payload, operations.length);
    return ((now() - start) * 1e6) / operations.length;
  }

  /** Does the same and tells where maps have gone; of unmaps it tells 0. */
  perform(operations: readonly Operation[]): number[] {
    const results = this.#batch('packed', pack(columnsOf(operations)), operations.length, true);
    return results.map(({ iova = '0x0' }) => Number(iova));
  }

  #batch(format: 'json' | 'packed', payload: Uint8Array, operations: number, results = false): { iova?: string }[] {
    const { pid, fd, ioas } = this;
    const batch = new Batch(this.host, { op: 'batch', pid, fd, ioas, format, results }, payload);
    while (!batch.step(SLICE));
    const answer = batch.outcome?.answer;
    const value = answer?.kind === 'ok' ? (answer.value as { applied: number; results?: { iova?: string }[] }) : null;
    if (value?.applied !== operations) throw new Error(`a batch fails: ${JSON.stringify(answer).slice(0, 500)}`);
    return value.results ?? [];
  }

  #ioctl(fd: number, request: string, arg: Record<string, unknown>): Record<string, unknown> {
    return this.call({ call: 'ioctl', fd, request, arg } as CallInput).arg ?? {};
  }

  #execute(command: Command): unknown {
    const { answer } = this.host.execute(command);
    if (answer.kind !== 'ok') throw new Error(JSON.stringify(answer));
    return answer.value;
  }
}

function columnsOf(operations: readonly Operation[]): Columns {
  const rows = operations.length;
  const columns: Columns = {
    rows,
    kind: new Numbers(rows),
    iova: new Words(rows),
    length: new Words(rows),
    start: new Words(rows),
    fd: new Numbers(1),
    runs: null,
    operations: rows,
  };
  columns.fd.push(0);
  for (const { op, iova, length, userVa } of operations) {
    const flags = ACCESS | (iova === null ? 0 : MAP_FIXED_IOVA);
    columns.kind.push((op === 'map' ? MAP : UNMAP) | (flags << OP_BITS));
    push(columns.iova, iova ?? 0);
    push(columns.length, length);
    push(columns.start, userVa);
  }
  return columns;
}

const push = (words: Words, value: number): void => words.push(Math.floor(value / 2 ** 32), value >>> 0);
