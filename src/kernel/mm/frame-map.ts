/** Which frame holds which page: page numbers in ascending spans that lie contiguous in physical memory. */

import type { FrameRun } from '../../machine/memory.ts';

export interface FrameSpan {
  page: number;
  frame: number;
  count: number;
  /** log2 of the bytes that belong together: 12, or 21 and 30 for huge pages. */
  folioShift: number;
}

export class FrameMap {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _hint: () => 0 };

  private _spans: FrameSpan[] = [];
  /** Index of the span in which `at` found its page last. */
  private _hint = 0;

  get spans(): readonly FrameSpan[] {
    return this._spans;
  }

  /** How many pages have a frame. */
  get pages(): number {
    return this._spans.reduce((sum, span) => sum + span.count, 0);
  }

  /** Returns the frame of `page` if `count` pages from it on have frames in a row; else -1. */
  at(page: number, count = 1): number {
    let span = this._spans[this._hint];
    if (!span || page < span.page || page >= span.page + span.count) {
      this._hint = this._firstTouching(page);
      span = this._spans[this._hint];
      if (!span || page < span.page) return -1;
    }
    if (page + count > span.page + span.count) return -1;
    return span.frame + (page - span.page);
  }

  /** Adds a span; its pages must not have frames. */
  insert(span: FrameSpan): void {
    const index = this._lowerBound(span.page);
    const left = this._spans[index - 1];
    if (
      left &&
      left.page + left.count === span.page &&
      left.frame + left.count === span.frame &&
      left.folioShift === span.folioShift
    ) {
      left.count += span.count;
      this._joinNext(index - 1);
      return;
    }
    this._spans.splice(index, 0, { ...span });
    this._joinNext(index);
  }

  /** Adds runs of frames for the pages from one on, which must not have frames. */
  insertRuns(first: number, runs: readonly FrameRun[], folioShift: number): void {
    let page = first;
    for (const { start, count } of runs) {
      this.insert({ page, frame: start, count, folioShift });
      page += count;
    }
  }

  /** The span that holds a page, or else the next one behind it. */
  next(page: number): FrameSpan | undefined {
    return this._spans[this._firstTouching(page)];
  }

  /** The parts of spans that lie in [first, last], ascending. */
  range(first: number, last: number): FrameSpan[] {
    const found: FrameSpan[] = [];
    for (let i = this._firstTouching(first); i < this._spans.length && this._spans[i]!.page <= last; i++)
      found.push(clip(this._spans[i]!, first, last));
    return found;
  }

  /** The parts of [first, last] without a frame, ascending. */
  holes(first: number, last: number): { page: number; count: number }[] {
    const holes: { page: number; count: number }[] = [];
    let cursor = first;
    for (let i = this._firstTouching(first); i < this._spans.length && this._spans[i]!.page <= last; i++) {
      const span = this._spans[i]!;
      if (span.page > cursor) holes.push({ page: cursor, count: span.page - cursor });
      cursor = span.page + span.count;
    }
    if (cursor <= last) holes.push({ page: cursor, count: last - cursor + 1 });
    return holes;
  }

  /** Takes [first, last] out and returns what was there. */
  remove(first: number, last: number): FrameSpan[] {
    const from = this._firstTouching(first);
    let to = from;
    const removed: FrameSpan[] = [];
    const rest: FrameSpan[] = [];
    for (; to < this._spans.length && this._spans[to]!.page <= last; to++) {
      const span = this._spans[to]!;
      const inside = clip(span, first, last);
      removed.push(inside);
      if (span.page < inside.page) rest.push({ ...span, count: inside.page - span.page });
      const end = inside.page + inside.count;
      const tail = span.page + span.count - end;
      if (tail > 0) rest.push({ ...span, page: end, frame: span.frame + (end - span.page), count: tail });
    }
    if (removed.length > 0) this._spans.splice(from, to - from, ...rest);
    return removed;
  }

  private _lowerBound(page: number): number {
    let low = 0;
    let high = this._spans.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this._spans[middle]!.page < page) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private _firstTouching(page: number): number {
    const index = this._lowerBound(page);
    const left = this._spans[index - 1];
    return left && left.page + left.count > page ? index - 1 : index;
  }

  private _joinNext(index: number): void {
    const span = this._spans[index]!;
    const next = this._spans[index + 1];
    if (
      next &&
      span.page + span.count === next.page &&
      span.frame + span.count === next.frame &&
      span.folioShift === next.folioShift
    ) {
      span.count += next.count;
      this._spans.splice(index + 1, 1);
    }
  }
}

function clip(span: FrameSpan, first: number, last: number): FrameSpan {
  const page = Math.max(first, span.page);
  const end = Math.min(last + 1, span.page + span.count);
  return { page, frame: span.frame + (page - span.page), count: end - page, folioShift: span.folioShift };
}
