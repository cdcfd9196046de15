/** The mapped areas of an IOAS: disjoint intervals of IOVA in ascending order. */
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

export class AreaList {
  #areas: Area[] = [];

  get size(): number {
    return this.#areas.length;
  }

  [Symbol.iterator](): Iterator<Area> {
    return this.#areas[Symbol.iterator]();
  }

  insert(area: Area): void {
    this.#areas.splice(this.#lowerBound(area.iova), 0, area);
  }

  remove(area: Area): void {
    const index = this.#lowerBound(area.iova);
    if (this.#areas[index] !== area) throw new Error('an area that is not listed is removed');
    this.#areas.splice(index, 1);
  }

  /** The first area that touches [start, last]. */
  first(start: bigint, last: bigint): Area | undefined {
    const index = this.#lowerBound(start);
    const left = this.#areas[index - 1];
    if (left && left.last >= start) return left;
    const right = this.#areas[index];
    return right && right.iova <= last ? right : undefined;
  }

  /** The first area that begins behind this IOVA. */
  after(iova: bigint): Area | undefined {
    return this.#areas[this.#lowerBound(iova + 1n)];
  }

  /** The area that contains this IOVA. */
  at(iova: bigint): Area | undefined {
    return this.first(iova, iova);
  }

  /** Number of the first area with iova at or behind. */
  #lowerBound(iova: bigint): number {
    let low = 0;
    let high = this.#areas.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#areas[middle]!.iova < iova) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
