/** The ranges of an IOAS: reserved ones, what they leave, and the allowed ones; and the alignment that all ask for. */
import type { IoPagetable } from '../../kernel/iommufd/io-pagetable/io-pagetable.ts';
import type { IovaRange } from '../../kernel/uapi/types.ts';
import { hex, highOf, lowOf, PAGE, UMAX } from '../../machine/address.ts';
import type { Findings } from './finding.ts';

export interface WordRange {
  startHigh: number;
  startLow: number;
  lastHigh: number;
  lastLow: number;
}

/** Returns the ranges that nothing reserves, ascending. */
export function checkRanges(iopt: IoPagetable, where: string, found: Findings): WordRange[] {
  let alignment = iopt.hugePages ? 1n : PAGE;
  for (const { minPage } of iopt.domains) if (minPage > alignment) alignment = minPage;
  for (const wanted of iopt.accesses.values()) if (wanted > alignment) alignment = wanted;
  found.same('alignment', where, alignment, iopt.alignment);
  found.same('mask of the alignment', where, Number(alignment) - 1, iopt.mask);
  for (const { start, last } of iopt.reserved)
    if (iopt.allowed.some((range) => range.start <= last && range.last >= start))
      found.note('allowed ranges', where, 'apart from reserved ones', `one touches ${start}-${last}`);
  const free = complement(iopt.reserved);
  if (iopt.knownRanges) found.same('ranges that are not reserved', where, tell(free), tell(iopt.knownRanges));
  return free.map(({ start, last }) => ({
    startHigh: highOf(start),
    startLow: lowOf(start),
    lastHigh: highOf(last),
    lastLow: lowOf(last),
  }));
}

function complement(ranges: readonly IovaRange[]): IovaRange[] {
  const free: IovaRange[] = [];
  let cursor = 0n;
  for (const { start, last } of [...ranges].sort((a, b) => (a.start < b.start ? -1 : 1))) {
    if (start > cursor) free.push({ start: cursor, last: start - 1n });
    if (last >= cursor) cursor = last + 1n;
  }
  if (cursor <= UMAX) free.push({ start: cursor, last: UMAX });
  return free;
}

const tell = (ranges: readonly IovaRange[]): string =>
  ranges.map(({ start, last }) => `${hex(start)}-${hex(last)}`).join(', ');
