/**
 * The IOVA that the kernel chooses (iopt_alloc_iova): the lowest one that fits, within the allowed ranges if there are
 * any, never in the first page, aligned as the length and the memory allow, with the memory's offset in its page.
 */
import { type Refusal, refuse } from '../errno.ts';
import type { IovaRange } from '../uapi/types.ts';
import { type IoPagetable, PAGE, UMAX } from './io-pagetable.ts';

/** Alignments beyond a huge page are not tried (transparent huge pages are built in). */
const ALIGNMENT_CAP = 2n * 1024n * 1024n;

function roundupPowerOfTwo(value: bigint): bigint {
  return 1n << BigInt((value - 1n).toString(2).length - (value === 1n ? 1 : 0));
}

/** `address`: user address, file offset, or the source address of a copy. EOVERFLOW, EINVAL alignment, ENOSPC. */
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

/** Where `length` bytes fit first in [start, last]; null if nowhere. A hole of one byte never fits, as in Linux. */
function fit(start: bigint, last: bigint, length: bigint, alignment: bigint, offset: bigint): bigint | null {
  const rounded = ((start + alignment - 1n) / alignment) * alignment;
  if (rounded > UMAX) return null;
  const iova = rounded | offset;
  if (iova >= last || last - iova < length - 1n) return null;
  return iova;
}

/** Where to look: the allowed ranges, adjacent ones as one, or all but the first and last page. */
function spans(table: IoPagetable): IovaRange[] {
  const lowest = PAGE;
  const highest = UMAX - PAGE;
  if (table.allowed.length === 0) return [{ start: lowest, last: highest }];
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

/** Holes of areas and reserved ranges in [start, last] that have `length` bytes, ascending. */
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
