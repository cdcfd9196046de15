/**
 * The bytes that engines have written. A page that an engine has come to holds records of 32 bytes, each of four numbers of 64 bits,
 * little endian: its own IOVA, the id of the engine, the round, the time. So they follow from who came last and when, and no memory
 * has to be written: they are shown to whoever reads, and made real where somebody else writes to a part of the page.
 *
 * What an engine that runs has written to frames that its pages lead to follows from its set; of pages that lead elsewhere now, and
 * of engines that have ended, it is noted here which frames they have left, and at which access.
 */
import { FRAME_SIZE } from '../memory.ts';
import { SortedList } from '../sorted-list.ts';
import type { DmaEngines } from './engines.ts';
import type { Rounds } from './rounds.ts';

const RECORD_BYTES = 32;

/** Frames in a row that pages in a row led to, each of which was written by the access after that of the one before it. */
export interface LeftRun {
  readonly frame: number;
  readonly count: number;
  readonly rounds: Rounds;
  readonly place: number;
  /** The access to the first of them. */
  readonly access: bigint;
}

/**
 * Runs that are kept. What is left in more pieces is not seen afterwards: frames read as they were before. It takes pages that lead all
 * over memory, one by one.
 */
const MOST_LEFT = 2 ** 16;

/** Who came to a frame last. */
interface Visit {
  readonly frame: number;
  readonly rounds: Rounds;
  readonly place: number;
  readonly access: bigint;
}

export class WrittenBytes {
  private readonly _engines: DmaEngines;
  /** Disjoint, by first frame. */
  private readonly _left = new SortedList<LeftRun>();

  constructor(engines: DmaEngines) {
    this._engines = engines;
  }

  get isFull(): boolean {
    return this._left.length >= MOST_LEFT;
  }

  /** Puts into bytes that were read from a physical address on what engines have written there. */
  show(physical: number, target: Uint8Array): void {
    for (const visit of this._visits(physical, target.length)) {
      const at = visit.frame * FRAME_SIZE - physical;
      const [from, to] = [Math.max(0, at), Math.min(target.length, at + FRAME_SIZE)];
      target.set(pageOf(visit).subarray(from - at, to - at), from);
    }
  }

  /**
   * Somebody else writes so many bytes: what engines have written there is none of their bytes any more. Returns the pages that have
   * to be made real first, as only a part of them is written over.
   */
  take(physical: number, length: number): { physical: number; bytes: Uint8Array }[] {
    const made = [];
    const end = physical + length;
    for (const visit of this._visits(physical, length)) {
      const at = visit.frame * FRAME_SIZE;
      if (at < physical || at + FRAME_SIZE > end) made.push({ physical: at, bytes: pageOf(visit) });
    }
    const first = Math.floor(physical / FRAME_SIZE);
    this.wipe(first, Math.ceil(end / FRAME_SIZE) - first);
    return made;
  }

  /** What is in these frames is gone, or is real by now. */
  wipe(start: number, count: number): void {
    this._cut(start, start + count);
    for (const { engine, place, count: pages } of this._engines.leadingTo(start, start + count))
      engine.settle(place, place + pages, this._engines.now);
  }

  /** Frames that hold from now on what `start` and those behind it hold. */
  copy(start: number, count: number, target: number): void {
    this.leave([...this._runs(start, start + count)].map((run) => ({ ...run, frame: run.frame - start + target })));
  }

  /** This is what engines have written in frames, whose pages do not lead there any more. */
  leave(runs: Iterable<LeftRun>): void {
    for (const run of runs) this._lay(run);
  }

  /** Who came last to each frame of so many bytes, of those to which somebody came. */
  private _visits(physical: number, length: number): Iterable<Visit> {
    const last = new Map<number, Visit>();
    const start = Math.floor(physical / FRAME_SIZE);
    for (const { frame, count, rounds, place, access } of this._runs(
      start,
      Math.ceil((physical + length) / FRAME_SIZE),
    ))
      for (let at = 0; at < count; at++) {
        const visit = { frame: frame + at, rounds, place: place + at, access: access + BigInt(at) };
        const other = last.get(frame + at);
        if (other === undefined || isLater(visit, other)) last.set(frame + at, visit);
      }
    return last.values();
  }

