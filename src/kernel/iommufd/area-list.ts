/**
 * The mapped areas of an IOAS: disjoint intervals of IOVA in ascending order, kept in blocks of a bounded size. Each
 * block knows the widest gap in front of one of its areas, so that a search for room skips what is too narrow: finding,
 * inserting and removing cost O(log n) comparisons and one short move, where Linux's search for a free IOVA is linear.
 */
import type { Pages } from './pages.ts';

export interface Area {
  iova: bigint;
  last: bigint;
  /** READ | WRITE of the page table. */
  access: number;
  pages: Pages;
  /** Address in the process, or offset in the file, of the first byte. */
  start: bigint;
  /** Hardware queues that live in it; unmapping is EBUSY. */
  locks: number;
}

interface Block {
  areas: Area[];
  /** Widest gap between an area of the block and the one before it; null: to be computed. */
  widest: bigint | null;
}

/** Areas of a block at the most; a fuller one is halved. */
const BLOCK_AREAS = 128;

export class AreaList {
  /** Never empty blocks, ascending. */
  #blocks: Block[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  *[Symbol.iterator](): Generator<Area> {
    for (const { areas } of this.#blocks) yield* areas;
  }

  insert(area: Area): void {
    this.#size++;
    if (this.#blocks.length === 0) {
      this.#blocks.push({ areas: [area], widest: null });
      return;
    }
    const at = Math.max(0, this.#blockOf(area.iova));
    const block = this.#blocks[at]!;
    const index = lowerBound(block.areas, area.iova);
    block.areas.splice(index, 0, area);
    block.widest = null;
    if (index === block.areas.length - 1) this.#touchNext(at);
    if (block.areas.length <= BLOCK_AREAS) return;
    const half = block.areas.splice(BLOCK_AREAS / 2);
    this.#blocks.splice(at + 1, 0, { areas: half, widest: null });
  }

  remove(area: Area): void {
    const at = this.#blockOf(area.iova);
    const block = this.#blocks[at];
    const index = block ? lowerBound(block.areas, area.iova) : 0;
    if (block?.areas[index] !== area) throw new Error('an area that is not listed is removed');
    this.#size--;
    block.areas.splice(index, 1);
    block.widest = null;
    if (index === block.areas.length) this.#touchNext(at);
    if (block.areas.length === 0) this.#blocks.splice(at, 1);
  }

  /** The first area that touches [start, last]. */
  first(start: bigint, last: bigint): Area | undefined {
    const at = this.#blockOf(start);
    const block = this.#blocks[at];
    if (block) {
      const index = lowerBound(block.areas, start + 1n) - 1;
      const left = block.areas[index];
      if (left && left.last >= start) return left;
      const right = block.areas[index + 1];
      if (right) return right.iova <= last ? right : undefined;
    }
    const next = this.#blocks[at + 1]?.areas[0];
    return next && next.iova <= last ? next : undefined;
  }

  /** The first area that begins behind this IOVA. */
  after(iova: bigint): Area | undefined {
    const at = this.#blockOf(iova);
    const block = this.#blocks[at];
    const right = block && block.areas[lowerBound(block.areas, iova + 1n)];
    return right ?? this.#blocks[at + 1]?.areas[0];
  }

  /** The area that contains this IOVA. */
  at(iova: bigint): Area | undefined {
    return this.first(iova, iova);
  }

  /** Holes between areas, clipped to [start, last], ascending, as far as they have `length` bytes. */
  *holes(start: bigint, last: bigint, length: bigint): Generator<{ start: bigint; last: bigint }> {
    let cursor = start;
    for (let at = Math.max(0, this.#blockOf(start)); at < this.#blocks.length; at++) {
      const { areas } = this.#blocks[at]!;
      if (areas[0]!.iova > last && cursor > last) return;
      if (this.#widest(at) >= length)
        for (const area of areas) {
          if (area.iova > cursor) {
            const end = area.iova - 1n < last ? area.iova - 1n : last;
            if (cursor <= end && end - cursor + 1n >= length) yield { start: cursor, last: end };
            if (area.iova > last) return;
          }
          if (area.last >= cursor) cursor = area.last + 1n;
        }
      else {
        const { last: end } = areas[areas.length - 1]!;
        if (end >= cursor) cursor = end + 1n;
      }
      if (cursor > last) return;
    }
    if (cursor <= last && last - cursor + 1n >= length) yield { start: cursor, last };
  }

  /** Index of the last block that begins at or before the IOVA; -1 if none does. */
  #blockOf(iova: bigint): number {
    let low = 0;
    let high = this.#blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#blocks[middle]!.areas[0]!.iova <= iova) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** The gap in front of the next block's first area has changed. */
  #touchNext(at: number): void {
    const next = this.#blocks[at + 1];
    if (next) next.widest = null;
  }

  #widest(at: number): bigint {
    const block = this.#blocks[at]!;
    if (block.widest !== null) return block.widest;
    const before = this.#blocks[at - 1]?.areas;
    let end = before ? before[before.length - 1]!.last : -1n;
    let widest = 0n;
    for (const area of block.areas) {
      const gap = area.iova - end - 1n;
      if (gap > widest) widest = gap;
      end = area.last;
    }
    block.widest = widest;
    return widest;
  }
}

/** Index of the first area that begins at or behind the IOVA. */
function lowerBound(areas: readonly Area[], iova: bigint): number {
  let low = 0;
  let high = areas.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (areas[middle]!.iova < iova) low = middle + 1;
    else high = middle;
  }
  return low;
}
