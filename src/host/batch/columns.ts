/**
 * What a batch is when it has been read: columns of typed arrays, a row for each operation, or for each run of them.
 * A column whose value is the same in all rows has one row only.
 */

export const MAP = 0;
export const MAP_FILE = 1;
export const UNMAP = 2;

/** A column of 64-bit numbers, high word first. */
export class Words {
  data: Uint32Array<ArrayBuffer>;
  /** Rows that have been written. */
  rows = 0;

  constructor(capacity: number) {
    this.data = new Uint32Array(capacity * 2);
  }

  push(high: number, low: number): void {
    const at = this.rows * 2;
    if (at === this.data.length) this.data = grown(this.data, new Uint32Array(at * 2));
    this.data[at] = high;
    this.data[at + 1] = low;
    this.rows++;
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
