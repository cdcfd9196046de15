/** Which pages of a working set lead to a frame: found without a look at each of them. It follows from the set. */

/** Pages of the set, by place, that lead to frames in a row. */
export interface LeadingRun {
  readonly place: number;
  readonly frame: number;
  readonly count: number;
}

/** Bits of a place in a key: a set has no more pages. */
const PLACE_BITS = 20;
const HIGH = 2 ** (32 - PLACE_BITS);

export class FrameIndex {
  /** The runs by their first frame: its number, and the place that leads there. */
  private readonly _frames: Float64Array;
  private readonly _places: Uint32Array;
  private readonly _counts: Uint32Array;
  /** The frame behind the last one of all runs up to each. */
  private readonly _ends: Float64Array;

  /** `frames`: that of each place; below 0: none. */
  constructor(frames: Float64Array) {
    const firsts: number[] = [];
    for (let at = 0; at < frames.length; at++)
      if (frames[at]! >= 0 && !(at > 0 && frames[at - 1] === frames[at]! - 1)) firsts.push(at);
    // Frame above, place below, sorted as numbers of 64 bits, which a double does not hold.
    const keys = new BigUint64Array(firsts.length);
    const words = new Uint32Array(keys.buffer);
    for (const [at, place] of firsts.entries()) {
      const frame = frames[place]!;
      words[at * 2] = (((frame % HIGH) << PLACE_BITS) | place) >>> 0;
      words[at * 2 + 1] = Math.floor(frame / HIGH);
    }
    keys.sort();
    this._frames = new Float64Array(firsts.length);
    this._places = new Uint32Array(firsts.length);
    this._counts = new Uint32Array(firsts.length);
    this._ends = new Float64Array(firsts.length);
    let end = 0;
    for (let at = 0; at < firsts.length; at++) {
      const place = words[at * 2]! & (2 ** PLACE_BITS - 1);
      const frame = frames[place]!;
      let count = 1;
      while (frames[place + count] === frame + count) count++;
      end = Math.max(end, frame + count);
      this._frames[at] = frame;
      this._places[at] = place;
      this._counts[at] = count;
      this._ends[at] = end;
    }
  }

  /** What leads to frames [start, end), cut to them. */
  within(start: number, end: number): LeadingRun[] {
    const found: LeadingRun[] = [];
    for (let at = this._above(end - 1) - 1; at >= 0 && this._ends[at]! > start; at--) {
      const frame = this._frames[at]!;
      const first = Math.max(frame, start);
      const stop = Math.min(frame + this._counts[at]!, end);
      if (first < stop) found.push({ place: this._places[at]! + first - frame, frame: first, count: stop - first });
    }
    return found.reverse();
  }

  /** How many runs begin at or before a frame. */
  private _above(frame: number): number {
    let low = 0;
    let high = this._frames.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this._frames[middle]! <= frame) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
