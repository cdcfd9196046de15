/**
 * The timeline of a host as rows: its devices with stretches of state, their engines with gaps, its sessions. What has happened
 * is cut into steps, one a command that has told anything: times lie microseconds apart, or a second, and order is what is read.
 */
import type { DeviceView, EngineView, HostEvent } from '../host/views.ts';
import { type SessionRow, Sessions } from './sessions.ts';
import { type DeviceState, isSameState, NOBODY, stateAfter, stateBefore, stateNow, UNKNOWN } from './states.ts';

/** What the service tells of a host. */
export interface Told {
  readonly events: readonly HostEvent[];
  readonly devices: readonly DeviceView[];
  readonly engines: readonly EngineView[];
}

/** What one command has told at one time. */
export interface Step {
  readonly sequence: number;
  readonly time: bigint;
  readonly kernel: number;
  readonly events: HostEvent[];
}

/** Steps of one kernel; `to` is behind the last one, as everywhere here. */
export interface KernelColumn {
  readonly kernel: number;
  readonly from: number;
  to: number;
  /** How it came to be: the event; null: none is kept that tells. */
  begun: HostEvent | null;
}

export interface Stretch {
  readonly from: number;
  to: number;
  readonly state: DeviceState;
}

export interface Mark {
  readonly step: number;
  readonly what: 'hazard' | 'fault' | 'reset' | 'preserve';
  /** Those of one kind in a step are one mark. */
  readonly events: HostEvent[];
}

export interface EngineStrip {
  readonly engine: EngineView;
  readonly from: number;
  readonly to: number;
  /** Where part of its working set cannot be reached. */
  readonly gaps: readonly { from: number; to: number; gap: EngineView['gaps'][number] }[];
  /** Where part of it leads to other memory from then on. */
  readonly moved: readonly { step: number; moved: EngineView['moved'][number] }[];
}

export interface DeviceRow {
  readonly bdf: string;
  readonly name: string | null;
  readonly stretches: Stretch[];
  readonly marks: Mark[];
  readonly engines: EngineStrip[];
  /** As the service tells it now; null: the function is gone. */
  readonly now: DeviceState | null;
  /** Whether any event has to do with it but those of its drivers. */
  isQuiet: boolean;
}

export interface Timeline {
  readonly steps: readonly Step[];
  readonly kernels: readonly KernelColumn[];
  readonly devices: readonly DeviceRow[];
  readonly sessions: readonly SessionRow[];
  /** Hazards that name neither a device nor a session, and faults on demand. */
  readonly marks: readonly Mark[];
}

/** They show in no row. */
const UNSEEN: ReadonlySet<HostEvent['kind']> = new Set([
  'pci.interrupt',
  'vfio.interrupt',
  'process.exit',
  'iommu.free',
]);

const MARKS: Partial<Record<HostEvent['kind'], Mark['what']>> = {
  hazard: 'hazard',
  panic: 'fault',
  'driver.probe': 'fault',
  'fault.injected': 'fault',
  'dma.fault': 'fault',
  'engine.gap': 'fault',
  'pci.reset': 'reset',
  'vfio.preserve': 'preserve',
};

export function timelineOf({ events, devices, engines }: Told): Timeline {
  const reader = new Reader(events, devices);
  for (const event of events) reader.read(event);
  reader.close();
  const { steps, kernels, sessions, marks } = reader;
  const back = steps.findLastIndex((step) => step.events.some(({ kind }) => kind === 'restored'));
  for (const engine of engines) reader.row(engine.bdf).engines.push(stripOf(engine, steps, Math.max(0, back)));
  const rows = [...reader.rows.values()].sort((one, other) => (one.bdf < other.bdf ? -1 : 1));
  return { steps, kernels, devices: rows, sessions: sessions.rows, marks };
}

class Reader {
  readonly steps: Step[] = [];
  readonly kernels: KernelColumn[] = [];
  readonly rows = new Map<string, DeviceRow>();
  readonly sessions = new Sessions();
  readonly marks: Mark[] = [];
  readonly #states = new Map<string, DeviceState>();
  readonly #now: ReadonlyMap<string, DeviceView>;
  /** States behind the commands that the host has gone back to. */
  readonly #kept = new Map<number, { steps: number; states: Map<string, DeviceState> }>();
  readonly #toKeep: readonly number[];
  /** What a device is in of which nothing was told in this kernel. */
  #else: DeviceState = UNKNOWN;

  constructor(events: readonly HostEvent[], devices: readonly DeviceView[]) {
    this.#now = new Map(devices.map((device) => [device.bdf, device]));
    const back = events.flatMap(({ kind, data }) => (kind === 'restored' ? [Number(data.sequence)] : []));
    this.#toKeep = [...new Set(back)].sort((one, other) => one - other);
    for (const { bdf } of devices) this.row(bdf);
  }

  row(bdf: string): DeviceRow {
    let row = this.rows.get(bdf);
    if (row === undefined) {
      const view = this.#now.get(bdf);
      const now = view === undefined ? null : stateNow(view);
      row = { bdf, name: view?.name ?? null, stretches: [], marks: [], engines: [], now, isQuiet: now?.letter === 'N' };
      this.rows.set(bdf, row);
      this.#states.set(bdf, this.#else);
      if (this.steps.length > 1) this.#show(row, 0, this.#else);
    }
    return row;
  }

