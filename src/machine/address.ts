/**
 * Addresses of 64 bits, and the pages that they lie in: a bigint at the edge; in bulk two words of 32 bits, or the number
 * of a page or unit, which a double holds exactly (a page: 52 bits). Only functions that return a bigint or a text
 * allocate.
 */

/** The last address. */
export const UMAX = 2n ** 64n - 1n;
export const PAGE = 4096n;
export const PAGE_SIZE = 4096;
export const PAGE_SHIFT = 12;
/** How many values a word has: what is carried from the low one is worth this much there. */
export const WORD = 2 ** 32;
/** How many pages of 4096 bytes one step of a high word is. */
export const HIGH_PAGES = 2 ** 20;

export const big = (high: number, low: number): bigint => (BigInt(high) << 32n) | BigInt(low);
export const highOf = (value: bigint): number => Number(value >> 32n);
export const lowOf = (value: bigint): number => Number(value & 0xffffffffn);

export const below = (aHigh: number, aLow: number, bHigh: number, bLow: number): boolean =>
  aHigh < bHigh || (aHigh === bHigh && aLow < bLow);

/** Low word of the last address of a range; `lastHighOf` is its high word, 2^32 if the range ends beyond 64 bits. */
export const lastLowOf = (low: number, lengthLow: number): number => (low + lengthLow - 1) >>> 0;
export function lastHighOf(high: number, low: number, lengthHigh: number, lengthLow: number): number {
  const last = low + lengthLow - 1;
  return high + lengthHigh + (last >= WORD ? 1 : last < 0 ? -1 : 0);
}

/** Number of the page that an address lies in. */
export const pageOf = (high: number, low: number): number => high * HIGH_PAGES + (low >>> PAGE_SHIFT);
/** The high and low word of the first address of a page. */
export const pageHigh = (page: number): number => Math.floor(page / HIGH_PAGES);
export const pageLow = (page: number): number => (page * PAGE_SIZE) >>> 0;
/** An address in units of `2 ** shift` bytes, rounded down. `shift` is at most 31. */
export const unitOf = (high: number, low: number, shift: number): number => high * 2 ** (32 - shift) + (low >>> shift);

/** An address or size in the form of answers. */
export const hex = (value: bigint | number): string => `0x${value.toString(16)}`;
export const hexOf = (high: number, low: number): string => hex(big(high, low));
/** The value of a hexadecimal string or safe integer of a request, which was checked at the edge. */
export const decodeU64 = (value: unknown): bigint => BigInt(value as string | number);
