/**
 * Who owns which frames of memory: runs of frames in a row that one owner has allocated, and what lies free between them.
 * Nothing here knows what is in a frame or who has pinned it.
 */
import { PAGE_SHIFT, PAGE_SIZE } from './address.ts';
import { agree, continued, type EntryRun } from './entry-run.ts';
import { SortedList } from './sorted-list.ts';

export const FRAME_SIZE = PAGE_SIZE;
export const FRAME_SHIFT = PAGE_SHIFT;

export interface FrameRun {
  start: number;
  count: number;
}

/** A run of frames with one owner. `fill` is what untouched contents read as. */
export interface OwnedRun extends FrameRun {
  owner: string;
  /** False once its owner has released it and only pins hold it. */
  held: boolean;
  /** `touched`: the first byte of every frame is 1, as the first touch of anonymous memory leaves it. */
  fill: 'zero' | 'touched' | EntryRun;
  /** log2 of the bytes of a folio: 12 for single pages, 21 for huge ones. */
  folioShift: number;
}

export interface AllocateOptions {
  owner: string;
  /** Initial contents; the entries of a run begin with the first of the frames. Default: zero. */
  fill?: OwnedRun['fill'];
  folioShift?: number;
  /** The first frame shall be congruent to `phase` modulo `align` frames, where one such hole is large enough. */
  align?: number;
  phase?: number;
  /** Take the lowest free frames, in one run or not, as frames that are allocated one by one would be. */
  lowest?: boolean;
}

export class FrameOwners {
  readonly frames: number;
  /** Allocated runs, ascending, disjoint. */
  private readonly _runs = new SortedList<OwnedRun>();
  private _free: number;
  /** No frame below this one is free. Frame 0 belongs to the firmware, so that 0 can mean "no table". */
  private _lowestFree = 1;

  constructor(frames: number) {
    this.frames = frames;
    this._free = frames - 1;
  }

  get free(): number {
    return this._free;
  }

  /** No frame below this one is free. */
  get lowestFree(): number {
    return this._lowestFree;
  }

  get runs(): Generator<Readonly<OwnedRun>> {
    return this._runs[Symbol.iterator]();
  }

  /** How many frames each owner has. */
  totals(): Map<string, number> {
    const owners = new Map<string, number>();
    for (const run of this._runs) owners.set(run.owner, (owners.get(run.owner) ?? 0) + run.count);
    return owners;
  }

  /**
   * Gives `count` frames to an owner: one run if any hole fits, else the lowest holes, in multiples of the folio. Null:
   * there are fewer free frames.
   */
  allocate(count: number, options: AllocateOptions): FrameRun[] | null {
    if (count > this._free) return null;
    const { owner, fill = 'zero', folioShift = FRAME_SHIFT, align = 1, phase = 0, lowest = false } = options;
    const folio = 2 ** (folioShift - FRAME_SHIFT);
    const start = lowest
      ? null
      : (this._findHole(count, Math.max(align, folio), phase) ?? this._findHole(count, folio, 0));
    const pieces = start === null ? this._collect(count, folio) : [{ start, count }];
    if (!pieces) return null;
    let done = 0;
    for (const piece of pieces) {
      const filled = typeof fill === 'object' ? continued(fill, done, piece.start) : fill;
      this._insert({ ...piece, owner, held: true, fill: filled, folioShift });
      done += piece.count;
    }
    this._free -= count;
    return pieces;
  }

  /** The run that holds this frame, or null if the frame is free. */
  runAt(frame: number): Readonly<OwnedRun> | null {
    const run = this._runs.floor(frame);
    return run && frame < run.start + run.count ? run : null;
  }

  /** The parts of a range that nobody owns, ascending. */
  freeWithin(start: number, count: number): FrameRun[] {
    const end = start + count;
    const free: FrameRun[] = [];
    const begun = this.runAt(start);
    let cursor = begun ? begun.start + begun.count : start;
    for (const run of this._runs.within(start + 1, end - 1)) {
      if (run.start > cursor) free.push({ start: cursor, count: run.start - cursor });
      cursor = run.start + run.count;
    }
    if (cursor < end) free.push({ start: cursor, count: end - cursor });
    return free;
  }

  /** Gives the frames of a range, all of which must be owned, to another owner. */
  setOwner(start: number, count: number, owner: string): void {
    for (const run of this._slice(start, count)) run.owner = owner;
    this._merge(start, count);
  }

  /** Notes that the owner of these frames does not hold them any more: only pins do. */
  letGo(start: number, count: number): void {
    for (const run of this._slice(start, count)) run.held = false;
    this._merge(start, count);
  }

  /** Makes these frames free. */
  remove(start: number, count: number): void {
    this._splitAt(start);
    this._splitAt(start + count);
    assertCovered(this._runs.take(start, start + count - 1), start, count);
    this._free += count;
    this._lowestFree = Math.min(this._lowestFree, start);
  }

