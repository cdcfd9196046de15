/**
 * Who owns which frames of memory: runs of frames in a row that one owner has allocated, and what lies free between them.
 * Nothing here knows what is in a frame or who has pinned it.
 */
import { PAGE_SHIFT, PAGE_SIZE } from './address.ts';
import { agree, continued, type EntryRun } from './entry-run.ts';

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
  private _runs: OwnedRun[] = [];
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

  get runs(): readonly Readonly<OwnedRun>[] {
    return this._runs;
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
    const run = this._runs[this._indexAt(frame)];
    return run && run.start <= frame ? run : null;
  }

  /** The parts of a range that nobody owns, ascending. */
  freeWithin(start: number, count: number): FrameRun[] {
    const end = start + count;
    const free: FrameRun[] = [];
    let cursor = start;
    const first = this._indexAt(start);
    for (let i = first < 0 ? this._lowerBound(start) : first; cursor < end; i++) {
      const run = this._runs[i];
      const stop = run ? Math.min(end, run.start) : end;
      if (stop > cursor) free.push({ start: cursor, count: stop - cursor });
      cursor = run ? run.start + run.count : end;
    }
    return free;
  }

  /** Gives the frames of a range, all of which must be owned, to another owner. */
  setOwner(start: number, count: number, owner: string): void {
    const [from, to] = this._slice(start, count);
    for (let i = from; i < to; i++) this._runs[i]!.owner = owner;
    this._merge(from, to);
  }

  /** Notes that the owner of these frames does not hold them any more: only pins do. */
  letGo(start: number, count: number): void {
    const [from, to] = this._slice(start, count);
    for (let i = from; i < to; i++) this._runs[i]!.held = false;
    this._merge(from, to);
  }

  /** Makes these frames free. */
  remove(start: number, count: number): void {
    const [from, to] = this._slice(start, count);
    this._runs.splice(from, to - from);
    this._free += count;
    this._lowestFree = Math.min(this._lowestFree, start);
  }

  /** Frees every frame outside `kept`, and gives those inside to `owner`, who holds them. */
  retain(kept: readonly FrameRun[], owner: string): void {
    const sorted = [...kept].sort((a, b) => a.start - b.start);
    const runs: OwnedRun[] = [];
    let cursor = 0;
    for (const { start, count } of sorted) {
      const end = start + count;
      while (cursor < this._runs.length && this._runs[cursor]!.start + this._runs[cursor]!.count <= start) cursor++;
      for (let i = cursor; i < this._runs.length && this._runs[i]!.start < end; i++) {
        const run = this._runs[i]!;
        const first = Math.max(start, run.start);
        runs.push({ ...run, start: first, count: Math.min(end, run.start + run.count) - first, owner, held: true });
      }
    }
    this._runs = runs;
    this._merge(0, runs.length);
    this._free = this.frames - 1 - this._runs.reduce((sum, run) => sum + run.count, 0);
    this._lowestFree = this._runs[0]?.start === 1 ? 1 + this._runs[0].count : 1;
  }

  /** Runs, with what untouched contents read as from their first frame on. */
  *canonical(): Generator<unknown> {
    yield this.frames;
    for (const { start, count, owner, held, fill, folioShift } of this._runs) {
      yield [start, count, owner, held, folioShift];
      yield typeof fill === 'object' ? continued(fill, start - fill.frame, start) : fill;
    }
  }

  /** Returns the index of the run that holds a frame; -1 if the frame is free. */
  private _indexAt(frame: number): number {
    let low = 0;
    let high = this._runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this._runs[middle]!.start <= frame) low = middle + 1;
      else high = middle;
    }
    const run = this._runs[low - 1];
    return run && frame < run.start + run.count ? low - 1 : -1;
  }

  /** Index of the first run that begins at or after the frame. */
  private _lowerBound(frame: number): number {
    let low = 0;
    let high = this._runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this._runs[middle]!.start < frame) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** How many frames, at most `most`, the lowest hole has. */
  lowestHole(most: number): number {
    for (const { count } of this._holes()) return Math.min(count, most);
    return 0;
  }

  private *_holes(): Generator<FrameRun> {
    let cursor = this._lowestFree;
    for (let i = this._lowerBound(cursor); i < this._runs.length; i++) {
      const run = this._runs[i]!;
      if (run.start > cursor) yield { start: cursor, count: run.start - cursor };
      cursor = run.start + run.count;
    }
    if (cursor < this.frames) yield { start: cursor, count: this.frames - cursor };
  }

  private _findHole(count: number, align: number, phase: number): number | null {
    for (const hole of this._holes()) {
      const start = hole.start + ((((phase - hole.start) % align) + align) % align);
      if (start + count <= hole.start + hole.count) return start;
    }
    return null;
  }

  private _collect(count: number, folio: number): FrameRun[] | null {
    const pieces: FrameRun[] = [];
    let left = count;
    for (const hole of this._holes()) {
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
    const index = this._lowerBound(run.start);
    this._runs.splice(index, 0, run);
    const merged = this._merge(index, index + 1);
    if (run.start === this._lowestFree) {
      const at = this._runs[merged]!;
      this._lowestFree = at.start + at.count;
      for (let i = merged + 1; i < this._runs.length && this._runs[i]!.start === this._lowestFree; i++)
        this._lowestFree += this._runs[i]!.count;
    }
  }

  /** Cuts runs at both ends of the range and returns the indexes of those inside: [from, to). */
  private _slice(start: number, count: number): [number, number] {
    this._splitAt(start);
    this._splitAt(start + count);
    const from = this._lowerBound(start);
    let to = from;
    let covered = 0;
    while (to < this._runs.length && this._runs[to]!.start < start + count) covered += this._runs[to++]!.count;
    if (covered !== count) throw new Error(`frames ${start}+${count} are not all allocated`);
    return [from, to];
  }

  private _splitAt(frame: number): void {
    const index = this._indexAt(frame);
    const run = this._runs[index];
    if (!run || run.start === frame) return;
    const head = frame - run.start;
    this._runs.splice(index + 1, 0, { ...run, start: frame, count: run.count - head });
    run.count = head;
  }

  /** Joins equal neighbours around [from, to); returns the index where the run at `from` is now. */
  private _merge(from: number, to: number): number {
    const first = Math.max(from, 1);
    const last = Math.min(to, this._runs.length - 1);
    let write = first - 1;
    let at = from;
    for (let read = first; read <= last; read++) {
      const left = this._runs[write]!;
      const right = this._runs[read]!;
      if (
        left.start + left.count === right.start &&
        left.owner === right.owner &&
        left.held === right.held &&
        sameFill(left.fill, right.fill) &&
        left.folioShift === right.folioShift
      )
        left.count += right.count;
      else this._runs[++write] = right;
      if (read === from) at = write;
    }
    if (last >= first && write < last) this._runs.splice(write + 1, last - write);
    return at;
  }
}

function sameFill(a: OwnedRun['fill'], b: OwnedRun['fill']): boolean {
  return a === b || (typeof a === 'object' && typeof b === 'object' && agree(a, b));
}
