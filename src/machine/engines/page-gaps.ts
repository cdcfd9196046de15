/**
 * Which pages of a working set cannot be reached, and since when. Pages are counted within the set, from 0 on. Of gaps that have
 * ended, those that began and ended together are one; the first ones are kept, and of all others how many pages and accesses.
 */
import { SortedList } from '../sorted-list.ts';

/** Pages [first, end) that cannot be reached since a time in simulated nanoseconds. */
export interface OpenGap {
  readonly first: number;
  readonly end: number;
  readonly since: bigint;
}

/** Pages that could not be reached from a time on until another. */
export interface ClosedGap {
  since: bigint;
  until: bigint;
  /** The first of them. */
  first: number;
  pages: number;
  /** Accesses that were refused. */
  refused: bigint;
}

/** Gaps that have ended and are kept. */
const MOST_CLOSED = 256;

export class PageGaps {
  private readonly _open = new SortedList<OpenGap>();
  private readonly _closed: ClosedGap[] = [];
  private _pages = 0;
  /** Accesses that were refused in gaps that have ended. */
  refused = 0n;

  get open(): Iterable<OpenGap> {
    return this._open;
  }

  get closed(): readonly ClosedGap[] {
    return this._closed;
  }

  /** Pages that cannot be reached now. */
  get pages(): number {
    return this._pages;
  }

  /** Pages [first, end), none of which is in a gap, cannot be reached from now on. */
  begin(first: number, end: number, now: bigint): void {
    this._pages += end - first;
    const before = this._open.floor(first);
    if (before && before.end === first && before.since === now) this._open.replace(before.first, { ...before, end });
    else this._open.add(first, { first, end, since: now });
  }

  /** They can be reached again, those of them that could not. `refused`: accesses to pages that fell into a time. */
  endWithin(first: number, end: number, now: bigint, refused: (gap: OpenGap, until: bigint) => bigint): void {
    const begun = this._open.floor(first);
    const from = begun && begun.end > first ? begun.first : first;
    for (const gap of this._open.take(from, end - 1)) {
      if (gap.first < first) this._open.add(gap.first, { ...gap, end: first });
      if (gap.end > end) this._open.add(end, { ...gap, first: end });
      const piece = { first: Math.max(gap.first, first), end: Math.min(gap.end, end), since: gap.since };
      this._pages -= piece.end - piece.first;
      this._note(piece, now, refused(piece, now));
    }
  }

  private _note({ first, end, since }: OpenGap, until: bigint, refused: bigint): void {
    this.refused += refused;
    const last = this._closed[this._closed.length - 1];
    if (last && last.since === since && last.until === until) {
      last.first = Math.min(last.first, first);
      last.pages += end - first;
      last.refused += refused;
    } else if (this._closed.length < MOST_CLOSED)
      this._closed.push({ since, until, first, pages: end - first, refused });
  }
}