  /** Frees every frame outside `kept`, and gives those inside to `owner`, who holds them. */
  retain(kept: readonly FrameRun[], owner: string): void {
    const runs: OwnedRun[] = [];
    for (const { start, count } of [...kept].sort((a, b) => a.start - b.start)) {
      const end = start + count;
      const begun = this.runAt(start);
      for (const run of this._runs.within(begun ? begun.start : start, end - 1)) {
        const first = Math.max(start, run.start);
        runs.push({ ...run, start: first, count: Math.min(end, run.start + run.count) - first, owner, held: true });
      }
    }
    this._runs.clear();
    this._free = this.frames - 1;
    for (const run of runs) {
      this._runs.add(run.start, run);
      this._joinLeft(run);
      this._free -= run.count;
    }
    this._lowestFree = 1;
    for (const { start, count } of this._runs) {
      if (start > this._lowestFree) break;
      this._lowestFree = start + count;
    }
  }

  /** Runs, with what untouched contents read as from their first frame on. */
  *canonical(): Generator<unknown> {
    yield this.frames;
    for (const { start, count, owner, held, fill, folioShift } of this._runs) {
      yield [start, count, owner, held, folioShift];
      yield typeof fill === 'object' ? continued(fill, start - fill.frame, start) : fill;
    }
  }

  /** How many frames, at most `most`, the lowest hole has. */
  lowestHole(most: number): number {
    for (const { count } of this._holes(1)) return Math.min(count, most);
    return 0;
  }

  /** Holes of at least so many frames, ascending. */
  private *_holes(least: number): Generator<FrameRun> {
    const { blocks } = this._runs;
    let cursor = this._lowestFree;
    for (let at = Math.max(0, this._runs.blockOf(cursor)); at < blocks.length; at++) {
      const block = blocks[at]!;
      const first = block.items[0]!;
      if (first.start - cursor >= least) yield { start: cursor, count: first.start - cursor };
      if (block.widestGap(behind) >= least)
        for (const { start, count } of block.items) {
          if (start - cursor >= least) yield { start: cursor, count: start - cursor };
          cursor = Math.max(cursor, start + count);
        }
      const last = block.items.at(-1)!;
      cursor = Math.max(cursor, last.start + last.count);
    }
    if (this.frames - cursor >= least) yield { start: cursor, count: this.frames - cursor };
  }

  private _findHole(count: number, align: number, phase: number): number | null {
    for (const hole of this._holes(count)) {
      const start = hole.start + ((((phase - hole.start) % align) + align) % align);
      if (start + count <= hole.start + hole.count) return start;
    }
    return null;
  }

  private _collect(count: number, folio: number): FrameRun[] | null {
    const pieces: FrameRun[] = [];
    let left = count;
    for (const hole of this._holes(folio)) {
      const start = Math.ceil(hole.start / folio) * folio;
      const room = Math.floor((hole.start + hole.count - start) / folio) * folio;
      if (room <= 0) continue;
      const take = Math.min(room, left);
      pieces.push({ start, count: take });
      left -= take;
      if (left === 0) return pieces;
    }
    return null;
  }

  private _insert(run: OwnedRun): void {
    let joined = this._runs.floor(run.start);
    if (joined && behind(joined) === run.start && areAlike(joined, run)) {
      joined.count += run.count;
      this._runs.endsHaveChanged(joined.start);
    } else {
      joined = run;
      this._runs.add(run.start, run);
    }
    const next = this._runs.exact(behind(joined));
    if (next) this._joinLeft(next);
    if (run.start === this._lowestFree) this._lowestFree = run.start + run.count;
  }

  /** Cuts runs at both ends of the range and returns those inside. */
  private _slice(start: number, count: number): OwnedRun[] {
    this._splitAt(start);
    this._splitAt(start + count);
    const runs = this._runs.within(start, start + count - 1);
    assertCovered(runs, start, count);
    return runs;
  }

  private _splitAt(frame: number): void {
    const run = this._runs.floor(frame);
    if (!run || run.start === frame || frame >= run.start + run.count) return;
    const head = frame - run.start;
    this._runs.add(frame, { ...run, start: frame, count: run.count - head });
    run.count = head;
  }

  /** Joins equal neighbours in a range, and at its ends. */
  private _merge(start: number, count: number): void {
    for (const run of this._runs.within(start, start + count)) this._joinLeft(run);
  }

  /** Makes a run one with that before it, if they are alike. */
  private _joinLeft(run: OwnedRun): void {
    const left = this._runs.floor(run.start - 1);
    if (!left || left.start + left.count !== run.start || !areAlike(left, run)) return;
    this._runs.take(run.start, run.start);
    left.count += run.count;
  }
}

function assertCovered(runs: readonly OwnedRun[], start: number, count: number): void {
  let covered = 0;
  for (const run of runs) covered += run.count;
  if (covered !== count) throw new Error(`frames ${start}+${count} are not all allocated`);
}

const behind = ({ start, count }: OwnedRun): number => start + count;

const areAlike = (left: OwnedRun, right: OwnedRun): boolean =>
  left.owner === right.owner &&
  left.held === right.held &&
  sameFill(left.fill, right.fill) &&
  left.folioShift === right.folioShift;

function sameFill(a: OwnedRun['fill'], b: OwnedRun['fill']): boolean {
  return a === b || (typeof a === 'object' && typeof b === 'object' && agree(a, b));
}
