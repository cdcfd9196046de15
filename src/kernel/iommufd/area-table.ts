/**
 * The mapped areas of an IOAS: disjoint intervals of IOVA, ascending, in typed arrays. Areas live in blocks of a bounded
 * size; an index of the blocks is searched first. Finding, inserting and removing cost O(log n) and one short move, and
 * each block knows the widest gap in front of its areas, so that a search for room skips what is too narrow, where
 * Linux's search for a free IOVA is linear.
 *
 * Addresses are pairs of 32-bit words, high and low, so that no bulk operation allocates. An area takes 28 bytes:
 * first IOVA, last IOVA, start (address in the process, or offset in the file), and a word with the number of its
 * source and its access.
 */

export const ACCESS_BITS = 2;
const ACCESS_MASK = 3;

/** Areas of a block at the most; a fuller one is halved, or left full where areas come in ascending order. */
const BLOCK = 128;

/** Blocks of a segment: what is allocated at once, 14 KiB, so that a small IOAS stays small. */
const SEGMENT_BLOCKS = 4;
const SEGMENT_SHIFT = 2;

class Segment {
  readonly iova = new Uint32Array(SEGMENT_BLOCKS * BLOCK * 2);
  readonly last = new Uint32Array(SEGMENT_BLOCKS * BLOCK * 2);
  readonly start = new Uint32Array(SEGMENT_BLOCKS * BLOCK * 2);
  readonly meta = new Uint32Array(SEGMENT_BLOCKS * BLOCK);
}

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

const big = (high: number, low: number): bigint => (BigInt(high) << 32n) | BigInt(low);
export const highOf = (value: bigint): number => Number(value >> 32n);
export const lowOf = (value: bigint): number => Number(value & 0xffffffffn);

export class AreaTable {
  readonly #segments: Segment[] = [];
  /** Numbers of blocks in the order of their IOVAs, their first IOVAs, and their widest gaps (bytes, NaN: unknown). */
  #order = new Uint32Array(16);
  #firstHigh = new Uint32Array(16);
  #firstLow = new Uint32Array(16);
  #widest = new Float64Array(16);
  #blocks = 0;
  /** Areas of each block, by its number. */
  #counts = new Uint16Array(SEGMENT_BLOCKS);
  #freeBlocks: number[] = [];
  #size = 0;
  /** Where the last search ended: position of a block in the order, and of an area in the block (-1: before all). */
  #block = 0;
  #slot = -1;

  get size(): number {
    return this.#size;
  }

  /** Bytes of typed arrays. */
  get bytes(): number {
    return this.#segments.length * SEGMENT_BLOCKS * BLOCK * 28 + this.#order.length * 20 + this.#counts.length * 2;
  }

  // ---- searching -------------------------------------------------------------------------------------------------

