/**
 * When an engine comes to which page: it goes over its set in order, again and again. Accesses are counted from 0 on; each is of a
 * whole page. Times are simulated nanoseconds.
 */

/** Pages in a row, by number of the page. */
export interface PageRange {
  readonly first: number;
  readonly count: number;
}

const NANOSECONDS = 1_000_000_000n;
const PAGE_BYTES = 4096n;

/** Places [first, end) of a set that follow each other in one round: `access` is the last one to the first of them, and so on. */
export interface Stretch {
  readonly first: number;
  readonly end: number;
  readonly access: bigint;
}

export class Rounds {
  /** Id of the engine. */
  readonly engine: number;
  /** Ascending, disjoint. */
  readonly ranges: readonly PageRange[];
  /** In a second. */
  readonly bytesPerSecond: bigint;
  readonly since: bigint;
  readonly pages: number;

  constructor(engine: number, ranges: readonly PageRange[], bytesPerSecond: bigint, since: bigint) {
    this.engine = engine;
    this.ranges = ranges;
    this.bytesPerSecond = bytesPerSecond;
    this.since = since;
    this.pages = ranges.reduce((sum, { count }) => sum + count, 0);
  }

  /** Number of the page with that place in the set. */
  pageAt(place: number): number {
    for (const { first, count } of this.ranges) {
      if (place < count) return first + place;
      place -= count;
    }
    throw new Error('bug: it is beyond the set');
  }

  /** Accesses that are done at a time. */
  accesses(at: bigint): bigint {
    return ((at - this.since) * this.bytesPerSecond) / (NANOSECONDS * PAGE_BYTES);
  }

  /** When an access is done. */
  timeOf(access: bigint): bigint {
    const due = (access + 1n) * NANOSECONDS * PAGE_BYTES;
    return this.since + (due + this.bytesPerSecond - 1n) / this.bytesPerSecond;
  }

  /** In which round an access is. */
  roundOf(access: bigint): bigint {
    return access / BigInt(this.pages);
  }

  /** How many of the accesses before one are to places [first, end). */
  accessesTo(first: number, end: number, before: bigint): bigint {
    const [from, to] = [BigInt(first), BigInt(end)];
    const place = before % BigInt(this.pages);
    const within = place <= from ? 0n : place >= to ? to - from : place - from;
    return this.roundOf(before) * (to - from) + within;
  }

  /** The last access of [from, until) to each of the places [first, end), without those that have none. */
  lastTo(first: number, end: number, from: bigint, until: bigint): Stretch[] {
    const pages = BigInt(this.pages);
    const start = this.roundOf(until) * pages;
    const border = Number(until - start);
    const stretch = (low: number, high: number, round: bigint): Stretch[] => {
      // The accesses of a round before `from` are none of these.
      const skipped = from - round;
      const least = skipped > BigInt(low) ? Number(skipped < pages ? skipped : pages) : low;
      return least < high ? [{ first: least, end: high, access: round + BigInt(least) }] : [];
    };
    const thisRound = stretch(first, Math.min(end, border), start);
    return start === 0n ? thisRound : [...thisRound, ...stretch(Math.max(first, border), end, start - pages)];
  }
}
