/**
 * Finds mapped areas of an IOAS and walks through them. The cursor stays at one area, the current one, or before all of
 * them, until it is told to go elsewhere, so that nothing is allocated for what is found.
 */

import { big, highOf, lowOf, UMAX, WORD } from '../../../machine/address.ts';
import { AreaBlocks, IOVA, LAST, META, START, WORDS } from './area-blocks.ts';
import { AreaGaps } from './area-gaps.ts';
import { AreaIndex } from './area-index.ts';
import { prefetchAreas } from './area-prefetch.ts';

export const ACCESS_BITS = 2;
const ACCESS_MASK = 3;

/** What an area is, for code that is not hot. */
export interface Area {
  readonly iova: bigint;
  readonly last: bigint;
  readonly start: bigint;
  /** READ | WRITE of the page table. */
  readonly access: number;
  /** Number of its source in the IOAS. */
  readonly source: number;
}

/** Below this value a key is the IOVA itself, not rounded. */
const EXACT = 2 ** 53;

export class AreaCursor {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _slot: () => -1, _words: () => new Uint32Array(0), _base: () => 0, _count: () => 0 };

  protected readonly _blocks = new AreaBlocks();
  protected readonly _index = new AreaIndex();
  protected readonly _gaps = new AreaGaps(this._blocks, this._index.groups);
  protected _size = 0;
  /** The current area in the block that the index is at; -1: before all areas. */
  protected _slot = -1;
  /**
   * The block that the index is at: words of its segment, where its first area begins there, and how many areas it has.
   */
  protected _words: Uint32Array = new Uint32Array(0);
  protected _base = 0;
  protected _count = 0;

  get size(): number {
    return this._size;
  }

  /** Bytes of the typed arrays. */
  get bytes(): number {
    return this._blocks.bytes + this._index.bytes;
  }

  /** Where the areas lie, for whoever looks whether all of it agrees. */
  get parts(): { blocks: AreaBlocks; index: AreaIndex; gaps: AreaGaps } {
    return { blocks: this._blocks, index: this._index, gaps: this._gaps };
  }

  // ---- searching -------------------------------------------------------------------------------------------------

  /** Goes to the last area that begins at or before the IOVA; false if none does. */
  seek(high: number, low: number): boolean {
    const key = high * WORD + low;
    const index = this._index;
    // Most searches end in the block where the last one did, and close to it.
    let likely = this._slot;
    if (!(key >= index.from && key < index.to)) {
      if (!this._search(key)) return false;
      // Areas of a block are likely to lie evenly.
      likely = Math.floor((this._count * (key - index.from)) / (index.to - index.from));
    }
    this._slot = this._find(high, low, key, Math.min(Math.max(likely, 0), this._count - 1));
    // Keys are rounded beyond 2^53: this may be the block behind the right one.
    if (key === index.from) while (this._slot >= 0 && this._beginsBehind(this._slot, high, low)) this._stepBack();
    return this._slot >= 0;
  }

  /** Goes to the last block whose first area has a key that is not above this one; false if there is none. */
  private _search(key: number): boolean {
    this._slot = -1;
    if (this._size === 0) return false;
    const found = this._index.find(key);
    this._enter();
    return found;
  }

  /** Reads ahead what `seek` looks at for the first `count` keys, IOVAs rounded to doubles; see `prefetchAreas`. */
  prefetch(keys: Float64Array, count: number): number {
    return prefetchAreas(this._index, this._blocks, keys, count);
  }

  private _beginsBehind(slot: number, high: number, low: number): boolean {
    const at = this._base + slot * WORDS;
    const first = this._words[at]!;
    return first > high || (first === high && this._words[at + 1]! > low);
  }

  /**
   * Returns the slot of the last area of the current block that begins at or before the IOVA; 0 if none does. The search
   * goes area by area from `likely` on, since a block is short.
   */
  private _find(high: number, low: number, key: number, likely: number): number {
    let slot = likely;
    if (key < EXACT) {
      const words = this._words;
      let at = this._base + slot * WORDS;
      if (words[at]! * WORD + words[at + 1]! <= key) {
        const last = this._base + (this._count - 1) * WORDS;
        while (at < last && words[at + WORDS]! * WORD + words[at + WORDS + 1]! <= key) at += WORDS;
      } else {
        do at -= WORDS;
        while (at > this._base && words[at]! * WORD + words[at + 1]! > key);
        if (at < this._base) at = this._base;
      }
      return (at - this._base) / WORDS;
    }
    while (slot > 0 && this._beginsBehind(slot, high, low)) slot--;
    while (slot + 1 < this._count && !this._beginsBehind(slot + 1, high, low)) slot++;
    return slot;
  }

  /** Goes to the first area of all; false if there is none. */
  seekFirst(): boolean {
    this._slot = -1;
    if (this._size === 0) return false;
    this._index.goTo(0, 0);
    this._enter();
    this._slot = 0;
    return true;
  }

  /** Goes to the area behind the current one (or to the first, if before all); false at the end. */
  next(): boolean {
    if (this._size === 0) return false;
    if (this._slot + 1 < this._count) {
      this._slot++;
      return true;
    }
    if (!this._index.next()) return false;
    this._enter();
    this._slot = 0;
    return true;
  }

  /** Takes over the block that the index has moved to. */
  protected _enter(): void {
    const { block } = this._index;
    this._words = this._blocks.words(block);
    this._base = this._blocks.base(block);
    this._count = this._blocks.count(block);
    this._gaps.enter();
  }

  protected _stepBack(): void {
    if (--this._slot >= 0 || !this._index.previous()) return;
    this._enter();
    this._slot = this._count - 1;
  }

  // ---- the current area ------------------------------------------------------------------------------------------

  get iovaHigh(): number {
    return this._words[this._base + this._slot * WORDS + IOVA]!;
  }
  get iovaLow(): number {
    return this._words[this._base + this._slot * WORDS + IOVA + 1]!;
  }
  get lastHigh(): number {
    return this._words[this._base + this._slot * WORDS + LAST]!;
  }
  get lastLow(): number {
    return this._words[this._base + this._slot * WORDS + LAST + 1]!;
  }
  get startHigh(): number {
    return this._words[this._base + this._slot * WORDS + START]!;
  }
  get startLow(): number {
    return this._words[this._base + this._slot * WORDS + START + 1]!;
  }
  get access(): number {
    return this._words[this._base + this._slot * WORDS + META]! & ACCESS_MASK;
  }
  get source(): number {
    return this._words[this._base + this._slot * WORDS + META]! >>> ACCESS_BITS;
  }
  set source(source: number) {
    const at = this._base + this._slot * WORDS + META;
    this._words[at] = (source << ACCESS_BITS) | (this._words[at]! & ACCESS_MASK);
  }

  /** Whether the current area ends at or behind this IOVA. */
  reaches(high: number, low: number): boolean {
    const last = this.lastHigh;
    return last > high || (last === high && this.lastLow >= low);
  }

  area(): Area {
    return {
      iova: big(this.iovaHigh, this.iovaLow),
      last: big(this.lastHigh, this.lastLow),
      start: big(this.startHigh, this.startLow),
      access: this.access,
      source: this.source,
    };
  }

  /** Slot of the current area in its block. Setting it goes to another area of the block. */
  get slot(): number {
    return this._slot;
  }
  set slot(slot: number) {
    this._slot = slot;
  }
  get leftInBlock(): number {
    return this._count - this._slot;
  }

  // ---- for code that is not hot ----------------------------------------------------------------------------------

  *[Symbol.iterator](): Generator<Area> {
    yield* this.areas();
  }

  /** Areas in ascending order. The table may change meanwhile: each step looks anew. */
  *areas(): Generator<Area> {
    for (let area = this.first(0n, UMAX); area; area = this.after(area.iova)) yield area;
  }

  /** The first area that touches [start, last]. */
  first(start: bigint, last: bigint): Area | undefined {
    const found = this.seek(highOf(start), lowOf(start)) && this.reaches(highOf(start), lowOf(start));
    if (!found && !this.next()) return undefined;
    const area = this.area();
    return area.iova <= last ? area : undefined;
  }

  /** The first area that begins behind this IOVA. */
  after(iova: bigint): Area | undefined {
    this.seek(highOf(iova), lowOf(iova));
    return this.next() ? this.area() : undefined;
  }

  /** The area that contains this IOVA. */
  at(iova: bigint): Area | undefined {
    return this.first(iova, iova);
  }

  /** Holes between areas of at least `length` bytes, clipped to [start, last], ascending. */
  *holes(start: bigint, last: bigint, length: bigint): Generator<{ start: bigint; last: bigint }> {
    this.seek(highOf(start), lowOf(start));
    yield* this._gaps.holes(this._index.group, this._index.position, start, last, length);
  }

  /**
   * Returns the lowest IOVA in [start, last] where `length` bytes fit between areas, aligned to `alignment` bytes, with
   * `offset` or-ed in; -1 if there is none. All numbers are below 2^53.
   */
  fit(start: number, last: number, length: number, alignment: number, offset: number): number {
    const from = offset === 0 ? this._gaps.remembered(start, length, alignment) : start;
    if (from > last) return -1;
    this.seek(Math.floor(from / WORD), from % WORD);
    const place = this._gaps.fit(this._index.group, this._index.position, from, last, length, alignment, offset);
    // Nothing is known of what lies behind `last`: a longer range may have a place there.
    const none = place < 0 ? Math.max(from, last - length + 1) : place;
    if (offset === 0) this._gaps.remember(start, length, alignment, none);
    return place;
  }
}
