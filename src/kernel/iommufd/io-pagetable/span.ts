/** Addresses of 64 bits as pairs of words, and the pages that they lie in. */
import type { Area } from '../areas/area-cursor.ts';

export const UMAX = 2n ** 64n - 1n;
export const PAGE = 4096n;
export const PAGE_SIZE = 4096;
export const PAGE_SHIFT = 12;
export const WORD = 2 ** 32;
/** Pages of a high word. */
export const HIGH_PAGES = 2 ** 20;

export const big = (high: number, low: number): bigint => (BigInt(high) << 32n) | BigInt(low);
export const highOf = (value: bigint): number => Number(value >> 32n);
export const lowOf = (value: bigint): number => Number(value & 0xffffffffn);

/** Addresses and lengths of a mapping as pairs of words. */
export interface Span {
  iovaHigh: number;
  iovaLow: number;
  lengthHigh: number;
  lengthLow: number;
  /** Address in the process, or offset in the file. */
  startHigh: number;
  startLow: number;
}

/** Single pages, by number: `stride` from one IOVA to the next, at least 1, and `startStride` in memory. Below 2^40. */
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

/** The last address of a range, as words. */
export const lastLowOf = (low: number, lengthLow: number): number => (low + lengthLow - 1) >>> 0;
export function lastHighOf(high: number, low: number, lengthHigh: number, lengthLow: number): number {
  const last = low + lengthLow - 1;
  return high + lengthHigh + (last >= WORD ? 1 : last < 0 ? -1 : 0);
}

export const below = (aHigh: number, aLow: number, bHigh: number, bLow: number): boolean =>
  aHigh < bHigh || (aHigh === bHigh && aLow < bLow);
export const hex = (high: number, low: number): string => `0x${big(high, low).toString(16)}`;

/** Number of the page of an address. */
export const pageOf = (high: number, low: number): number => high * HIGH_PAGES + (low >>> PAGE_SHIFT);

/** The same in units of `2 ** shift` bytes, of an address and of a length. */
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
