/**
 * From which access on the bytes count that an engine writes to each page of its set: what it has written before was written over by
 * somebody else, or is in other frames.
 */
import { SortedList } from '../sorted-list.ts';

/** Places [first, end): accesses before that one do not count. */
interface SettledRun {
  readonly first: number;
  readonly end: number;
  readonly access: bigint;
}

export class SettledPages {
  private readonly _runs = new SortedList<SettledRun>();

  /** Accesses to places [first, end) before this one, which is above all that were told, do not count. */
  settle(first: number, end: number, access: bigint): void {
    for (const run of this._from(first, end, true)) {
      if (run.first < first) this._runs.add(run.first, { ...run, end: first });
      if (run.end > end) this._runs.add(end, { ...run, first: end });
    }
    const before = this._runs.floor(first);
    if (before && before.end === first && before.access === access)
      this._runs.replace(before.first, { ...before, end });
    else this._runs.add(first, { first, end, access });
  }

  /** Places [first, end) in runs, with the first access that counts. */
  *within(first: number, end: number): Generator<SettledRun> {
    let cursor = first;
    for (const run of this._from(first, end, false)) {
      if (run.first > cursor) yield { first: cursor, end: run.first, access: 0n };
      const stop = Math.min(run.end, end);
      yield { first: Math.max(run.first, cursor), end: stop, access: run.access };
      cursor = stop;
    }
    if (cursor < end) yield { first: cursor, end, access: 0n };
  }

  private _from(first: number, end: number, take: boolean): SettledRun[] {
    const begun = this._runs.floor(first);
    const from = begun && begun.end > first ? begun.first : first;
    return take ? this._runs.take(from, end - 1) : this._runs.within(from, end - 1);
  }
}
