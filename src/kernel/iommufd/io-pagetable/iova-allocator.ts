/**
 * The IOVA that the kernel chooses (iopt_alloc_iova): the lowest one that fits, within the allowed ranges if there are
 * any, never in the first page, aligned as the length and the memory allow, with the memory's offset in its page.
 */
import { PAGE, UMAX } from '../../../machine/address.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { IovaRange } from '../../uapi/types.ts';
import { fitIn } from '../areas/area-gaps.ts';
import type { IoPagetable } from './io-pagetable.ts';
import { firstEndingAt } from './iova-space.ts';

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
/** A search that passes more ranges than this is remembered. */
const FEW = 8;

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
  const isExact = length < EXACT_LENGTH;
  const search = [Number(length), Number(alignment), Number(offset)] as const;
  const below = isExact ? chooseBelow(table, ...search) : -1;
  if (below >= 0) return BigInt(below);
  const none = refuse('ENOSPC', where, 'no hole is large enough; see IOMMU_IOAS_IOVA_RANGES');
  if (isExact && table.searchedBelow(...search) === Number.POSITIVE_INFINITY) return none;
  const spans = table.spans();
  for (let at = isExact ? firstEndingAt(BigInt(EXACT), spans) : 0; at < spans.length; at++) {
    const span = spans[at]!;
    const first = fit(span.start, span.last, length, alignment, offset);
    if (first === null) continue;
    for (const hole of holes(table, first, span.last, length)) {
      const iova = fit(hole.start, hole.last, length, alignment, offset);
      if (iova !== null) return iova;
    }
  }
  if (isExact) table.noteSearch(...search, Number.POSITIVE_INFINITY);
  return none;
}

/** Looks for an IOVA below 2^53, where numbers are exact; -1 if nothing fits there. */
function chooseBelow(table: IoPagetable, length: number, alignment: number, offset: number): number {
  const from = table.searchedBelow(length, alignment, offset);
  if (from >= EXACT) return -1;
  const spans = table.spans();
  let passed = 0;
  for (let at = from === 0 ? 0 : firstEndingAt(BigInt(from), spans); at < spans.length; at++, passed++) {
    const start = Number(spans[at]!.start);
    const last = Math.min(Number(spans[at]!.last), EXACT - 1);
    const first = fitIn(start, last, length, alignment, offset);
    if (first < 0) continue;
    for (const free of table.freeFrom(BigInt(Math.max(first, from)))) {
      const low = Number(free.start);
      if (low > last) break;
      const iova = chooseIn(table, Math.max(first, low), Math.min(last, Number(free.last)), length, alignment, offset);
      if (iova >= 0) {
        if (passed > FEW) table.noteSearch(length, alignment, offset, iova);
        return iova;
      }
      passed++;
    }
  }
  if (passed > FEW) table.noteSearch(length, alignment, offset, EXACT);
  return -1;
}

function chooseIn(
  { areas }: IoPagetable,
  from: number,
  to: number,
  length: number,
  alignment: number,
  offset: number,
): number {
  return from > to ? -1 : areas.fit(from, to, length, alignment, offset);
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

/** Holes of at least `length` bytes between areas and reserved ranges in [start, last], ascending. */
function* holes(table: IoPagetable, start: bigint, last: bigint, length: bigint): Generator<IovaRange> {
  for (const hole of table.areas.holes(start, last, length))
    for (const range of table.freeFrom(hole.start)) {
      if (range.start > hole.last) break;
      yield {
        start: range.start > hole.start ? range.start : hole.start,
        last: range.last < hole.last ? range.last : hole.last,
      };
    }
}
