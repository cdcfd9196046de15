/** Which pages devices have written: GET_DIRTY_BITMAP in src/kernel/iommufd/hw-pagetable/README.md. */
import { least, type Range } from './base.ts';
import type { Domain, Ioas, Leaf } from './ioas.ts';

/** Up to the first hole. A leaf that begins before the range is cleared without a bit. */
export function dirtyBitmap(domain: Domain, space: Ioas, range: Range, size: bigint, clear: boolean): string {
  const bits = Number((range.last - range.start) / size) + 1;
  const bitmap = new Uint8Array(Math.ceil(bits / 64) * 8);
  const found = new Set<Leaf>();
  for (let cursor = range.start; cursor <= range.last; ) {
    const area = space.area(cursor);
    if (!area) break;
    const end = least(area.last, range.last);
    for (let unit = cursor / domain.unit; unit <= end / domain.unit; unit++) found.add(domain.table.get(unit)!.leaf);
    cursor = end + 1n;
  }
  for (const leaf of found) {
    if (!leaf.dirty) continue;
    if (clear) leaf.dirty = false;
    if (leaf.iova < range.start) continue;
    const last = Number((leaf.iova + leaf.bytes - 1n - range.start) / size);
    for (let bit = Number((leaf.iova - range.start) / size); bit <= last; bit++)
      if (bit < bitmap.length * 8) bitmap[bit >> 3]! |= 1 << (bit & 7);
  }
  return bitmap.toBase64();
}
