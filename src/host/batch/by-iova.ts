/**
 * Puts the operations of a batch in order of their IOVAs, where nobody can tell: they are alike, none lies where another one does,
 * and none is refused. What lies close together in the tables is then reached together, and not again and again from far away. It is
 * done before the batch is stored, so that a replay has the same order.
 */
import {
  type Alike,
  takesMap,
  takesMaps,
  takesUnmap,
  takesUnmaps,
} from '../../kernel/iommufd/io-pagetable/any-order.ts';
import { accessOf } from '../../kernel/iommufd/io-pagetable/mapping.ts';
import { accountOf, type Ioas } from '../../kernel/iommufd/ioas.ts';
import type { Process } from '../../kernel/process.ts';
import { MAP_FIXED_IOVA } from '../../kernel/uapi/iommufd.ts';
import { HIGH_PAGES, PAGE_SIZE, pageOf, WORD } from '../../machine/address.ts';
import { type Columns, keepRoom, MAP, type Numbers, OP_BITS, OP_MASK, takeRoom, UNMAP, type Words } from './columns.ts';

/** Fewer operations than this are left as they are: it would not pay. */
const LEAST = 1 << 15;
/** If of the first ones fewer than one in so many lies below the one before, they are as good as in order. */
const FIRST = 256;
const IN_A_ROW = 8;
/** Pages that one table maps; an operation must have fewer. */
const PAGES_OF_A_TABLE = 512;
/** Rows are sorted by so many bits at a time. */
const DIGIT_BITS = 11;
const DIGITS = 2 ** DIGIT_BITS;
/** So many rows are sorted, or looked at, in about the time that one operation takes. */
const AT_ONCE = 16;

/** Rows in some order: by how many pages their IOVAs lie above the lowest one, and which rows they are. */
interface Pairs {
  above: Uint32Array<ArrayBuffer>;
  rows: Uint32Array<ArrayBuffer>;
  /** Both, one behind the other. */
  words: Uint32Array<ArrayBuffer>;
}

interface Order extends Pairs {
  lowest: number;
  highest: number;
}

/** For `count` rows, from the word `first` on. */
function pairsIn(words: Uint32Array<ArrayBuffer>, first: number, count: number): Pairs {
  const all = words.subarray(first, first + 2 * count);
  return { above: all.subarray(0, count), rows: all.subarray(count), words: all };
}

/** Changes the order of the rows if nobody can tell, and yields after what takes as long as about `pause` operations. */
export function* orderByIova(columns: Columns, ioas: Ioas, process: Process, pause: number): Generator<void> {
  const pages = pagesOfAlike(columns);
  if (pages === 0) return;
  yield;
  const words = takeRoom(4 * columns.rows);
  try {
    yield* orderIn(words, columns, pages, ioas, process, pause);
  } finally {
    keepRoom(words);
  }
}

/** The same, of rows of so many pages each, with memory to do it in. */
function* orderIn(
  words: Uint32Array<ArrayBuffer>,
  columns: Columns,
  pages: number,
  ioas: Ioas,
  process: Process,
  pause: number,
): Generator<void> {
  const count = columns.rows;
  const unsorted = orderOf(columns.iova, pairsIn(words, 0, count));
  if (unsorted === null) return;
  const [order, free] = yield* sort(unsorted, pairsIn(words, 2 * count, count), pause * AT_ONCE);
  const alike = alikeOf(order, pages);
  if (alike === null) return;
  const kind = columns.kind.data[0]!;
  const isMap = (kind & OP_MASK) === MAP;
  const access = accessOf(kind >>> OP_BITS);
  const account = accountOf(ioas.context, process);
  const { iopt } = ioas;
  if (isMap ? !takesMaps(iopt, access, account, alike) : !takesUnmaps(iopt)) return;
  const { lowest, above, rows } = order;
  const { start } = columns;
  for (let at = 0; at < rows.length; at++) {
    const page = lowest + above[at]!;
    const takes = isMap
      ? takesMap(iopt, access, account, page, pageAt(start, start.rows === 1 ? 0 : rows[at]!), pages)
      : takesUnmap(iopt, page, pages);
    if (!takes) return;
    if (at % pause === pause - 1) yield;
  }
  yield* arrange(columns.iova, rows, free.words, pause * AT_ONCE);
  if (start.rows > 1) yield* arrange(start, rows, free.words, pause * AT_ONCE);
}

/** How many pages each operation has, if all are alike and not in order; else 0. */
function pagesOfAlike({ rows, runs, kind, iova, length, start }: Columns): number {
  if (runs !== null || rows < LEAST || iova.rows < rows || isInOrder(iova)) return 0;
  if (!isConstant(kind.data, kind.rows, 1)) return 0;
  const op = kind.data[0]! & OP_MASK;
  if (op !== UNMAP && (op !== MAP || ((kind.data[0]! >>> OP_BITS) & MAP_FIXED_IOVA) === 0)) return 0;
  const [high, low] = [length.data[0]!, length.data[1]!];
  if (high !== 0 || low % PAGE_SIZE !== 0 || low >= PAGES_OF_A_TABLE * PAGE_SIZE) return 0;
  if (!isConstant(length.data, length.rows, 2) || (op === MAP && !isOfPages(start))) return 0;
  return low / PAGE_SIZE;
}

