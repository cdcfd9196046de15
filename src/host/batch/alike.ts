/** Finds operations in a row that do the same at equal distances of whole pages: they can be done at once. */
import { PAGE_SIZE, WORD } from '../../machine/address.ts';
import type { Columns, Numbers, Words } from './columns.ts';

/** Distances of this many pages or more are not looked at. */
const MOST_PAGES = 2 ** 40;

export class Alike {
  /** Pages from one operation to the next: of IOVAs, at least 1, and of memory, at least 0. */
  stride = 0;
  startStride = 0;
  /** Rows `_first` to `_end` - 1 have been found alike. */
  private _first = 0;
  private _end = 0;

  /** Returns how many operations from this one on are alike; 1: only itself. Sets the strides. */
  end(columns: Columns, row: number, place: number): number {
    const { runs } = columns;
    if (runs !== null) {
      this.stride = pages(runs.stride.data[row * 2]!, runs.stride.data[row * 2 + 1]!);
      this.startStride = pages(runs.startStride.data[row * 2]!, runs.startStride.data[row * 2 + 1]!);
      return this.stride < 1 || this.startStride < 0 ? 1 : runs.count.data[row]! - place;
    }
    if (row < this._first || row >= this._end) this._look(columns, row);
    return this._end - row;
  }

  private _look({ rows, kind, iova, length, start }: Columns, row: number): void {
    this._first = row;
    this._end = row + 1;
    if (row + 1 >= rows) return;
    const bytes = distance(iova, row);
    const startBytes = distance(start, row);
    this.stride = bytes / PAGE_SIZE;
    this.startStride = startBytes / PAGE_SIZE;
    if (bytes < PAGE_SIZE || startBytes < 0 || bytes % PAGE_SIZE !== 0 || startBytes % PAGE_SIZE !== 0) return;
    if (
      kind.step === 0 &&
      length.step === 0 &&
      iova.step === bytes &&
      (start.step === startBytes || start.rows === 1)
    ) {
      this._end = rows;
      return;
    }
    let end = row + 1;
    do {
      if (!same(kind, row, end) || !sameWords(length, row, end)) break;
      end++;
    } while (end < rows && distance(iova, end - 1) === bytes && distance(start, end - 1) === startBytes);
    this._end = end;
  }
}

function pages(high: number, low: number): number {
  const bytes = high * WORD + low;
  return bytes % PAGE_SIZE === 0 && bytes / PAGE_SIZE < MOST_PAGES ? bytes / PAGE_SIZE : -1;
}

/** The value of the next row less that of this row. Exact for all distances that are looked at. */
function distance({ data, rows }: Words, row: number): number {
  if (rows === 1) return 0;
  const at = row * 2;
  return (data[at + 2]! - data[at]!) * WORD + (data[at + 3]! - data[at + 1]!);
}

const same = ({ data, rows }: Numbers, a: number, b: number): boolean => rows === 1 || data[a] === data[b];

const sameWords = ({ data, rows }: Words, a: number, b: number): boolean =>
  rows === 1 || (data[a * 2] === data[b * 2] && data[a * 2 + 1] === data[b * 2 + 1]);
