/** Runs of frames in any order, some of which may overlap, in which a frame is found without a look at each of them. */
import type { FrameRun } from '../../machine/memory.ts';

export class SortedRuns {
  /** First frames, ascending, and the end of what begins there or before. */
  private readonly _starts: Float64Array;
  private readonly _ends: Float64Array;

  constructor(runs: readonly FrameRun[]) {
    const sorted = runs.toSorted((a, b) => a.start - b.start);
    this._starts = Float64Array.from(sorted, ({ start }) => start);
    let end = 0;
    this._ends = Float64Array.from(sorted, ({ start, count }) => {
      end = Math.max(end, start + count);
      return end;
    });
  }

  /** Whether any run has one of these frames. */
  touches(start: number, count: number): boolean {
    let [low, high] = [0, this._starts.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this._starts[middle]! < start + count) low = middle + 1;
      else high = middle;
    }
    return low > 0 && this._ends[low - 1]! > start;
  }
}
