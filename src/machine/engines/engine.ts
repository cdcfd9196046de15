/**
 * An engine of a device: from its start on, through kexecs, the device goes over its working set again and again, page after page,
 * so many bytes in a second of simulated time. Nothing is stepped: between two changes that the hardware can see all accesses do the
 * same, and how many there were to a page follows from the time. What is noted is what changes: pages that cannot be reached any
 * more, that lead to other memory, or to memory that is nobody's.
 */
import type { Machine } from '../machine.ts';
import type { PciFunction } from '../pci/function.ts';
import { type OpenGap, PageGaps } from './page-gaps.ts';
import { type Access, type Changes, type PageRange, WorkingSet } from './working-set.ts';

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
  readonly kind: 'lost' | 'regained' | 'moved' | 'freed';
  readonly at: bigint;
  /** The first of them. */
  first: number;
  pages: number;
}

export type WhyStopped = 'asked' | 'reset' | 'removed' | 'power-cycle' | 'quiesced';

const NANOSECONDS = 1_000_000_000n;
const PAGE_BYTES = 4096n;
/** Moves, and losses of frames, that are kept. */
const MOST_KEPT = 256;

export class DmaEngine {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _set: () => null, _news: () => [] };

  readonly id: number;
  readonly spec: EngineSpec;
  readonly since: bigint;
  stopped: { readonly at: bigint; readonly why: WhyStopped } | null = null;
  readonly gaps = new PageGaps();
  /** Pages that went on to other memory, and those whose frame was freed, by the time of it. */
  readonly incidents: Incident[] = [];
  /** A bit for each page that was not reached all the time, or led to other memory than in the beginning. */
  private readonly _broken: Uint8Array;
  private _brokenPages = 0;
  /** How often the function had been reset at the start. */
  private readonly _resets: number;
  private _set: WorkingSet | null = null;
  /** What has happened in the current command. */
  private _news: Incident[] = [];

  constructor(id: number, spec: EngineSpec, machine: Machine) {
    const fn = machine.functions.get(spec.bdf)!;
    this.id = id;
    this.spec = spec;
    this.since = machine.clock;
    this._resets = fn.resets;
    this._broken = new Uint8Array(Math.ceil(this.pages / 8));
    this._begin(machine);
  }

  get pages(): number {
    return this.spec.ranges.reduce((sum, { count }) => sum + count, 0);
  }

  /** Pages that were reached all the time, and have led to the same memory since the start. */
  get continuousPages(): number {
    return this.pages - this._brokenPages;
  }

  /** Number of the page with that place in the set. */
  pageAt(place: number): number {
    for (const { first, count } of this.spec.ranges) {
      if (place < count) return first + place;
      place -= count;
    }
    throw new Error('bug: it is beyond the set');
  }

  /** Accesses to pages so far, up to a time. */
  accesses(until: bigint): bigint {
    const end = this.stopped !== null && this.stopped.at < until ? this.stopped.at : until;
    return ((end - this.since) * this.spec.bytesPerSecond) / (NANOSECONDS * PAGE_BYTES);
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

  stop(at: bigint, why: WhyStopped): void {
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
    this._look(machine, 0, Number.MAX_SAFE_INTEGER);
  }

  /** Pages [from, end) of the device's address space may lead elsewhere. */
  lookAt(machine: Machine, from: number, end: number): void {
    if (this.setIn(machine)?.touches(from, end)) this._look(machine, from, end);
  }

  /** These frames are free: what leads there leads to nobody's memory. */
  framesFreed(machine: Machine, start: number, count: number): void {
    this.setIn(machine)?.onFrames(start, count, (first, end) => {
      this._break(first, end);
      this._note('freed', first, end, machine.clock);
    });
  }

  /** The set as the tables have it, once it has been looked at; null: its function is gone. */
  setIn(machine: Machine): WorkingSet | null {
    const fn = machine.functions.get(this.spec.bdf);
    if (fn === undefined) return null;
    if (this._set === null) {
      this._set = new WorkingSet(machine, fn, this.spec.ranges, this.spec.access);
      // As it was left: nothing is new in that.
      this._set.look(0, Number.MAX_SAFE_INTEGER, { lost() {}, regained() {}, moved() {} });
    }
    return this._set;
  }

  /** What cannot be reached from the beginning on is a gap, too. */
  private _begin(machine: Machine): void {
    const reached: [number, number][] = [[this.pages, this.pages]];
    const regained = (first: number, end: number): unknown => reached.splice(-1, 0, [first, end]);
    this._set = new WorkingSet(machine, machine.functions.get(this.spec.bdf)!, this.spec.ranges, this.spec.access);
    this._set.look(0, Number.MAX_SAFE_INTEGER, { lost() {}, regained, moved() {} });
    let cursor = 0;
    for (const [first, end] of reached) {
      if (first > cursor) this._lose(cursor, first, machine.clock);
      cursor = end;
    }
  }

  private _look(machine: Machine, from: number, end: number): void {
    const now = machine.clock;
    const changes: Changes = {
      lost: (first, stop) => this._lose(first, stop, now),
      regained: (first, stop) => {
        this.gaps.endWithin(first, stop, now, (gap, until) => this.refusedIn(gap, until));
        this._note('regained', first, stop, now);
      },
      moved: (first, stop) => {
        this._break(first, stop);
        this._note('moved', first, stop, now);
      },
    };
    this.setIn(machine)?.look(from, end, changes);
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
    if (kind === 'moved' || kind === 'freed') join(this.incidents, { kind, at, first, pages: end - first }, MOST_KEPT);
  }

  /** Accesses to the pages of a gap between two times: the set is gone over in its order, again and again. */
  refusedIn({ first, end, since }: OpenGap, until: bigint): bigint {
    const pages = BigInt(this.pages);
    const [from, to] = [BigInt(first), BigInt(end)];
    const before = (accesses: bigint): bigint => {
      const place = accesses % pages;
      const within = place <= from ? 0n : place >= to ? to - from : place - from;
      return (accesses / pages) * (to - from) + within;
    };
    return before(this.accesses(until)) - before(this.accesses(since));
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
