/** Addresses of 64 bits as pairs of words, and the pages that they lie in. */
import type { Area } from '../areas/area-cursor.ts';

export const UMAX = 2n ** 64n - 1n;
export const PAGE = 4096n;
export const PAGE_SIZE = 4096;
export const PAGE_SHIFT = 12;
export const WORD = 2 ** 32;
/** How many pages of 4096 bytes one step of a high word is. */
export const HIGH_PAGES = 2 ** 20;

export const big = (high: number, low: number): bigint => (BigInt(high) << 32n) | BigInt(low);
export const highOf = (value: bigint): number => Number(value >> 32n);
export const lowOf = (value: bigint): number => Number(value & 0xffffffffn);

/** First IOVA, length and start of a mapping, each as a pair of 32-bit words. */
export interface Span {
  iovaHigh: number;
  iovaLow: number;
  lengthHigh: number;
  lengthLow: number;
  /** Address in the process, or offset in the file. */
  startHigh: number;
  startLow: number;
}

/**
 * `count` mappings of one page each. All are page numbers below 2^40: `page` of the first IOVA, `start` of its memory;
 * `stride` (at least 1) and `startStride` lead to the next ones.
 */
export interface PageRow {
  page: number;
  stride: number;
  start: number;
  startStride: number;
  count: number;
}

export function span(iova: bigint, length: bigint, start: bigint): Span {
  return {
    iovaHigh: highOf(iova),
    iovaLow: lowOf(iova),
    lengthHigh: highOf(length),
    lengthLow: lowOf(length),
    startHigh: highOf(start),
    startLow: lowOf(start),
  };
}

/** Low word of the last address of a range; `lastHighOf` is its high word, 2^32 if the range ends beyond 64 bits. */
export const lastLowOf = (low: number, lengthLow: number): number => (low + lengthLow - 1) >>> 0;
export function lastHighOf(high: number, low: number, lengthHigh: number, lengthLow: number): number {
  const last = low + lengthLow - 1;
  return high + lengthHigh + (last >= WORD ? 1 : last < 0 ? -1 : 0);
}

export const below = (aHigh: number, aLow: number, bHigh: number, bLow: number): boolean =>
  aHigh < bHigh || (aHigh === bHigh && aLow < bLow);
export const hex = (high: number, low: number): string => `0x${big(high, low).toString(16)}`;

/** Number of the page that an address lies in. */
export const pageOf = (high: number, low: number): number => high * HIGH_PAGES + (low >>> PAGE_SHIFT);

/** An address in units of `2 ** shift` bytes, rounded down; `unitsOf`: a length. `shift` is at most 31. */
export const unitOf = (high: number, low: number, shift: number): number => high * 2 ** (32 - shift) + (low >>> shift);
export const unitsOf = ({ lengthHigh, lengthLow }: Span, shift: number): number => unitOf(lengthHigh, lengthLow, shift);

/** The last page, in the process or file, that a span touches. */
export function lastPage({ startHigh, startLow, lengthHigh, lengthLow }: Span): number {
  const offset = (startLow % PAGE_SIZE) + (lengthLow % PAGE_SIZE) - 1;
  return pageOf(startHigh, startLow) + pageOf(lengthHigh, lengthLow) + Math.floor(offset / PAGE_SIZE);
}

/** First and last page number, in the process or file, that an area touches. */
export function pageRange(area: Area): [number, number] {
  return [Number(area.start / PAGE), Number((area.start + (area.last - area.iova)) / PAGE)];
}