  /** Goes to the last area that begins at or before the IOVA; false if none does. */
  seek(high: number, low: number): boolean {
    if (this.#size === 0) {
      this.#block = 0;
      this.#slot = -1;
      return false;
    }
    let block = this.#block;
    // Most searches end where the last one did, or in the next block.
    if (
      block >= this.#blocks ||
      !this.#begins(block, high, low) ||
      (block + 1 < this.#blocks && this.#begins(block + 1, high, low))
    ) {
      if (block + 2 < this.#blocks && this.#begins(block + 1, high, low) && !this.#begins(block + 2, high, low))
        block++;
      else {
        let from = 0;
        let to = this.#blocks;
        while (from < to) {
          const middle = (from + to) >>> 1;
          if (this.#begins(middle, high, low)) from = middle + 1;
          else to = middle;
        }
        block = from - 1;
      }
    }
    if (block < 0) {
      this.#block = 0;
      this.#slot = -1;
      return false;
    }
    const number = this.#order[block]!;
    const { iova } = this.#segments[number >>> SEGMENT_SHIFT]!;
    const base = (number & (SEGMENT_BLOCKS - 1)) * BLOCK;
    let from = 0;
    let to = this.#counts[number]!;
    // Appending: behind the last area of the block.
    const tail = (base + to - 1) * 2;
    if (iova[tail]! < high || (iova[tail] === high && iova[tail + 1]! <= low)) from = to;
    while (from < to) {
      const middle = (from + to) >>> 1;
      const at = (base + middle) * 2;
      if (iova[at]! < high || (iova[at] === high && iova[at + 1]! <= low)) from = middle + 1;
      else to = middle;
    }
    this.#block = block;
    this.#slot = from - 1;
    return true;
  }

  #begins(block: number, high: number, low: number): boolean {
    const first = this.#firstHigh[block]!;
    return first < high || (first === high && this.#firstLow[block]! <= low);
  }

  /** Goes to the first area of all; false if there is none. */
  seekFirst(): boolean {
    this.#block = 0;
    this.#slot = this.#size > 0 ? 0 : -1;
    return this.#size > 0;
  }

  /** Goes to the area behind the current one (or to the first, if before all); false at the end. */
  next(): boolean {
    if (this.#size === 0) return false;
    if (this.#slot + 1 < this.#counts[this.#order[this.#block]!]!) {
      this.#slot++;
      return true;
    }
    if (this.#block + 1 >= this.#blocks) return false;
    this.#block++;
    this.#slot = 0;
    return true;
  }

  // ---- the current area ------------------------------------------------------------------------------------------

  #segment(): Segment {
    return this.#segments[this.#order[this.#block]! >>> SEGMENT_SHIFT]!;
  }
  #index(): number {
    return (this.#order[this.#block]! & (SEGMENT_BLOCKS - 1)) * BLOCK + this.#slot;
  }
  get iovaHigh(): number {
    return this.#segment().iova[this.#index() * 2]!;
  }
  get iovaLow(): number {
    return this.#segment().iova[this.#index() * 2 + 1]!;
  }
  get lastHigh(): number {
    return this.#segment().last[this.#index() * 2]!;
  }
  get lastLow(): number {
    return this.#segment().last[this.#index() * 2 + 1]!;
  }
  get startHigh(): number {
    return this.#segment().start[this.#index() * 2]!;
  }
  get startLow(): number {
    return this.#segment().start[this.#index() * 2 + 1]!;
  }
  get access(): number {
    return this.#segment().meta[this.#index()]! & ACCESS_MASK;
  }
  get source(): number {
    return this.#segment().meta[this.#index()]! >>> ACCESS_BITS;
  }
  set source(source: number) {
    const { meta } = this.#segment();
    const index = this.#index();
    meta[index] = ((source << ACCESS_BITS) | (meta[index]! & ACCESS_MASK)) >>> 0;
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

  // ---- changing --------------------------------------------------------------------------------------------------

  /** Inserts behind the current area (that of a `seek` to the new one's IOVA or its last one), and goes there. */
  insertAfter(
    iovaHigh: number,
    iovaLow: number,
    lastHigh: number,
    lastLow: number,
    startHigh: number,
    startLow: number,
    source: number,
    access: number,
  ): void {
    if (this.#blocks === 0) this.#addBlock(0, iovaHigh, iovaLow);
    let number = this.#order[this.#block]!;
    let slot = this.#slot + 1;
    if (this.#counts[number] === BLOCK) {
      if (slot === BLOCK) {
        // Ascending insertion leaves full blocks behind.
        this.#addBlock(this.#block + 1, iovaHigh, iovaLow);
        this.#block++;
        slot = 0;
      } else {
        this.#split(this.#block);
        const left = this.#counts[this.#order[this.#block]!]!;
        if (slot > left) {
          this.#block++;
          slot -= left;
        }
      }
      number = this.#order[this.#block]!;
    }
    const segment = this.#segments[number >>> SEGMENT_SHIFT]!;
    const base = (number & (SEGMENT_BLOCKS - 1)) * BLOCK;
    const count = this.#counts[number]!;
    const at = base + slot;
    if (slot < count) move(segment, at + 1, at, count - slot);
    segment.iova[at * 2] = iovaHigh;
    segment.iova[at * 2 + 1] = iovaLow;
    segment.last[at * 2] = lastHigh;
    segment.last[at * 2 + 1] = lastLow;
    segment.start[at * 2] = startHigh;
    segment.start[at * 2 + 1] = startLow;
    segment.meta[at] = ((source << ACCESS_BITS) | access) >>> 0;
    this.#counts[number] = count + 1;
    this.#size++;
    this.#slot = slot;
    if (slot === 0) {
      this.#firstHigh[this.#block] = iovaHigh;
      this.#firstLow[this.#block] = iovaLow;
    }
    this.#touch(slot === count);
  }

  /** Removes the current area, and goes to the one before it. */
  remove(): void {
    const number = this.#order[this.#block]!;
    const segment = this.#segment();
    const at = this.#index();
    const count = this.#counts[number]! - 1;
    const atEnd = this.#slot === count;
    if (!atEnd) move(segment, at, at + 1, count - this.#slot);
    this.#counts[number] = count;
    this.#size--;
    if (count === 0) {
      this.#touch(true);
      this.#removeBlock(this.#block);
      this.#block--;
      if (this.#block < 0) {
        this.#block = 0;
        this.#slot = -1;
      } else this.#slot = this.#counts[this.#order[this.#block]!]! - 1;
      return;
    }
    if (this.#slot === 0) {
      const first = (number & (SEGMENT_BLOCKS - 1)) * BLOCK * 2;
      this.#firstHigh[this.#block] = segment.iova[first]!;
      this.#firstLow[this.#block] = segment.iova[first + 1]!;
    }
    this.#touch(atEnd);
    if (--this.#slot < 0 && this.#block > 0) {
      this.#block--;
      this.#slot = this.#counts[this.#order[this.#block]!]! - 1;
    }
  }

  /** Ends the current area before an IOVA inside it; the rest becomes an area of its own, where the table goes. */
  cut(iova: bigint): void {
    const { iova: first, last, start, access, source } = this.area();
    const segment = this.#segment();
    const at = this.#index();
    segment.last[at * 2] = highOf(iova - 1n);
    segment.last[at * 2 + 1] = lowOf(iova - 1n);
    const rest = start + (iova - first);
    this.insertAfter(highOf(iova), lowOf(iova), highOf(last), lowOf(last), highOf(rest), lowOf(rest), source, access);
  }

  /** Forgets everything. */
  clear(): void {
    this.#segments.length = 0;
    this.#freeBlocks = [];
    this.#blocks = 0;
    this.#counts.fill(0);
    this.#size = 0;
    this.#block = 0;
    this.#slot = -1;
  }

  // ---- for code that is not hot ----------------------------------------------------------------------------------

  *[Symbol.iterator](): Generator<Area> {
    yield* this.areas();
  }

  /** Areas in ascending order, as they are now. */
  *areas(): Generator<Area> {
    for (let area = this.first(0n, 2n ** 64n - 1n); area; area = this.after(area.iova)) yield area;
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

  /** Holes between areas, clipped to [start, last], ascending, as far as they have `length` bytes. */
  *holes(start: bigint, last: bigint, length: bigint): Generator<{ start: bigint; last: bigint }> {
    let cursor = start;
    this.seek(highOf(start), lowOf(start));
    const wanted = Number(length);
    for (let block = this.#block; block < this.#blocks && cursor <= last; block++) {
      const number = this.#order[block]!;
      const { iova, last: lasts } = this.#segments[number >>> SEGMENT_SHIFT]!;
      const base = (number & (SEGMENT_BLOCKS - 1)) * BLOCK;
      const count = this.#counts[number]!;
      const end = (base + count - 1) * 2;
      if (this.#widestOf(block) >= wanted)
        for (let slot = 0; slot < count; slot++) {
          const at = (base + slot) * 2;
          const first = big(iova[at]!, iova[at + 1]!);
          if (first > cursor) {
            const before = first - 1n < last ? first - 1n : last;
            if (cursor <= before && before - cursor + 1n >= length) yield { start: cursor, last: before };
            if (first > last) return;
          }
          const behind = big(lasts[at]!, lasts[at + 1]!);
          if (behind >= cursor) cursor = behind + 1n;
        }
      else {
        const behind = big(lasts[end]!, lasts[end + 1]!);
        if (behind >= cursor) cursor = behind + 1n;
      }
    }
    if (cursor <= last && last - cursor + 1n >= length) yield { start: cursor, last };
  }

  // ---- blocks ----------------------------------------------------------------------------------------------------

  /** The widest gap of the current block has to be computed again, and that of the next one if its neighbour changed. */
  #touch(atEnd: boolean): void {
    this.#widest[this.#block] = Number.NaN;
    if (atEnd && this.#block + 1 < this.#blocks) this.#widest[this.#block + 1] = Number.NaN;
  }

  /** Bytes of the widest gap in front of an area of the block, rounded up. */
  #widestOf(block: number): number {
    const known = this.#widest[block]!;
    if (!Number.isNaN(known)) return known;
    let high = 0;
    let low = -1;
    if (block > 0) {
      const before = this.#order[block - 1]!;
      const { last } = this.#segments[before >>> SEGMENT_SHIFT]!;
      const at = ((before & (SEGMENT_BLOCKS - 1)) * BLOCK + this.#counts[before]! - 1) * 2;
      high = last[at]!;
      low = last[at + 1]!;
    }
    const number = this.#order[block]!;
    const { iova, last } = this.#segments[number >>> SEGMENT_SHIFT]!;
    const base = (number & (SEGMENT_BLOCKS - 1)) * BLOCK;
    let widest = 0;
    for (let slot = 0; slot < this.#counts[number]!; slot++) {
      const at = (base + slot) * 2;
      const gap = (iova[at]! - high) * 2 ** 32 + (iova[at + 1]! - low - 1);
      if (gap > widest) widest = gap;
      high = last[at]!;
      low = last[at + 1]!;
    }
    this.#widest[block] = widest;
    return widest;
  }

  #addBlock(position: number, firstHigh: number, firstLow: number): number {
    const number = this.#freeBlocks.pop() ?? this.#newBlock();
    if (this.#blocks === this.#order.length) this.#growIndex();
    const moved = this.#blocks - position;
    if (moved > 0) {
      this.#order.copyWithin(position + 1, position, this.#blocks);
      this.#firstHigh.copyWithin(position + 1, position, this.#blocks);
      this.#firstLow.copyWithin(position + 1, position, this.#blocks);
      this.#widest.copyWithin(position + 1, position, this.#blocks);
    }
    this.#order[position] = number;
    this.#firstHigh[position] = firstHigh;
    this.#firstLow[position] = firstLow;
    this.#widest[position] = Number.NaN;
    this.#counts[number] = 0;
    this.#blocks++;
    return number;
  }

  #newBlock(): number {
    const first = this.#segments.length * SEGMENT_BLOCKS;
    this.#segments.push(new Segment());
    if (first + SEGMENT_BLOCKS > this.#counts.length) this.#counts = grown(this.#counts, Uint16Array);
    for (let number = first + SEGMENT_BLOCKS - 1; number > first; number--) this.#freeBlocks.push(number);
    return first;
  }

  #growIndex(): void {
    this.#order = grown(this.#order, Uint32Array);
    this.#firstHigh = grown(this.#firstHigh, Uint32Array);
    this.#firstLow = grown(this.#firstLow, Uint32Array);
    this.#widest = grown(this.#widest, Float64Array);
  }

  #removeBlock(position: number): void {
    this.#freeBlocks.push(this.#order[position]!);
    this.#order.copyWithin(position, position + 1, this.#blocks);
    this.#firstHigh.copyWithin(position, position + 1, this.#blocks);
    this.#firstLow.copyWithin(position, position + 1, this.#blocks);
    this.#widest.copyWithin(position, position + 1, this.#blocks);
    this.#blocks--;
  }

  #split(position: number): void {
    const from = this.#order[position]!;
    const half = BLOCK >>> 1;
    const source = this.#segments[from >>> SEGMENT_SHIFT]!;
    const base = (from & (SEGMENT_BLOCKS - 1)) * BLOCK + half;
    const to = this.#addBlock(position + 1, source.iova[base * 2]!, source.iova[base * 2 + 1]!);
    const target = this.#segments[to >>> SEGMENT_SHIFT]!;
    const at = (to & (SEGMENT_BLOCKS - 1)) * BLOCK;
    target.iova.set(source.iova.subarray(base * 2, (base + half) * 2), at * 2);
    target.last.set(source.last.subarray(base * 2, (base + half) * 2), at * 2);
    target.start.set(source.start.subarray(base * 2, (base + half) * 2), at * 2);
    target.meta.set(source.meta.subarray(base, base + half), at);
    this.#counts[from] = half;
    this.#counts[to] = half;
    this.#widest[position] = Number.NaN;
  }
}

/** Moves areas within a segment. */
function move(segment: Segment, to: number, from: number, count: number): void {
  segment.iova.copyWithin(to * 2, from * 2, (from + count) * 2);
  segment.last.copyWithin(to * 2, from * 2, (from + count) * 2);
  segment.start.copyWithin(to * 2, from * 2, (from + count) * 2);
  segment.meta.copyWithin(to, from, from + count);
}

function grown<T extends Uint16Array | Uint32Array | Float64Array>(array: T, kind: new (length: number) => T): T {
  const larger = new kind(array.length * 2);
  larger.set(array);
  return larger;
}
