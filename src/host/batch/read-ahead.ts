/**
 * Has the memory read ahead that the next operations of a batch need. In a large IOAS, operations far from one another wait for memory
 * longer than they work; several of them, looked up together, wait for it together.
 */
import type { IoPagetable } from '../../kernel/iommufd/io-pagetable/io-pagetable.ts';
import { WORD } from '../../machine/address.ts';
import type { Columns } from './columns.ts';

/** So many operations are looked up together: accesses of more would not be under way at a time in a processor. */
export const AT_ONCE = 16;
/** Fewer areas than this are in a processor's cache as it is. */
const LEAST_AREAS = 1 << 16;
/** Operations closer to one another, in bytes, find in the cache what the ones before have read: those in order, above all. */
const CLOSE = 2 ** 21;

/** IOVAs of the next operations, rounded to doubles. */
const iovas = new Float64Array(AT_ONCE);

export class ReadAhead {
  private readonly _iopt: IoPagetable;
  private readonly _columns: Columns;
  /** The first row that has not been looked at. */
  private _next = 0;
  /** Of what was read: what nobody keeps would not be read. */
  private _read = 0;

  constructor(iopt: IoPagetable, columns: Columns) {
    this._iopt = iopt;
    this._columns = columns;
  }

  /** Called before the operation of a row is done. */
  before(row: number): void {
    if (row >= this._next) this._look(row);
  }

  private _look(row: number): void {
    const { rows, iova } = this._columns;
    const count = Math.min(AT_ONCE, rows - row);
    this._next = row + count;
    if (iova.rows === 1 || this._iopt.areas.size < LEAST_AREAS) return;
    const { data } = iova;
    for (let at = 0; at < count; at++) iovas[at] = data[(row + at) * 2]! * WORD + data[(row + at) * 2 + 1]!;
    if (Math.abs(iovas[count - 1]! - iovas[0]!) < CLOSE) return;
    this._read ^= this._iopt.prefetch(iovas, count);
  }
}
