/** What all parts of the model share. */

export const UMAX = 2n ** 64n - 1n;
export const PAGE = 4096n;

/** A call fails; `arg` is what the kernel writes all the same. */
export class Failure {
  readonly errno: string;
  readonly arg: Out | undefined;
  constructor(errno: string, arg?: Out) {
    this.errno = errno;
    this.arg = arg;
  }
}

export interface Range {
  start: bigint;
  last: bigint;
}

/** Outputs of an ioctl: numbers of 64 bits as bigint. */
export type Out = Record<string, number | bigint | string | Range[]>;

export const touches = (range: Range, start: bigint, last: bigint): boolean =>
  range.start <= last && range.last >= start;

export const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);
export const most = (a: bigint, b: bigint): bigint => (a > b ? a : b);

export const ascending = <T>(items: readonly T[], key: (item: T) => bigint): T[] =>
  items.toSorted((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
