/** What a mapping is of, as pairs of words. */
import { highOf, lowOf, PAGE, PAGE_SIZE, pageOf, unitOf } from '../../../machine/address.ts';
import type { Area } from '../areas/area-cursor.ts';

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

/** The length in units of `2 ** shift` bytes; `shift` is at most 31. */
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
