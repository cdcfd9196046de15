/**
 * The IOVA that the kernel chooses (iopt_alloc_iova): the lowest one that fits, within the allowed ranges if there are
 * any, never in the first page, aligned as the length and the memory allow, with the memory's offset in its page.
 */
import { PAGE, UMAX, WORD } from '../../../machine/address.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { IovaRange } from '../../uapi/types.ts';
import { fitIn } from '../areas/area-gaps.ts';
import type { IoPagetable } from './io-pagetable.ts';

/** Alignments beyond a huge page are not tried (transparent huge pages are built in). */
const ALIGNMENT_CAP = 2n * 1024n * 1024n;

function roundupPowerOfTwo(value: bigint): bigint {
  return 1n << BigInt((value - 1n).toString(2).length - (value === 1n ? 1 : 0));
}

/** Below this a double holds every integer. */
const EXACT = 2 ** 53;
const EXACT_LENGTH = 2n ** 52n;
const CAP = Number(ALIGNMENT_CAP);
const IN_PAGE = 4095;

/**
 * Does what `chooseIova` does for a length below 2^31, where only the low word of the address matters. Returns -1 if the
 * IOVA would not be below 2^53, or there is none: `chooseIova` tells then.
 */
export function chooseLowIova(table: IoPagetable, length: number, addressLow: number): number {
  let alignment = Math.min(length <= 1 ? 1 : 2 ** (32 - Math.clz32(length - 1)), CAP);
  const low = addressLow & (CAP - 1);
  if (low !== 0) alignment = Math.min(alignment, low & -low);
  if (alignment & table.mask) return -1;
  return chooseBelow(table, length, alignment, addressLow & IN_PAGE);
}

/**
 * iopt_alloc_iova: the lowest IOVA for `length` bytes (README.md has the steps). `address`: address in the process, offset
 * in the file, or source address of a copy. EOVERFLOW length, EINVAL alignment, ENOSPC.
 */
export function chooseIova(table: IoPagetable, address: bigint, length: bigint): bigint | Refusal {
  const where = 'iopt_alloc_iova';
  if (length >= UMAX / 2n) return refuse('EOVERFLOW', where, 'length is half of the address space or more');
  let alignment = roundupPowerOfTwo(length);
  if (address !== 0n) {
    const lowest = address & -address;
    if (lowest < alignment) alignment = lowest;
  }
  if (alignment > ALIGNMENT_CAP) alignment = ALIGNMENT_CAP;
  if (alignment < table.alignment)
    return refuse('EINVAL', where, `the memory is less aligned than the IOAS needs (${table.alignment})`);
  const offset = address % PAGE;
  const below = length < EXACT_LENGTH ? chooseBelow(table, Number(length), Number(alignment), Number(offset)) : -1;
  if (below >= 0) return BigInt(below);
  for (const span of spans(table)) {
    const first = fit(span.start, span.last, length, alignment, offset);
    if (first === null) continue;
    for (const hole of holes(table, first, span.last, length)) {
      const iova = fit(hole.start, hole.last, length, alignment, offset);
      if (iova !== null) return iova;
    }
  }
  return refuse('ENOSPC', where, 'no hole is large enough; see IOMMU_IOAS_IOVA_RANGES');
}

/** Looks for an IOVA below 2^53, where numbers are exact; -1 if nothing fits there. */
function chooseBelow(table: IoPagetable, length: number, alignment: number, offset: number): number {
  if (table.allowed.length === 0) return chooseIn(table, IN_PAGE + 1, EXACT - 1, length, alignment, offset);
  for (const { start, last } of spans(table)) {
    const end = Math.min(Number(last), EXACT - 1);
    const iova = chooseIn(table, Number(start), end, length, alignment, offset);
    if (iova >= 0) return iova;
  }
  return -1;
}

function chooseIn(
  table: IoPagetable,
  start: number,
  last: number,
  length: number,
  alignment: number,
  offset: number,
): number {
  const first = fitIn(start, last, length, alignment, offset);
  if (first < 0) return -1;
  for (const free of table.freeRanges()) {
    const from = Math.max(first, free.startHigh * WORD + free.startLow);
    const to = Math.min(last, free.lastHigh * WORD + free.lastLow);
    if (from > to) continue;
    const iova = table.areas.fit(from, to, length, alignment, offset);
    if (iova >= 0) return iova;
  }
  return -1;
}

/**
 * Returns the lowest IOVA in [start, last] where `length` bytes fit; null if none. A hole of one byte never fits, as in
 * Linux.
 */
function fit(start: bigint, last: bigint, length: bigint, alignment: bigint, offset: bigint): bigint | null {
  const rounded = ((start + alignment - 1n) / alignment) * alignment;
  if (rounded > UMAX) return null;
  const iova = rounded | offset;
  if (iova >= last || last - iova < length - 1n) return null;
  return iova;
}

/** All IOVAs but the first and the last page. */
const EVERYWHERE = [{ start: PAGE, last: UMAX - PAGE }] as const;

/** The ranges to look in: the allowed ones, adjacent ones joined, or all but the first and last page. */
function spans(table: IoPagetable): readonly IovaRange[] {
  if (table.allowed.length === 0) return EVERYWHERE;
  const [{ start: lowest, last: highest }] = EVERYWHERE;
  const joined: IovaRange[] = [];
  for (const { start, last } of table.allowed) {
    const left = joined[joined.length - 1];
    if (left && left.last + 1n === start) left.last = last;
    else joined.push({ start, last });
  }
  return joined
    .map(({ start, last }) => ({ start: start > lowest ? start : lowest, last: last < highest ? last : highest }))
    .filter(({ start, last }) => start <= last);
}

/** Holes of at least `length` bytes between areas and reserved ranges in [start, last], ascending. */
function* holes(table: IoPagetable, start: bigint, last: bigint, length: bigint): Generator<IovaRange> {
  const free = table.ranges();
  let next = 0;
  for (const hole of table.areas.holes(start, last, length)) {
    while (next < free.length && free[next]!.last < hole.start) next++;
    for (let i = next; i < free.length && free[i]!.start <= hole.last; i++) {
      const range = free[i]!;
      yield {
        start: range.start > hole.start ? range.start : hole.start,
        last: range.last < hole.last ? range.last : hole.last,
      };
    }
  }
}
