/** Which leaf maps a piece of memory: the largest that its place, its address and its length allow. */
import type { TableFormat } from './table-walk.ts';

/** log2 of the bytes of the largest leaf that can begin at a unit. */
export function largestLeaf(
  { minShift, leafShifts }: TableFormat,
  unit: number,
  physical: number,
  units: number,
  maxShift: number,
): number {
  for (const shift of leafShifts) {
    if (shift > maxShift && shift !== minShift) continue;
    const size = 2 ** (shift - minShift);
    if (size <= units && unit % size === 0 && physical % 2 ** shift === 0) return shift;
  }
  return minShift;
}

/** How many units, at most `units`, lie before the place where a leaf larger than `than` can begin. */
export function unitsUntilLarger(
  { minShift, leafShifts }: TableFormat,
  unit: number,
  physical: number,
  units: number,
  than: number,
  maxShift: number,
): number {
  let until = units;
  for (const shift of leafShifts) {
    if (shift > maxShift || shift <= than) continue;
    const size = 2 ** (shift - minShift);
    const behind = unit % size;
    const begin = size - behind;
    if (behind > 0 && begin + size <= units && physical % 2 ** shift === behind * 2 ** minShift)
      until = Math.min(until, begin);
  }
  return until;
}
