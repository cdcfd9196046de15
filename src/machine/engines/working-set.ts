/**
 * Where the pages of a working set lead: a frame each, as the tables of the IOMMU say, or nowhere. It follows from the tables, and is
 * kept so that a change of them can be told from what was: the cost of a look is that of the pages that are looked at.
 */

import type { Machine } from '../machine.ts';
import { FRAME_SIZE } from '../memory.ts';
import type { PciFunction } from '../pci/function.ts';
import { FrameIndex, type LeadingRun } from './frame-index.ts';
import type { PageRange } from './rounds.ts';

export type Access = 'read' | 'write' | 'both';

/** What a look has found to be other than before: pages [first, end) of the set. */
export interface Changes {
  lost(first: number, end: number): void;
  regained(first: number, end: number): void;
  /** They lead to other frames. */
  moved(first: number, end: number): void;
  /** Before that, of those that are lost or move: they have led to frames in a row. */
  left?(run: LeadingRun): void;
}

const NOWHERE = -1;
const SHIFT = 12n;
/** How often the pages are gone through one by one before an index of them is made, and changed pages beside which it is kept. */
const FEW_SEARCHES = 8;
const FEW_CHANGED = 4096;

export class WorkingSet {
  private readonly _machine: Machine;
  private readonly _fn: PciFunction;
  private readonly _ranges: readonly PageRange[];
  private readonly _access: Access;
  /** Frame of each page; NOWHERE. */
  private readonly _frames: Float64Array;
  private _least = Number.POSITIVE_INFINITY;
  private _most = -1;
  /** What leads to a frame; null: not known, and asked for so often. It says nothing of the pages that have changed since. */
  private _index: FrameIndex | null = null;
  private _searches = 0;
  private readonly _changed = new Set<number>();

  constructor(machine: Machine, fn: PciFunction, ranges: readonly PageRange[], access: Access) {
    this._machine = machine;
    this._fn = fn;
    this._ranges = ranges;
    this._access = access;
    this._frames = new Float64Array(ranges.reduce((sum, { count }) => sum + count, 0)).fill(NOWHERE);
  }

  /** Looks where pages [from, end), by number, lead now, and tells what differs. */
  look(from: number, end: number, changes: Changes): void {
    let base = 0;
    for (const { first, count } of this._ranges) {
      const start = Math.max(from, first);
      const stop = Math.min(end, first + count);
      if (start < stop) this._lookAt(base - first, start, stop, changes);
      base += count;
    }
  }

  /** The pages of the set that lead to one of these frames, in runs. */
  leadingTo(start: number, end: number): LeadingRun[] {
    if (start > this._most || end <= this._least) return [];
    if (this._index === null) {
      if (++this._searches <= FEW_SEARCHES) return [...this._runs(0, this._frames.length, start, end)];
      this._index = new FrameIndex(this._frames);
    }
    const indexed = this._index.within(start, end);
    if (this._changed.size === 0) return indexed;
    const found = indexed.flatMap((run) => [...this._unchanged(run)]);
    for (const place of this._changed) found.push(...this._runs(place, place + 1, start, end));
    return found;
  }

  /** All that lead to frames, in runs, by place. */
  leading(): Generator<LeadingRun> {
    return this._runs(0, this._frames.length, 0, Number.POSITIVE_INFINITY);
  }

  /** Those of places [first, stop) that lead to frames [start, end). */
  private *_runs(first: number, stop: number, start: number, end: number): Generator<LeadingRun> {
    const frames = this._frames;
    for (let place = first; place < stop; place++) {
      const frame = frames[place]!;
      if (!(frame >= start && frame < end)) continue;
      let count = 1;
      while (place + count < stop && frame + count < end && frames[place + count] === frame + count) count++;
      yield { place, frame, count };
      place += count - 1;
    }
  }

