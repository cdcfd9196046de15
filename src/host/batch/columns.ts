/**
 * What a batch is when it has been read: columns of typed arrays, a row for each operation, or for each run of them.
 * A column whose value is the same in all rows has one row only.
 */

export const MAP = 0;
export const MAP_FILE = 1;
export const UNMAP = 2;

/** Arrays of batches that are done, for those to come: new ones of that size make the garbage collector run often. */
const spare: Uint32Array<ArrayBuffer>[] = [];
const MOST_SPARE = 4;
const LEAST_WORDS = 1 << 15;
const MOST_WORDS = 1 << 20;

/** What is in it is not said. */
function takeRoom(words: number): Uint32Array<ArrayBuffer> {
  if (words >= LEAST_WORDS) {
    const found = spare.findIndex(({ length }) => length >= words && length <= words * 4);
    if (found >= 0) return spare.splice(found, 1)[0]!;
  }
  return new Uint32Array(words);
}

/** Nobody looks at these columns any more. */
export function giveBack({ iova, length, start }: Columns): void {
  for (const { data } of [iova, length, start])
    if (spare.length < MOST_SPARE && data.length >= LEAST_WORDS && data.length <= MOST_WORDS) spare.push(data);
}

/** A column of 64-bit numbers, high word first. */
export class Words {
  data: Uint32Array<ArrayBuffer>;
  /** Rows that have been written. */
  rows = 0;
  /** From each value to the next, where that is the same everywhere and known; else NaN. */
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

  /** Makes room for at least one more row; answers for how many rows there is room. */
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

/** `Words` or `Numbers` where every row counts, or one that stands for all rows. */
export interface Columns {
  rows: number;
  /** MAP, MAP_FILE or UNMAP, and the flags of the ioctl shifted by 2. */
  kind: Numbers;
  iova: Words;
  length: Words;
  /** Address in the process, or offset in the file. */
  start: Words;
  fd: Numbers;
  /** Of runs: how many operations, and how far IOVA and start go on from one to the next. */
  runs: { count: Numbers; stride: Words; startStride: Words } | null;
  /** Operations in all. */
  operations: number;
}

export const OP_BITS = 2;
export const OP_MASK = 3;
