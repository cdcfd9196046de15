/**
 * Where areas lie: blocks of a bounded number of areas, seven 32-bit words an area, in segments of typed arrays. The areas
 * of a block are contiguous but need not begin at its first place: room is made, and taken back, on the side where less
 * has to move, so that ascending and descending work moves nothing.
 */

/** Areas of a block at the most. */
export const BLOCK = 64;
/** Words of an area: first IOVA, last IOVA, start (high, low each), and its source with its access. */
export const WORDS = 7;
export const IOVA = 0;
export const LAST = 2;
export const START = 4;
export const META = 6;

const BLOCK_WORDS = BLOCK * WORDS;
/** Blocks of a segment: what is allocated at once, 28 KiB, so that a small IOAS stays small. */
const SEGMENT_BLOCKS = 16;
const SEGMENT_SHIFT = 4;
/** Behind so many of them a segment has more blocks: a few large ones are found faster than many small ones. */
const SMALL_SEGMENTS = 128;
const SMALL_BLOCKS = SMALL_SEGMENTS * SEGMENT_BLOCKS;
const LARGE_BLOCKS = 128;
const LARGE_SHIFT = 7;
/** Below this many areas a loop is faster than `copyWithin`. */
const SHORT = 12;

export class AreaBlocks {
  private readonly _segments: Uint32Array[] = [];
  /** Areas of each block, and the place of the first, beside each other, by block number. */
  private _shapes = new Uint8Array(SEGMENT_BLOCKS * 2);
  private _free: number[] = [];
  /** Blocks of all segments. */
  private _blocks = 0;

  /** Bytes of typed arrays. */
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

  /** The words of the segment that holds a block. */
  words(block: number): Uint32Array {
    const more = block - SMALL_BLOCKS;
    return this._segments[more < 0 ? block >>> SEGMENT_SHIFT : SMALL_SEGMENTS + (more >>> LARGE_SHIFT)]!;
  }

  /** Where in them the first area of the block begins. */
  base(block: number): number {
    return startOf(block) + this._shapes[block * 2 + 1]! * WORDS;
  }

  count(block: number): number {
    return this._shapes[block * 2]!;
  }

  /** A new empty block, whose first area will be put at a place. */
  allocate(place: number): number {
    const block = this._free.pop() ?? this._grow();
    this._shapes[block * 2] = 0;
    this._shapes[block * 2 + 1] = place;
    return block;
  }

  release(block: number): void {
    this._free.push(block);
  }

  /** Makes room for one area at a slot of a block that is not full. Answers where the block's areas begin then. */
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

  /** How many areas may be put behind the last one of a block without moving any. */
  roomBehind(block: number): number {
    return BLOCK - this._shapes[block * 2]! - this._shapes[block * 2 + 1]!;
  }

  /** They have been put there. */
  extend(block: number, areas: number): void {
    this._shapes[block * 2]! += areas;
  }

  /** Takes `taken` areas out of a block, from a slot on. Answers where the block's areas begin then. */
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

  /** Gives the areas of a block from a slot on to a new one, which is answered. */
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

/** Where in its segment a block begins. */
function startOf(block: number): number {
  const more = block - SMALL_BLOCKS;
  return (more < 0 ? block & (SEGMENT_BLOCKS - 1) : more & (LARGE_BLOCKS - 1)) * BLOCK_WORDS;
}

/** Moves areas within a segment. */
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
