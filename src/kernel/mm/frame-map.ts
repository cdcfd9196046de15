/** Which frame holds which page: page numbers in ascending spans that lie contiguous in physical memory. */

import type { FrameRun } from '../../machine/memory.ts';
import { SortedList } from '../../machine/sorted-list.ts';

export interface FrameSpan {
  page: number;
  frame: number;
  count: number;
  /** log2 of the bytes that belong together: 12, or 21 and 30 for huge pages. */
  folioShift: number;
}

export class FrameMap {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _hint: () => undefined };

  private readonly _spans = new SortedList<FrameSpan>();
  /** The span in which `at` found its page last. */
  private _hint: FrameSpan | undefined;

  get length(): number {
    return this._spans.length;
  }

  /** Ascending. */
  get spans(): Generator<Readonly<FrameSpan>> {
    return this._spans[Symbol.iterator]();
  }

  /** How many pages have a frame. */
  get pages(): number {
    let pages = 0;
    for (const { count } of this._spans) pages += count;
    return pages;
  }

  /** Returns the frame of `page` if `count` pages from it on have frames in a row; else -1. */
  at(page: number, count = 1): number {
    let span = this._hint;
    if (!span || page < span.page || page >= span.page + span.count) {
      span = this._touching(page);
      if (!span) return -1;
      this._hint = span;
    }
    if (page + count > span.page + span.count) return -1;
    return span.frame + (page - span.page);
  }

  /** Adds a span; its pages must not have frames. */
  insert(span: FrameSpan): void {
    const left = this._spans.floor(span.page);
    if (left && isContinued(left, span)) {
      left.count += span.count;
      this._joinNext(left);
      return;
    }
    const added = { ...span };
    this._spans.add(span.page, added);
    this._joinNext(added);
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
    return this._touching(page) ?? this._spans.above(page);
  }

  /** The parts of spans that lie in [first, last], ascending. */
  range(first: number, last: number): FrameSpan[] {
    return this._whole(first, last).map((span) => clip(span, first, last));
  }

  /** The parts of [first, last] without a frame, ascending. */
  holes(first: number, last: number): { page: number; count: number }[] {
    const holes: { page: number; count: number }[] = [];
    let cursor = first;
    for (const { page, count } of this._whole(first, last)) {
      if (page > cursor) holes.push({ page: cursor, count: page - cursor });
      cursor = page + count;
    }
    if (cursor <= last) holes.push({ page: cursor, count: last - cursor + 1 });
    return holes;
  }

  /** Takes [first, last] out and returns what was there. */
  remove(first: number, last: number): FrameSpan[] {
    this._splitAt(first);
    this._splitAt(last + 1);
    this._hint = undefined;
    return this._spans.take(first, last);
  }

  /** Spans that have a part in [first, last], ascending. */
  private _whole(first: number, last: number): FrameSpan[] {
    const begun = this._touching(first);
    return this._spans.within(begun ? begun.page : first, last);
  }

  /** The span that holds a page. */
  private _touching(page: number): FrameSpan | undefined {
    const span = this._spans.floor(page);
    return span && span.page + span.count > page ? span : undefined;
  }

  /** Cuts the span that holds a page, so that one begins with it. */
  private _splitAt(page: number): void {
    const span = this._touching(page);
    if (!span || span.page === page) return;
    const head = page - span.page;
    this._spans.add(page, { ...span, page, frame: span.frame + head, count: span.count - head });
    span.count = head;
  }

  private _joinNext(span: FrameSpan): void {
    const next = this._spans.floor(span.page + span.count);
    if (!next || !isContinued(span, next)) return;
    span.count += next.count;
    this._spans.take(next.page, next.page);
    this._hint = span;
  }
}

/** Whether the second one goes on, in pages and in frames, where the first one ends. */
function isContinued(left: FrameSpan, right: FrameSpan): boolean {
  return (
    left.page + left.count === right.page &&
    left.frame + left.count === right.frame &&
    left.folioShift === right.folioShift
  );
}

function clip(span: FrameSpan, first: number, last: number): FrameSpan {
  const page = Math.max(first, span.page);
  const end = Math.min(last + 1, span.page + span.count);
  return { page, frame: span.frame + (page - span.page), count: end - page, folioShift: span.folioShift };
}
