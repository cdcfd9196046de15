/** The IOVA that the kernel chooses: src/kernel/iommufd/io-pagetable/README.md, step by step. */
import { ascending, Failure, least, most, PAGE, type Range, UMAX } from './base.ts';

const CAP = 0x200000n;

export interface Space {
  alignment: bigint;
  allowed: readonly Range[];
  /** Reserved ranges and areas, in any order. */
  taken: readonly Range[];
}

export function chooseIova(space: Space, address: bigint, length: bigint): bigint {
  if (length >= UMAX / 2n) throw new Failure('EOVERFLOW');
  let align = 1n;
  while (align < length) align *= 2n;
  if (address !== 0n) {
    let bit = 1n;
    while ((address & bit) === 0n) bit *= 2n;
    align = least(align, bit);
  }
  align = least(align, CAP);
  if (align < space.alignment) throw new Failure('EINVAL');
  const offset = address % PAGE;
  const fit = (start: bigint, last: bigint): bigint | null => {
    const rounded = ((start + align - 1n) / align) * align;
    if (rounded > UMAX) return null;
    const at = rounded | offset;
    return at >= last || last - at < length - 1n ? null : at;
  };
  const taken = ascending(space.taken, (range) => range.start);
  for (const span of spans(space.allowed)) {
    const first = fit(span.start, span.last);
    if (first === null) continue;
    let cursor = first;
    for (const block of taken) {
      if (block.last < cursor) continue;
      if (block.start > span.last) break;
      const found = block.start > cursor ? fit(cursor, block.start - 1n) : null;
      if (found !== null) return found;
      cursor = block.last + 1n;
    }
    const found = cursor <= span.last ? fit(cursor, span.last) : null;
    if (found !== null) return found;
  }
  throw new Failure('ENOSPC');
}

function spans(allowed: readonly Range[]): Range[] {
  const whole = { start: PAGE, last: UMAX - PAGE };
  if (allowed.length === 0) return [whole];
  const merged: Range[] = [];
  for (const range of ascending(allowed, ({ start }) => start)) {
    const left = merged.at(-1);
    if (left && left.last + 1n === range.start) left.last = range.last;
    else merged.push({ ...range });
  }
  return merged
    .map(({ start, last }) => ({ start: most(start, whole.start), last: least(last, whole.last) }))
    .filter(({ start, last }) => start <= last);
}
