/**
 * How many ranges cover each IOVA: what is reserved may be so for several reasons. Adding a range and taking it away cost what
 * it changes, however many there are, and so does looking whether any covers an IOVA.
 */
import type { IovaRange } from '../../uapi/types.ts';

/** One IOVA behind the last one. */
export const END = 2n ** 64n;

export class Coverage {
  /** Where the number changes, ascending. Below the first bound it is 0. */
  private readonly _bounds: bigint[] = [];
  /** How many ranges cover the IOVAs from the bound on, up to the next one. */
  private readonly _counts: number[] = [];
  /** How often each range is there: it is counted above only once. */
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
    const at = this._indexOf(iova);
    if (at >= 0 && this._counts[at]! > 0) return null;
    const next = at + 1 < this._bounds.length ? this._bounds[at + 1]! : END;
    return { start: at < 0 ? 0n : this._bounds[at]!, last: next - 1n };
  }

  /** The ranges of IOVAs that nothing covers, ascending, from the one that this IOVA is in or that comes next. */
  *freeFrom(iova: bigint): Generator<IovaRange> {
    for (let at = this._indexOf(iova); at < this._bounds.length; at++) {
      const start = at < 0 ? 0n : this._bounds[at]!;
      if (at >= 0 && this._counts[at]! > 0) continue;
      const next = at + 1 < this._bounds.length ? this._bounds[at + 1]! : END;
      if (start < next) yield { start, last: next - 1n };
    }
  }

  /** Returns the index of the last bound at or below an IOVA; -1: there is none. */
  private _indexOf(iova: bigint): number {
    let low = 0;
    let high = this._bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this._bounds[middle]! <= iova) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  private _change(start: bigint, end: bigint, by: 1 | -1): void {
    const first = this._boundAt(start);
    const behind = this._boundAt(end);
    for (let at = first; at < behind; at++) this._counts[at]! += by;
    for (const at of [behind, first]) {
      if (this._counts[at] !== (at === 0 ? 0 : this._counts[at - 1])) continue;
      this._bounds.splice(at, 1);
      this._counts.splice(at, 1);
    }
  }

  /** Returns the index of the bound at an IOVA, which is made if there is none. */
  private _boundAt(iova: bigint): number {
    const at = this._indexOf(iova);
    if (at >= 0 && this._bounds[at] === iova) return at;
    this._bounds.splice(at + 1, 0, iova);
    this._counts.splice(at + 1, 0, at < 0 ? 0 : this._counts[at]!);
    return at + 1;
  }
}
