/**
 * A batch that has been read: columns of typed arrays, with a row for each operation, or for each run of operations. A
 * column with the same value in all rows has one row only.
 */

export const MAP = 0;
export const MAP_FILE = 1;
export const UNMAP = 2;

/**
 * Arrays of batches that are done, kept for the next ones: new arrays of that size make the garbage collector run
 * often.
 */
const spare: Uint32Array<ArrayBuffer>[] = [];
const MOST_SPARE = 4;
const LEAST_WORDS = 1 << 15;
const MOST_WORDS = 1 << 20;

/** An array of at least `words` words, whose contents may be anything. */
export function takeRoom(words: number): Uint32Array<ArrayBuffer> {
  if (words >= LEAST_WORDS) {
    const found = spare.findIndex(({ length }) => length >= words && length <= words * 4);
    if (found >= 0) return spare.splice(found, 1)[0]!;
  }
  return new Uint32Array(words);
}

/** Keeps an array that nobody looks at any more. */
export function keepRoom(words: Uint32Array<ArrayBuffer>): void {
  if (spare.length < MOST_SPARE && words.length >= LEAST_WORDS && words.length <= MOST_WORDS) spare.push(words);
}

/** Keeps the arrays of columns that nobody looks at any more. */
export function giveBack({ iova, length, start }: Columns): void {
  for (const { data } of [iova, length, start]) keepRoom(data);
}

/** A column of 64-bit numbers, high word first. */
export class Words {
  data: Uint32Array<ArrayBuffer>;
  /** Rows that have been written. */
  rows = 0;
  /** The distance from each value to the next, if it is known to be the same everywhere; else NaN. */
  step = Number.NaN;

  constructor(capacity: number) {
    this.data = takeRoom(capacity * 2);
  }

  push(high: number, low: number): void {
    const at = this.rows * 2;
    if (at === this.data.length) this.data = grown(this.data, new Uint32Array(at * 2));
    this.data[at] = high;
    this.data[at + 1] = low;
    this.rows++;
  }

  /** Makes room for at least one more row. Returns for how many rows there is room. */
  reserve(): number {
    if (this.rows * 2 === this.data.length) this.data = grown(this.data, new Uint32Array(this.rows * 4));
    return this.data.length / 2;
  }

  pushBig(value: bigint): void {
    this.push(Number(value >> 32n), Number(value & 0xffffffffn));
  }

  big(row: number): bigint {
    return (BigInt(this.data[row * 2]!) << 32n) | BigInt(this.data[row * 2 + 1]!);
  }
}

/** A column of numbers that fit in 32 bits. */
export class Numbers {
  data: Int32Array<ArrayBuffer>;
  rows = 0;
  step = Number.NaN;

  constructor(capacity: number) {
    this.data = new Int32Array(capacity);
  }

  push(value: number): void {
    if (this.rows === this.data.length) this.data = grown(this.data, new Int32Array(this.rows * 2));
    this.data[this.rows++] = value;
  }
}

function grown<T extends Uint32Array | Int32Array>(old: T, larger: T): T {
  larger.set(old);
  return larger;
}

/** Each column has a value for every row, or one value that stands for all rows. */
export interface Columns {
  rows: number;
  /** MAP, MAP_FILE or UNMAP, and the flags of the ioctl shifted by 2. */
  kind: Numbers;
  iova: Words;
  length: Words;
  /** Address in the process, or offset in the file. */
  start: Words;
  fd: Numbers;
  /** In a batch of runs: how many operations each run has, and the bytes from one to the next, of IOVA and of start. */
  runs: { count: Numbers; stride: Words; startStride: Words } | null;
  /** Operations in all. */
  operations: number;
}

export const OP_BITS = 2;
export const OP_MASK = 3;
