/**
 * An engine of a device: from its start on, through kexecs, the device goes over its working set again and again, page after page,
 * so many bytes in a second of simulated time. Nothing is stepped: between two changes that the hardware can see all accesses do the
 * same, and how many there were to a page follows from the time. What is noted is what changes: pages that cannot be reached any
 * more, that lead to other memory, or to memory that is nobody's.
 */
import type { Machine } from '../machine.ts';
import type { PciFunction } from '../pci/function.ts';
import type { TableWalk } from '../table-walk.ts';
import type { LeadingRun } from './frame-index.ts';
import { type OpenGap, PageGaps } from './page-gaps.ts';
import { type PageRange, Rounds } from './rounds.ts';
import { SettledPages } from './settled-pages.ts';
import { type Access, type Changes, WorkingSet } from './working-set.ts';
import type { LeftRun } from './written-bytes.ts';

export type { Access, PageRange };

export interface EngineSpec {
  bdf: string;
  access: Access;
  /** Ascending, disjoint. */
  ranges: readonly PageRange[];
  /** In a second of simulated time, at least a page. */
  bytesPerSecond: bigint;
}

/** Pages of the set to which something has happened at a time in simulated nanoseconds. */
export interface Incident {
  readonly kind: 'lost' | 'regained' | 'moved' | 'freed' | 'reused';
  readonly at: bigint;
  /** The first of them. */
  first: number;
  pages: number;
}

export type WhyStopped = 'asked' | 'reset' | 'removed' | 'power-cycle' | 'quiesced';

/** Moves, and losses and uses of frames, that are kept. */
const MOST_KEPT = 256;

