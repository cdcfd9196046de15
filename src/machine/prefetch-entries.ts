import { ENTRIES } from './entry-run.ts';

const NO_TABLE = new Uint32Array(2 * ENTRIES);
/** Those that are about to be read. */
const tables: Uint32Array[] = [];

/**
 * Reads ahead the entries of the first `count` addresses (doubles, rounded), as far as their tables are among the lowest ones that have
 * been used: `PageTable` has them in groups, and leaves of 2^`minShift` bytes. So several accesses to memory go on at a time. Nothing
 * changes: the number that is returned has to be kept somewhere, since what nobody uses would not be read.
 */
export function prefetchEntries(
  lowest: ReadonlyMap<number, readonly (Uint32Array | null)[]>,
  minShift: number,
  addresses: Float64Array,
  count: number,
): number {
  const bytes = 2 ** minShift;
  let read = 0;
  for (let at = 0; at < count; at++) {
    const span = Math.floor(addresses[at]! / (bytes * ENTRIES));
    tables[at] = lowest.get(Math.floor(span / ENTRIES))?.[span & (ENTRIES - 1)] ?? NO_TABLE;
  }
  for (let at = 0; at < count; at++) {
    const entry = Math.floor(addresses[at]! / bytes) & (ENTRIES - 1);
    read ^= tables[at]![entry * 2]!;
    tables[at] = NO_TABLE;
  }
  return read;
}
