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
  readonly engines: readonly EngineStrip[];
  /** As the service tells it now; null: the function is gone. */
  readonly now: DeviceState | null;
  /** No event has to do with it but those of its drivers. */
  readonly isQuiet: boolean;
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
  const history = new History();
  history.add(events);
  return history.timeline({ devices, engines });
}

/** All events of a host so far, as rows: it may get more of them, which costs no more than they do. */
export class History {
  readonly events: HostEvent[] = [];
  #reader = new Reader([]);

  add(events: readonly HostEvent[]): void {
    for (const event of events) this.events.push(event);
    // What the host goes back to has to be kept from the time it was so.
    if (!events.some(({ kind }) => kind === 'restored')) for (const event of events) this.#reader.read(event);
    else {
      this.#reader = new Reader(this.events);
      for (const event of this.events) this.#reader.read(event);
    }
  }

  /** With what the service tells of now; what it answered before is not true any more. */
  timeline({ devices, engines }: Omit<Told, 'events'>): Timeline {
    const reader = this.#reader;
    const { steps, kernels, sessions, marks } = reader;
    const now = new Map(devices.map((device) => [device.bdf, device]));
    const strips = new Map<string, EngineStrip[]>();
    for (const engine of engines) {
      const strip = stripOf(engine, steps, reader.back);
      strips.get(engine.bdf)?.push(strip) ?? strips.set(engine.bdf, [strip]);
    }
    for (const bdf of [...now.keys(), ...strips.keys()]) reader.row(bdf);
    const rows = [...reader.rows]
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([bdf, row]) =>
        finished(bdf, row, { view: now.get(bdf), engines: strips.get(bdf) ?? [], steps: steps.length }),
      );
    return { steps, kernels, devices: rows, sessions: sessions.rows, marks };
  }
}

/** What events tell of a device. The last stretch is open: it goes on for as long as there are steps. */
interface Row extends Pick<DeviceRow, 'stretches' | 'marks'> {
  state: DeviceState;
  isTold: boolean;
}

function finished(
  bdf: string,
  { stretches, marks, isTold }: Row,
  { view, engines, steps }: { view: DeviceView | undefined; engines: EngineStrip[]; steps: number },
): DeviceRow {
  const now = view === undefined ? null : stateNow(view);
  const row = {
    bdf,
    name: view?.name ?? null,
    stretches,
    marks,
    engines,
    now,
    isQuiet: !isTold && now?.letter === 'N',
  };
  const last = stretches.at(-1);
  if (last === undefined) return row;
  last.to = steps;
  // The last kernel is the one that the view is of: where no event told of the device, it has been all the time what it is now.
  if (last.state.letter !== '?' || now === null) return row;
  return { ...row, stretches: [...stretches.slice(0, -1), { ...last, state: now }] };
}

class Reader {
  readonly steps: Step[] = [];
  readonly kernels: KernelColumn[] = [];
  readonly rows = new Map<string, Row>();
  readonly sessions = new Sessions();
  readonly marks: Mark[] = [];
  /** The step by which the host went back last. */
  back = 0;
  /** States behind the commands that the host goes back to. */
  readonly #kept = new Map<number, { steps: number; states: Map<string, DeviceState> }>();
  readonly #toKeep: number[];
  /** What devices are in of which nothing was told, a kernel. */
  readonly #else: DeviceState[] = [];

  constructor(events: readonly HostEvent[]) {
    const back = events.flatMap(({ kind, data }) => (kind === 'restored' ? [Number(data.sequence)] : []));
    this.#toKeep = [...new Set(back)].sort((one, other) => other - one);
  }

  row(bdf: string): Row {
    let row = this.rows.get(bdf);
    if (row === undefined) {
      const stretches = this.kernels.map(({ from, to }, index) => ({ from, to, state: this.#else[index]! }));
      row = { stretches, marks: [], state: this.#else.at(-1) ?? UNKNOWN, isTold: false };
      this.rows.set(bdf, row);
    }
    return row;
  }

  read(event: HostEvent): void {
    for (let at = this.#toKeep.at(-1); at !== undefined && event.sequence > at; at = this.#toKeep.at(-1)) {
      const states = new Map([...this.rows].map(([bdf, { state }]) => [bdf, state]));
      this.#kept.set(at, { steps: this.steps.length, states });
      this.#toKeep.pop();
    }
    const isNew = this.#isNewKernel(event);
    if (isNew) this.#begin(event);
    if (UNSEEN.has(event.kind)) return;
    const step = this.#step(event, isNew);
    if (event.kind === 'restored') {
      this.back = step;
      this.sessions.goBack(step, this.#kept.get(Number(event.data.sequence))?.steps ?? null);
    }
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
    const others = isKnown ? NOBODY : UNKNOWN;
    this.#else.push(others);
    for (const [bdf, row] of this.rows) {
      row.state = kept?.states.get(bdf) ?? (row.state.letter === '-' && isKnown ? row.state : others);
      this.#show(row, from, row.state);
    }
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
    return this.steps.length - 1;
  }

  /** The state of a device from a step on; each step is shown once, with what it is behind it. */
  #show({ stretches }: Row, step: number, state: DeviceState): void {
    const isFirst = this.kernels.at(-1)!.from === step;
    let last = stretches.at(-1);
    if (last !== undefined && last.from === step) {
      stretches.pop();
      last = stretches.at(-1);
    }
    if (last !== undefined && !isFirst && isSameState(last.state, state)) return;
    if (last !== undefined) last.to = step;
    stretches.push({ from: step, to: step + 1, state });
  }

  #readDevice(step: number, bdf: string, event: HostEvent): void {
    const row = this.row(bdf);
    if (row.state.letter === '?') this.#fillBefore(row, step, stateBefore(event));
    row.state = stateAfter(row.state, event);
    this.#show(row, step, row.state);
    addMark(row.marks, step, event);
    if (!event.kind.startsWith('driver.')) row.isTold = true;
  }

  /** What was not known in this kernel, and an event tells afterwards. */
  #fillBefore({ stretches }: Row, step: number, state: DeviceState): void {
    const { from } = this.kernels.at(-1)!;
    if (state.letter === '?') return;
    for (const [index, stretch] of stretches.entries())
      if (stretch.state.letter === '?' && stretch.from >= from && stretch.from < step)
        stretches[index] = { ...stretch, state };
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