export class DmaEngine {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _set: () => null, _news: () => [] };

  readonly id: number;
  readonly bdf: string;
  readonly access: Access;
  readonly rounds: Rounds;
  stopped: { readonly at: bigint; readonly why: WhyStopped } | null = null;
  readonly gaps = new PageGaps();
  /** Pages that went on to other memory, and those whose frame was freed, or given to somebody else then, by the time of it. */
  readonly incidents: Incident[] = [];
  /** A bit for each page that was not reached all the time, or led to other memory than in the beginning. */
  private readonly _broken: Uint8Array;
  private _brokenPages = 0;
  /** How often the function had been reset at the start. */
  private readonly _resets: number;
  private _set: WorkingSet | null = null;
  /** Of what it writes. */
  private readonly _settled = new SettledPages();
  /** Accesses before this one are in the dirty bits of the tables, as far as they go there. */
  private _dirtied = 0n;
  /** What has happened in the current command. */
  private _news: Incident[] = [];

  constructor(id: number, spec: EngineSpec, machine: Machine) {
    const fn = machine.functions.get(spec.bdf)!;
    this.id = id;
    this.bdf = spec.bdf;
    this.access = spec.access;
    this.rounds = new Rounds(id, spec.ranges, spec.bytesPerSecond, machine.clock);
    this._resets = fn.resets;
    this._broken = new Uint8Array(Math.ceil(this.pages / 8));
    this._begin(machine);
  }

  get pages(): number {
    return this.rounds.pages;
  }

  get writes(): boolean {
    return this.access !== 'read';
  }

  /** Pages that were reached all the time, and have led to the same memory since the start. */
  get continuousPages(): number {
    return this.pages - this._brokenPages;
  }

  /** Accesses to pages so far, up to a time. */
  accesses(until: bigint): bigint {
    return this.rounds.accesses(this.stopped !== null && this.stopped.at < until ? this.stopped.at : until);
  }

  /** Accesses that were refused, in gaps that have ended and in those that have not. */
  refused(now: bigint): bigint {
    let refused = this.gaps.refused;
    for (const gap of this.gaps.open) refused += this.refusedIn(gap, now);
    return refused;
  }

  /** Whether the function was reset since the start: whatever it was doing has ended. */
  wasReset(fn: PciFunction): boolean {
    return fn.resets !== this._resets;
  }

  stop(machine: Machine, why: WhyStopped): void {
    const at = machine.clock;
    // One whose function is gone has led where it led before.
    const set = this._set ?? this.setIn(machine);
    if (this.writes && set !== null) for (const run of set.leading()) if (!this._leave(machine, run)) break;
    this.gaps.endWithin(0, this.pages, at, (gap, until) => this.refusedIn(gap, until));
    this.stopped = { at, why };
    this._set = null;
  }

  /** What has happened since it was asked last. */
  takeNews(): Incident[] {
    return this._news.splice(0);
  }

  /** All of the set may lead elsewhere. */
  lookAtAll(machine: Machine): void {
    this.lookAt(machine, 0, Number.MAX_SAFE_INTEGER);
  }

  /** Whether pages [from, end) of the device's address space may be of the set. */
  mayTouch(from: number, end: number): boolean {
    return this.rounds.ranges.some(({ first, count }) => from < first + count && first < end);
  }

  /** Pages [from, end) of the device's address space may lead elsewhere. */
  lookAt(machine: Machine, from: number, end: number): void {
    const now = machine.clock;
    const changes: Changes = {
      ...(this.writes && { left: (run: LeadingRun) => this._leave(machine, run) }),
      lost: (first, stop) => this._lose(first, stop, now),
      regained: (first, stop) => {
        this.gaps.endWithin(first, stop, now, (gap, until) => this.refusedIn(gap, until));
        this._note('regained', first, stop, now);
        this.settle(first, stop, now);
      },
      moved: (first, stop) => {
        this._break(first, stop);
        this.settle(first, stop, now);
        this._note('moved', first, stop, now);
      },
    };
    this.setIn(machine)?.look(from, end, changes);
  }

  /** What leads to these frames leads to nobody's memory (`freed`), or to that of somebody who was given it (`reused`). */
  framesChanged(machine: Machine, kind: 'freed' | 'reused', start: number, count: number): void {
    for (const { place, count: pages } of this.setIn(machine)?.leadingTo(start, start + count) ?? []) {
      this._break(place, place + pages);
      this._note(kind, place, place + pages, machine.clock);
    }
  }

  // ---- what it writes --------------------------------------------------------------------------------------------

  /** What it has written, up to a time, through pages that lead to frames in a row. */
  *writtenBy({ place, frame, count }: LeadingRun, until: bigint): Generator<LeftRun> {
    const { rounds } = this;
    const accesses = this.accesses(until);
    for (const settled of this._settled.within(place, place + count))
      for (const { first, end, access } of rounds.lastTo(settled.first, settled.end, settled.access, accesses))
        yield { frame: frame + first - place, count: end - first, rounds, place: first, access };
  }

  /** What it has written through these pages until a time does not count any more. */
  settle(first: number, end: number, until: bigint): void {
    this._settled.settle(first, end, this.accesses(until));
  }

  /** Sets the dirty bits of leaves of a table that it has written through since this was done last. */
  markDirty(machine: Machine, table: TableWalk): void {
    const [from, until] = [this._dirtied, this.accesses(machine.clock)];
    this._dirtied = until;
    const set = this.setIn(machine);
    if (set === null || from === until || !this.writes) return;
    const pageUnits = 2 ** (12 - table.format.minShift);
    for (const { first, end } of this.rounds.lastTo(0, this.pages, from, until))
      for (let place = first; place < end; place++) {
        if (set.frameOf(place) === null) continue;
        const unit = this.rounds.pageAt(place) * pageUnits;
        for (let at = Math.floor(unit); at < unit + pageUnits; at++) table.setDirty(at);
      }
  }

  /** The next accesses are the first that dirty bits tell of. */
  beginDirty(machine: Machine): void {
    this._dirtied = this.accesses(machine.clock);
  }

  /** Whether there is room for more. */
  private _leave(machine: Machine, run: LeadingRun): boolean {
    const { written } = machine.engines!;
    if (!written.isFull) written.leave(this.writtenBy(run, machine.clock));
    return !written.isFull;
  }

  // ---- where its pages lead --------------------------------------------------------------------------------------

  /** The set as the tables have it, once it has been looked at; null: its function is gone. */
  setIn(machine: Machine): WorkingSet | null {
    const fn = machine.functions.get(this.bdf);
    if (fn === undefined) return null;
    if (this._set === null) {
      this._set = new WorkingSet(machine, fn, this.rounds.ranges, this.access);
      // As it was left: nothing is new in that.
      this._set.look(0, Number.MAX_SAFE_INTEGER, { lost() {}, regained() {}, moved() {} });
    }
    return this._set;
  }

  /** What cannot be reached from the beginning on is a gap, too. */
  private _begin(machine: Machine): void {
    let cursor = 0;
    const regained = (first: number, end: number): void => {
      if (first > cursor) this._lose(cursor, first, machine.clock);
      cursor = end;
    };
    this._set = new WorkingSet(machine, machine.functions.get(this.bdf)!, this.rounds.ranges, this.access);
    this._set.look(0, Number.MAX_SAFE_INTEGER, { lost() {}, regained, moved() {} });
    regained(this.pages, this.pages);
  }

  private _lose(first: number, end: number, now: bigint): void {
    this._break(first, end);
    this.gaps.begin(first, end, now);
    this._note('lost', first, end, now);
  }

  private _break(first: number, end: number): void {
    for (let page = first; page < end; page++) {
      const bit = 1 << (page & 7);
      if (this._broken[page >>> 3]! & bit) continue;
      this._broken[page >>> 3]! |= bit;
      this._brokenPages++;
    }
  }

  private _note(kind: Incident['kind'], first: number, end: number, at: bigint): void {
    join(this._news, { kind, at, first, pages: end - first }, Number.POSITIVE_INFINITY);
    if (kind !== 'lost' && kind !== 'regained')
      join(this.incidents, { kind, at, first, pages: end - first }, MOST_KEPT);
  }

  /** Accesses to the pages of a gap between two times. */
  refusedIn({ first, end, since }: OpenGap, until: bigint): bigint {
    const before = (time: bigint): bigint => this.rounds.accessesTo(first, end, this.accesses(time));
    return before(until) - before(since);
  }
}

/** What happens at the same time is one. */
function join(incidents: Incident[], next: Incident, most: number): void {
  const last = incidents.findLast(({ kind }) => kind === next.kind);
  if (last && last.at === next.at) {
    last.first = Math.min(last.first, next.first);
    last.pages += next.pages;
  } else if (incidents.length < most) incidents.push(next);
}
