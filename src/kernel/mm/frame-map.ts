/** Which frame holds which page: page numbers in ascending spans that lie contiguous in physical memory. */

export interface FrameSpan {
  page: number;
  frame: number;
  count: number;
  /** log2 of the bytes that belong together: 12, or 21 for pages of 2 MiB. */
  folioShift: number;
}

export class FrameMap {
  #spans: FrameSpan[] = [];
  /** Where `at` found something last. */
  #hint = 0;

  get spans(): readonly FrameSpan[] {
    return this.#spans;
  }

  /** Pages that have a frame. */
  get pages(): number {
    return this.#spans.reduce((sum, span) => sum + span.count, 0);
  }

  /** The frame of one page, or -1. */
  at(page: number): number {
    let span = this.#spans[this.#hint];
    if (!span || page < span.page || page >= span.page + span.count) {
      this.#hint = this.#firstTouching(page);
      span = this.#spans[this.#hint];
      if (!span || page < span.page) return -1;
    }
    return span.frame + (page - span.page);
  }

  /** Adds a span; its pages must not have frames. */
  insert(span: FrameSpan): void {
    const index = this.#lowerBound(span.page);
    const left = this.#spans[index - 1];
    if (
      left &&
      left.page + left.count === span.page &&
      left.frame + left.count === span.frame &&
      left.folioShift === span.folioShift
    ) {
      left.count += span.count;
      this.#joinNext(index - 1);
      return;
    }
    this.#spans.splice(index, 0, { ...span });
    this.#joinNext(index);
  }

  /** The parts of spans that lie in [first, last], ascending. */
  range(first: number, last: number): FrameSpan[] {
    const found: FrameSpan[] = [];
    for (let i = this.#firstTouching(first); i < this.#spans.length && this.#spans[i]!.page <= last; i++)
      found.push(clip(this.#spans[i]!, first, last));
    return found;
  }

  /** The parts of [first, last] without a frame, ascending. */
  holes(first: number, last: number): { page: number; count: number }[] {
    const holes: { page: number; count: number }[] = [];
    let cursor = first;
    for (let i = this.#firstTouching(first); i < this.#spans.length && this.#spans[i]!.page <= last; i++) {
      const span = this.#spans[i]!;
      if (span.page > cursor) holes.push({ page: cursor, count: span.page - cursor });
      cursor = span.page + span.count;
    }
    if (cursor <= last) holes.push({ page: cursor, count: last - cursor + 1 });
    return holes;
  }

  /** Takes [first, last] out and returns what was there. */
  remove(first: number, last: number): FrameSpan[] {
    const from = this.#firstTouching(first);
    let to = from;
    const removed: FrameSpan[] = [];
    const rest: FrameSpan[] = [];
    for (; to < this.#spans.length && this.#spans[to]!.page <= last; to++) {
      const span = this.#spans[to]!;
      const inside = clip(span, first, last);
      removed.push(inside);
      if (span.page < inside.page) rest.push({ ...span, count: inside.page - span.page });
      const end = inside.page + inside.count;
      const tail = span.page + span.count - end;
      if (tail > 0) rest.push({ ...span, page: end, frame: span.frame + (end - span.page), count: tail });
    }
    if (removed.length > 0) this.#spans.splice(from, to - from, ...rest);
    return removed;
  }

  #lowerBound(page: number): number {
    let low = 0;
    let high = this.#spans.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#spans[middle]!.page < page) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #firstTouching(page: number): number {
    const index = this.#lowerBound(page);
    const left = this.#spans[index - 1];
    return left && left.page + left.count > page ? index - 1 : index;
  }

  #joinNext(index: number): void {
    const span = this.#spans[index]!;
    const next = this.#spans[index + 1];
    if (
      next &&
      span.page + span.count === next.page &&
      span.frame + span.count === next.frame &&
      span.folioShift === next.folioShift
    ) {
      span.count += next.count;
      this.#spans.splice(index + 1, 1);
    }
  }
}

function clip(span: FrameSpan, first: number, last: number): FrameSpan {
  const page = Math.max(first, span.page);
  const end = Math.min(last + 1, span.page + span.count);
  return { page, frame: span.frame + (page - span.page), count: end - page, folioShift: span.folioShift };
}
