/**
 * Where areas lie: blocks of a bounded number of areas, seven 32-bit words an area, in segments of typed arrays. The areas
 * of a block are contiguous but need not begin at its first place: room is made, and taken back, on the side where less
 * has to move, so that ascending and descending work moves nothing.
 */

/** The most areas that a block holds. */
export const BLOCK = 64;
/** Words of an area: first IOVA, last IOVA, start (high, low each), and its source with its access. */
export const WORDS = 7;
export const IOVA = 0;
export const LAST = 2;
export const START = 4;
export const META = 6;

const BLOCK_WORDS = BLOCK * WORDS;
/** Blocks of a segment. A segment is allocated at once: 28 KiB, so that a small IOAS stays small. */
const SEGMENT_BLOCKS = 16;
const SEGMENT_SHIFT = 4;
/** After this many small segments new ones are larger: a few large segments are found faster than many small ones. */
const SMALL_SEGMENTS = 128;
const SMALL_BLOCKS = SMALL_SEGMENTS * SEGMENT_BLOCKS;
const LARGE_BLOCKS = 128;
const LARGE_SHIFT = 7;
/** Up to this many areas are moved by a loop, which is faster than `copyWithin` then. */
const SHORT = 12;

export class AreaBlocks {
  private readonly _segments: Uint32Array[] = [];
  /** Two bytes a block, by block number: how many areas it has, and the place of the first one. */
  private _shapes = new Uint8Array(SEGMENT_BLOCKS * 2);
  private _free: number[] = [];
  /** How many blocks all segments have, used or free. */
  private _blocks = 0;

  /** Bytes of the typed arrays. */
  get bytes(): number {
    return this._blocks * BLOCK_WORDS * 4 + this._shapes.length;
  }

  /** Blocks that hold no areas. */
  get free(): readonly number[] {
    return this._free;
  }

  /** How many blocks there are, those without areas too. */
  get blocks(): number {
    return this._blocks;
  }

  /** The words of the segment that holds the block. */
  words(block: number): Uint32Array {
    const more = block - SMALL_BLOCKS;
    return this._segments[more < 0 ? block >>> SEGMENT_SHIFT : SMALL_SEGMENTS + (more >>> LARGE_SHIFT)]!;
  }

  /** Where the first area of the block begins in `words(block)`. */
  base(block: number): number {
    return startOf(block) + this._shapes[block * 2 + 1]! * WORDS;
  }

  count(block: number): number {
    return this._shapes[block * 2]!;
  }

  /** Returns the number of an empty block. Its first area will be at `place`, 0 to BLOCK - 1. */
  allocate(place: number): number {
    const block = this._free.pop() ?? this._grow();
    this._shapes[block * 2] = 0;
    this._shapes[block * 2 + 1] = place;
    return block;
  }

  release(block: number): void {
    this._free.push(block);
  }

  /**
   * Makes room for one area at `slot` of a block that is not full. Returns where the block's areas begin afterwards.
   */
  open(block: number, slot: number): number {
    const shape = block * 2;
    const count = this._shapes[shape]!;
    const place = this._shapes[shape + 1]!;
    const base = startOf(block);
    this._shapes[shape] = count + 1;
    if (slot === count && place + count < BLOCK) return base + place * WORDS;
    if (slot === count || (slot * 2 <= count && place > 0) || place + count === BLOCK) {
      // The areas before the slot go down; where all of them do, as far as they can.
      const by = slot === count ? place : 1;
      this._shapes[shape + 1] = place - by;
      move(this.words(block), base + (place - by) * WORDS, base + place * WORDS, slot);
      return base + (place - by) * WORDS;
    }
    const by = slot === 0 ? BLOCK - place - count : 1;
    const first = slot === 0 ? place + by - 1 : place;
    this._shapes[shape + 1] = first;
    move(this.words(block), base + (place + slot + by) * WORDS, base + (place + slot) * WORDS, count - slot);
    return base + first * WORDS;
  }

  /** How many areas fit behind the last one of a block without moving any. */
  roomBehind(block: number): number {
    return BLOCK - this._shapes[block * 2]! - this._shapes[block * 2 + 1]!;
  }

  /** Counts areas that the caller has written behind the last one. */
  extend(block: number, areas: number): void {
    this._shapes[block * 2]! += areas;
  }

  /** Removes `taken` areas of a block, from `slot` on. Returns where the block's areas begin afterwards. */
  close(block: number, slot: number, taken: number): number {
    const shape = block * 2;
    const count = this._shapes[shape]!;
    const place = this._shapes[shape + 1]!;
    const behind = count - slot - taken;
    this._shapes[shape] = count - taken;
    const base = startOf(block);
    if (slot <= behind) {
      this._shapes[shape + 1] = place + taken;
      move(this.words(block), base + (place + taken) * WORDS, base + place * WORDS, slot);
      return base + (place + taken) * WORDS;
    }
    move(this.words(block), base + (place + slot) * WORDS, base + (place + slot + taken) * WORDS, behind);
    return base + place * WORDS;
  }

  /** Moves the areas of a block from `slot` on to a new block, whose number it returns. */
  split(block: number, slot: number): number {
    const count = this._shapes[block * 2]! - slot;
    const other = this.allocate((BLOCK - count) >>> 1);
    const from = this.base(block) + slot * WORDS;
    this.words(other).set(this.words(block).subarray(from, from + count * WORDS), this.base(other));
    this._shapes[block * 2] = slot;
    this._shapes[other * 2] = count;
    return other;
  }

  clear(): void {
    this._segments.length = 0;
    this._blocks = 0;
    this._free = [];
  }

  private _grow(): number {
    const first = this._blocks;
    const more = first < SMALL_BLOCKS ? SEGMENT_BLOCKS : LARGE_BLOCKS;
    this._segments.push(new Uint32Array(more * BLOCK_WORDS));
    this._blocks += more;
    while (this._blocks * 2 > this._shapes.length) this._shapes = grown(this._shapes);
    for (let block = first + more - 1; block > first; block--) this._free.push(block);
    return first;
  }
}

/** Where a block begins in its segment, in words. */
function startOf(block: number): number {
  const more = block - SMALL_BLOCKS;
  return (more < 0 ? block & (SEGMENT_BLOCKS - 1) : more & (LARGE_BLOCKS - 1)) * BLOCK_WORDS;
}

/** Moves areas within a segment; `to` and `from` count words, and may overlap. */
function move(words: Uint32Array, to: number, from: number, areas: number): void {
  const count = areas * WORDS;
  if (areas > SHORT) words.copyWithin(to, from, from + count);
  else if (to < from) for (let at = 0; at < count; at++) words[to + at] = words[from + at]!;
  else for (let at = count - 1; at >= 0; at--) words[to + at] = words[from + at]!;
}

function grown(array: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(array.length * 2);
  larger.set(array);
  return larger;
}
