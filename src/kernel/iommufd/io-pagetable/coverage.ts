/**
 * How many ranges cover each IOVA: what is reserved may be so for several reasons. Adding a range and taking it away cost what
 * it changes, however many there are, and so does looking whether any covers an IOVA.
 */
import type { IovaRange } from '../../uapi/types.ts';

/** One IOVA behind the last one. */
const END = 2n ** 64n;
/** A block with more bounds than this is cut in two. */
const MOST = 512;

/** Where the number of ranges changes, ascending, and how many there are from each bound on, up to the next one. */
interface Block {
  bounds: bigint[];
  counts: number[];
}

/** The place of a bound: a block, and an index in it. */
interface Place {
  block: number;
  at: number;
}

export class Coverage {
  /** None is empty, but where there is one only. */
  private readonly _blocks: Block[] = [{ bounds: [], counts: [] }];
  /** How often each range is there: it is counted in blocks only once. */
  private readonly _times = new Map<string, number>();

  add({ start, last }: IovaRange): void {
    const key = `${start}-${last}`;
    const times = this._times.get(key) ?? 0;
    this._times.set(key, times + 1);
    if (times === 0) this._change(start, last + 1n, 1);
  }

  /** Takes away a range that was added. */
  remove({ start, last }: IovaRange): void {
    const key = `${start}-${last}`;
    const times = this._times.get(key)! - 1;
    if (times > 0) this._times.set(key, times);
    else {
      this._times.delete(key);
      this._change(start, last + 1n, -1);
    }
  }

  /** The IOVAs around this one that no range covers; null: one covers it. */
  freeAround(iova: bigint): IovaRange | null {
    for (const range of this.freeFrom(iova)) return range.start <= iova ? range : null;
    return null;
  }

  /** The ranges of IOVAs that nothing covers, ascending, from the one that this IOVA is in or that comes next. */
  *freeFrom(iova: bigint): Generator<IovaRange> {
    let { block, at } = this._find(iova);
    let start: bigint | null = at < 0 ? 0n : null;
    for (; block < this._blocks.length; block++, at = 0) {
      const { bounds, counts } = this._blocks[block]!;
      for (at = Math.max(at, 0); at < bounds.length; at++) {
        const bound = bounds[at]!;
        if (start !== null && start < bound && (start > iova || bound > iova)) yield { start, last: bound - 1n };
        start = counts[at] === 0 ? bound : null;
      }
    }
    if (start !== null && start < END) yield { start, last: END - 1n };
  }

  /** The last bound at or below an IOVA; `at` -1 in the first block: there is none. */
  private _find(iova: bigint): Place {
    let [low, high] = [1, this._blocks.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this._blocks[middle]!.bounds[0]! <= iova) low = middle + 1;
      else high = middle;
    }
    const { bounds } = this._blocks[low - 1]!;
    let [first, behind] = [0, bounds.length];
    while (first < behind) {
      const middle = (first + behind) >>> 1;
      if (bounds[middle]! <= iova) first = middle + 1;
      else behind = middle;
    }
    return { block: low - 1, at: first - 1 };
  }

  private _change(start: bigint, end: bigint, by: 1 | -1): void {
    this._makeBound(start);
    this._makeBound(end);
    const from = this._find(start);
    const to = this._find(end);
    for (let { block } = from; block <= to.block; block++) {
      const { counts } = this._blocks[block]!;
      const behind = block === to.block ? to.at : counts.length;
      for (let at = block === from.block ? from.at : 0; at < behind; at++) counts[at]! += by;
    }
    this._dropBound(to);
    this._dropBound(from);
  }

  private _countBefore({ block, at }: Place): number {
    if (at > 0) return this._blocks[block]!.counts[at - 1]!;
    return block > 0 ? this._blocks[block - 1]!.counts.at(-1)! : 0;
  }

  private _makeBound(iova: bigint): void {
    const { block, at } = this._find(iova);
    const { bounds, counts } = this._blocks[block]!;
    if (bounds[at] === iova) return;
    counts.splice(at + 1, 0, this._countBefore({ block, at: at + 1 }));
    bounds.splice(at + 1, 0, iova);
    if (bounds.length <= MOST) return;
    const half = bounds.length >>> 1;
    this._blocks.splice(block + 1, 0, { bounds: bounds.splice(half), counts: counts.splice(half) });
  }

  /** Takes a bound away where nothing changes. */
  private _dropBound(place: Place): void {
    const { block, at } = place;
    const { bounds, counts } = this._blocks[block]!;
    if (counts[at] !== this._countBefore(place)) return;
    bounds.splice(at, 1);
    counts.splice(at, 1);
    if (bounds.length === 0 && this._blocks.length > 1) this._blocks.splice(block, 1);
  }
}