  /** Of a run in the index the parts that have not changed since. */
  private *_unchanged({ place, frame, count }: LeadingRun): Generator<LeadingRun> {
    let from = 0;
    for (let at = 0; at <= count; at++) {
      if (at < count && !this._changed.has(place + at)) continue;
      if (at > from) yield { place: place + from, frame: frame + from, count: at - from };
      from = at + 1;
    }
  }

  frameOf(page: number): number | null {
    const frame = this._frames[page]!;
    return frame === NOWHERE ? null : frame;
  }

  /** `offset`: what is added to the number of a page for its place in the set. */
  private _lookAt(offset: number, start: number, stop: number, changes: Changes): void {
    let cursor = start;
    const put = (first: number, end: number, physical: number): void => {
      if (first > cursor) this._put(offset + cursor, offset + first, NOWHERE, changes);
      this._put(offset + first, offset + end, Math.floor(physical / FRAME_SIZE), changes);
      cursor = end;
    };
    const from = BigInt(start) << SHIFT;
    const last = (BigInt(stop) << SHIFT) - 1n;
    // The beginning of a page of two leaves of 2 KiB that do not lie in a row, until the rest of it is found.
    let half = { end: -1n, physical: 0 };
    for (const { iova, length, physical, readable, writeable } of this._machine.translations(this._fn, from, last)) {
      if (!(readable || this._access === 'write') || !(writeable || this._access === 'read')) continue;
      const until = iova + BigInt(length);
      if (iova === half.end && iova % 4096n !== 0n && until >> SHIFT > iova >> SHIFT)
        put(Number(iova >> SHIFT), Number(iova >> SHIFT) + 1, half.physical);
      const first = Number((iova + 4095n) >> SHIFT);
      const end = Number(until >> SHIFT);
      const skipped = Number((BigInt(first) << SHIFT) - iova);
      if (end > first) put(first, end, physical + skipped);
      const whole = BigInt(Math.max(first, end)) << SHIFT;
      half = { end: until, physical: physical + Number(whole - iova) };
    }
    if (cursor < stop) this._put(offset + cursor, offset + stop, NOWHERE, changes);
  }

  /** Pages [first, end) lead to frames in a row from one on, or nowhere. */
  private _put(first: number, end: number, frame: number, changes: Changes): void {
    const frames = this._frames;
    const isNowhere = frame === NOWHERE;
    for (let at = first; at < end; ) {
      const how = kindOf(frames[at]!, isNowhere ? NOWHERE : frame + at - first);
      let stop = at + 1;
      while (stop < end && kindOf(frames[stop]!, isNowhere ? NOWHERE : frame + stop - first) === how) stop++;
      if (how !== 'same') {
        if (how !== 'regained' && changes.left !== undefined) this._tellLeft(at, stop, changes);
        for (let place = at; place < stop; place++) frames[place] = isNowhere ? NOWHERE : frame + place - first;
        if (this._index !== null) this._noteChanged(at, stop);
        changes[how](at, stop);
      }
      at = stop;
    }
    if (isNowhere) return;
    this._least = Math.min(this._least, frame);
    this._most = Math.max(this._most, frame + end - first - 1);
  }

  private _noteChanged(first: number, end: number): void {
    if (this._changed.size + end - first <= FEW_CHANGED) {
      for (let place = first; place < end; place++) this._changed.add(place);
      return;
    }
    this._index = null;
    this._searches = 0;
    this._changed.clear();
  }

  private _tellLeft(first: number, end: number, changes: Changes): void {
    for (let place = first; place < end; ) {
      const frame = this._frames[place]!;
      let count = 1;
      while (place + count < end && this._frames[place + count] === frame + count) count++;
      changes.left!({ place, frame, count });
      place += count;
    }
  }
}

function kindOf(before: number, after: number): 'same' | 'lost' | 'regained' | 'moved' {
  if (before === after) return 'same';
  if (after === NOWHERE) return 'lost';
  return before === NOWHERE ? 'regained' : 'moved';
}
