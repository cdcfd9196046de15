/**
 * How many ranges cover each IOVA: what is reserved may be so for several reasons. Adding a range and taking it away cost what
 * it changes, however many there are, and so does looking whether any covers an IOVA.
 */
import type { IovaRange } from '../../uapi/types.ts';

/** One IOVA behind the last one. */
export const END = 2n ** 64n;

export class Coverage {
  /** Where the number changes, ascending. Below the first bound it is 0. */
  readonly #bounds: bigint[] = [];
  /** How many ranges cover the IOVAs from the bound on, up to the next one. */
  readonly #counts: number[] = [];
  /** How often each range is there: it is counted above only once. */
  readonly #times = new Map<string, number>();

  add({ start, last }: IovaRange): void {
    const key = `${start}-${last}`;
    const times = this.#times.get(key) ?? 0;
    this.#times.set(key, times + 1);
    if (times === 0) this.#change(start, last + 1n, 1);
  }

  /** Takes away a range that was added. */
  remove({ start, last }: IovaRange): void {
    const key = `${start}-${last}`;
    const times = this.#times.get(key)! - 1;
    if (times > 0) this.#times.set(key, times);
    else {
      this.#times.delete(key);
      this.#change(start, last + 1n, -1);
    }
  }

  /** The IOVAs around this one that no range covers; null: one covers it. */
  freeAround(iova: bigint): IovaRange | null {
    const at = this.#indexOf(iova);
    if (at >= 0 && this.#counts[at]! > 0) return null;
    const next = at + 1 < this.#bounds.length ? this.#bounds[at + 1]! : END;
    return { start: at < 0 ? 0n : this.#bounds[at]!, last: next - 1n };
  }

  /** The ranges of IOVAs that nothing covers, ascending, from the one that this IOVA is in or that comes next. */
  *freeFrom(iova: bigint): Generator<IovaRange> {
    for (let at = this.#indexOf(iova); at < this.#bounds.length; at++) {
      const start = at < 0 ? 0n : this.#bounds[at]!;
      if (at >= 0 && this.#counts[at]! > 0) continue;
      const next = at + 1 < this.#bounds.length ? this.#bounds[at + 1]! : END;
      if (start < next) yield { start, last: next - 1n };
    }
  }

  /** Returns the index of the last bound at or below an IOVA; -1: there is none. */
  #indexOf(iova: bigint): number {
    let low = 0;
    let high = this.#bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#bounds[middle]! <= iova) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #change(start: bigint, end: bigint, by: 1 | -1): void {
    const first = this.#boundAt(start);
    const behind = this.#boundAt(end);
    for (let at = first; at < behind; at++) this.#counts[at]! += by;
    for (const at of [behind, first]) {
      if (this.#counts[at] !== (at === 0 ? 0 : this.#counts[at - 1])) continue;
      this.#bounds.splice(at, 1);
      this.#counts.splice(at, 1);
    }
  }

  /** Returns the index of the bound at an IOVA, which is made if there is none. */
  #boundAt(iova: bigint): number {
    const at = this.#indexOf(iova);
    if (at >= 0 && this.#bounds[at] === iova) return at;
    this.#bounds.splice(at + 1, 0, iova);
    this.#counts.splice(at + 1, 0, at < 0 ? 0 : this.#counts[at]!);
    return at + 1;
  }
}