function isInOrder(iova: Words): boolean {
  let descents = 0;
  for (let row = 1; row < FIRST; row++) if (pageAt(iova, row) < pageAt(iova, row - 1)) descents++;
  return descents * IN_A_ROW < FIRST;
}

function isConstant(data: Numbers['data'] | Words['data'], rows: number, width: number): boolean {
  for (let at = width; at < rows * width; at++) if (data[at] !== data[at - width]) return false;
  return true;
}

/** Whether all are multiples of a page below 2^52. */
function isOfPages({ data, rows }: Words): boolean {
  for (let at = 0; at < rows * 2; at += 2) if (data[at]! >= HIGH_PAGES || data[at + 1]! % PAGE_SIZE !== 0) return false;
  return true;
}

const pageAt = ({ data }: Words, row: number): number => pageOf(data[row * 2]!, data[row * 2 + 1]!);

/** The rows as they come, in `pairs`; null: they lie too far from one another, or not at pages. */
function orderOf(iova: Words, pairs: Pairs): Order | null {
  if (!isOfPages(iova)) return null;
  let lowest = Number.POSITIVE_INFINITY;
  let highest = 0;
  for (let row = 0; row < iova.rows; row++) {
    const page = pageAt(iova, row);
    if (page < lowest) lowest = page;
    if (page > highest) highest = page;
  }
  if (highest - lowest >= WORD) return null;
  const { above, rows } = pairs;
  for (let row = 0; row < iova.rows; row++) {
    above[row] = pageAt(iova, row) - lowest;
    rows[row] = row;
  }
  return { lowest, highest, ...pairs };
}

/** Sorts by one digit after the other, from the lowest on, and yields after so many rows. Returns the order, and what is free then. */
function* sort({ lowest, highest, ...pairs }: Order, spare: Pairs, pause: number): Generator<void, [Order, Pairs]> {
  let [from, to] = [pairs as Pairs, spare];
  const count = from.rows.length;
  const most = highest - lowest;
  for (let shift = 0; shift < 32 && most >>> shift > 0; shift += DIGIT_BITS) {
    const places = placesOf(from.above, shift);
    for (let first = 0; first < count; first += pause) {
      scatter(from, to, shift, places, first, Math.min(first + pause, count));
      yield;
    }
    [from, to] = [to, from];
  }
  return [{ lowest, highest, ...from }, to];
}

/** Where the first row with each digit goes. */
function placesOf(above: Uint32Array, shift: number): Uint32Array {
  const places = new Uint32Array(DIGITS + 1);
  for (let at = 0; at < above.length; at++) places[((above[at]! >>> shift) & (DIGITS - 1)) + 1]!++;
  for (let digit = 1; digit < DIGITS; digit++) places[digit]! += places[digit - 1]!;
  return places;
}

function scatter(from: Pairs, to: Pairs, shift: number, places: Uint32Array, first: number, end: number): void {
  for (let at = first; at < end; at++) {
    const above = from.above[at]!;
    const place = places[(above >>> shift) & (DIGITS - 1)]!++;
    to.above[place] = above;
    to.rows[place] = from.rows[at]!;
  }
}

/** Sorted operations of so many pages each; null: some lie where others do. */
function alikeOf({ lowest, highest, above }: Order, pages: number): Alike | null {
  let spans = 2;
  for (let at = 1; at < above.length; at++) {
    if (above[at]! - above[at - 1]! < pages) return null;
    if (spanOf(lowest + above[at]!) !== spanOf(lowest + above[at - 1]!)) spans += 2;
  }
  return { pages, first: lowest, last: highest + pages - 1, count: above.length, spans };
}

const spanOf = (page: number): number => Math.floor(page / PAGES_OF_A_TABLE);

/** Puts what each row has into their new order, and yields after so many rows. `before`: memory for what they have, two words each. */
function* arrange(column: Words, rows: Uint32Array, before: Uint32Array, pause: number): Generator<void> {
  before.set(column.data.subarray(0, rows.length * 2));
  for (let from = 0; from < rows.length; from += pause) {
    gather(before, column.data, rows, from, Math.min(from + pause, rows.length));
    yield;
  }
  column.step = Number.NaN;
}

function gather(from: Uint32Array, to: Uint32Array, rows: Uint32Array, first: number, end: number): void {
  for (let at = first; at < end; at++) {
    to[at * 2] = from[rows[at]! * 2]!;
    to[at * 2 + 1] = from[rows[at]! * 2 + 1]!;
  }
}