  read(event: HostEvent): void {
    for (const sequence of this.#toKeep)
      if (event.sequence > sequence && !this.#kept.has(sequence))
        this.#kept.set(sequence, { steps: this.steps.length, states: new Map(this.#states) });
    const isNew = this.#isNewKernel(event);
    if (isNew) this.#begin(event);
    if (UNSEEN.has(event.kind)) return;
    const step = this.#step(event, isNew);
    if (event.kind === 'restored')
      this.sessions.goBack(step, this.#kept.get(Number(event.data.sequence))?.steps ?? null);
    this.sessions.read(step, event);
    const { bdf } = event.data;
    if (typeof bdf === 'string') this.#readDevice(step, bdf, event);
    else if (MARKS[event.kind] !== undefined && event.data.session === undefined) addMark(this.marks, step, event);
  }

  #isNewKernel({ kernel, kind, sequence }: HostEvent): boolean {
    const last = this.kernels.at(-1);
    return last === undefined || last.kernel !== kernel || kind === 'restored' || (kind === 'copy' && sequence > 0);
  }

  /** Another kernel knows nothing of devices but what was handed over, which events tell. */
  #begin({ kind, kernel, sequence, data }: HostEvent): void {
    const isFirst = this.kernels.length === 0;
    const from = this.steps.length;
    if (!isFirst) this.kernels.at(-1)!.to = from;
    this.kernels.push({ kernel, from, to: from, begun: null });
    const kept = kind === 'restored' ? this.#kept.get(Number(data.sequence)) : undefined;
    const isKnown = isFirst ? sequence === 0 && kind === 'boot' : kind !== 'restored';
    this.#else = isKnown ? NOBODY : UNKNOWN;
    for (const [bdf, state] of this.#states)
      this.#states.set(bdf, kept?.states.get(bdf) ?? (state.letter === '-' && isKnown ? state : this.#else));
  }

  #step(event: HostEvent, isNew: boolean): number {
    const { sequence, kernel } = event;
    const last = this.steps.at(-1);
    const time = BigInt(event.time);
    const column = this.kernels.at(-1)!;
    if (event.kind === 'boot' || event.kind === 'restored' || event.kind === 'copy') column.begun ??= event;
    if (!isNew && last !== undefined && last.sequence === sequence && last.time === time) last.events.push(event);
    else {
      this.steps.push({ sequence, time, kernel, events: [event] });
      column.to = this.steps.length;
    }
    const step = this.steps.length - 1;
    for (const [bdf, state] of this.#states) this.#show(this.rows.get(bdf)!, step, state);
    return step;
  }

  /** The state of a device in a step; each step is shown once, with what it is behind it. */
  #show(row: DeviceRow, step: number, state: DeviceState): void {
    const isFirst = this.kernels.at(-1)!.from === step;
    let last = row.stretches.at(-1);
    if (last !== undefined && last.to > step) {
      if (isSameState(last.state, state)) return;
      if (last.from === step) row.stretches.pop();
      else last.to = step;
      last = row.stretches.at(-1);
    }
    if (last !== undefined && last.to === step && !isFirst && isSameState(last.state, state)) last.to = step + 1;
    else row.stretches.push({ from: step, to: step + 1, state });
  }

  #readDevice(step: number, bdf: string, event: HostEvent): void {
    const row = this.row(bdf);
    const state = this.#states.get(bdf)!;
    if (state.letter === '?') this.#fillBefore(row, step, stateBefore(event));
    const next = stateAfter(state, event);
    this.#states.set(bdf, next);
    this.#show(row, step, next);
    addMark(row.marks, step, event);
    if (!event.kind.startsWith('driver.')) row.isQuiet = false;
  }

  /** What was not known in this kernel, and an event tells afterwards. */
  #fillBefore(row: DeviceRow, step: number, state: DeviceState): void {
    const { from } = this.kernels.at(-1)!;
    if (state.letter === '?') return;
    for (const [index, stretch] of row.stretches.entries())
      if (stretch.state.letter === '?' && stretch.from >= from && stretch.from < step)
        row.stretches[index] = { ...stretch, state };
  }

  /** The last kernel is the one that the views are of: where no event told of a device, it has been all the time what it is now. */
  close(): void {
    const column = this.kernels.at(-1);
    for (const row of this.rows.values()) {
      const last = row.stretches.at(-1);
      if (column === undefined || last === undefined || row.now === null || last.state.letter !== '?') continue;
      row.stretches[row.stretches.length - 1] = { ...last, state: row.now };
    }
  }
}

function addMark(marks: Mark[], step: number, event: HostEvent): void {
  const what = MARKS[event.kind];
  if (what === undefined) return;
  for (let index = marks.length - 1; index >= 0 && marks[index]!.step === step; index -= 1)
    if (marks[index]!.what === what) return void marks[index]!.events.push(event);
  marks.push({ step, what, events: [event] });
}

function stripOf(engine: EngineView, steps: readonly Step[], base: number): EngineStrip {
  const end = steps.length + 1;
  // The first step that is not before. Time has gone back where the host has: what an engine tells is of the time since.
  const at = (time: string): number => {
    const wanted = BigInt(time);
    let [low, high] = [base, steps.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (steps[middle]!.time < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  return {
    engine,
    from: at(engine.since),
    to: engine.stopped === null ? end : at(engine.until),
    gaps: engine.gaps.map((gap) => ({ from: at(gap.since), to: gap.until === null ? end : at(gap.until), gap })),
    moved: engine.moved.map((moved) => ({ step: at(moved.at), moved })),
  };
}