  /** What was left in frames [start, end), and what was written there by engines that run. */
  private *_runs(start: number, end: number): Generator<LeftRun> {
    const begun = this._left.floor(start);
    for (const run of this._left.within(begun?.frame ?? start, end - 1)) {
      const part = partOf(run, start, end);
      if (part.count > 0) yield part;
    }
    for (const { engine, place, frame, count } of this._engines.leadingTo(start, end))
      yield* engine.writtenBy({ place, frame, count }, this._engines.now);
  }

  private _lay(run: LeftRun): void {
    const end = run.frame + run.count;
    const before = this._left.floor(end - 1);
    const older = before === undefined || before.frame + before.count <= run.frame ? [] : this._cut(run.frame, end);
    this._add(run);
    // Two engines, or two pages of one, may have led to the same frame.
    for (const other of older)
      for (let at = 0; at < other.count; at++) {
        const [mine, theirs] = [
          partOf(run, other.frame + at, other.frame + at + 1),
          partOf(other, other.frame + at, other.frame + at + 1),
        ];
        if (!isLater(theirs, mine)) continue;
        this._cut(theirs.frame, theirs.frame + 1);
        this._add(theirs);
      }
  }

  private _add(run: LeftRun): void {
    const before = this._left.floor(run.frame);
    if (before && before.rounds.engine === run.rounds.engine && continues(before, run))
      this._left.replace(before.frame, { ...before, count: before.count + run.count });
    else this._left.add(run.frame, run);
  }

  /** Takes out what was left in frames [start, end), and returns it. */
  private _cut(start: number, end: number): LeftRun[] {
    const begun = this._left.floor(start);
    const from = begun && begun.frame + begun.count > start ? begun.frame : start;
    return this._left.take(from, end - 1).map((run) => {
      const stop = run.frame + run.count;
      if (run.frame < start) this._left.add(run.frame, partOf(run, run.frame, start));
      if (stop > end) this._left.add(end, partOf(run, end, stop));
      return partOf(run, start, end);
    });
  }
}

function partOf(run: LeftRun, start: number, end: number): LeftRun {
  const skipped = Math.max(0, start - run.frame);
  return {
    frame: run.frame + skipped,
    count: Math.min(run.count, end - run.frame) - skipped,
    rounds: run.rounds,
    place: run.place + skipped,
    access: run.access + BigInt(skipped),
  };
}

const continues = (run: LeftRun, { frame, place, access }: LeftRun): boolean =>
  run.frame + run.count === frame && run.place + run.count === place && run.access + BigInt(run.count) === access;

/** At the same time the engine that was started later wins, and of one engine the access that comes later. */
function isLater(visit: Pick<Visit, 'rounds' | 'access'>, other: Pick<Visit, 'rounds' | 'access'>): boolean {
  const [time, before] = [visit.rounds.timeOf(visit.access), other.rounds.timeOf(other.access)];
  if (time !== before) return time > before;
  if (visit.rounds.engine !== other.rounds.engine) return visit.rounds.engine > other.rounds.engine;
  return visit.access > other.access;
}

function pageOf({ rounds, place, access }: Visit): Uint8Array {
  const words = new BigUint64Array(FRAME_SIZE / 8);
  const iova = BigInt(rounds.pageAt(place)) * BigInt(FRAME_SIZE);
  const [engine, round, time] = [BigInt(rounds.engine), rounds.roundOf(access), rounds.timeOf(access)];
  for (let at = 0; at < FRAME_SIZE; at += RECORD_BYTES)
    words.set([iova + BigInt(at), engine, round, BigInt.asUintN(64, time)], at / 8);
  return new Uint8Array(words.buffer);
}
