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
/** Below this many areas a loop is faster than `copyWithin`. */
const SHORT = 12;

export class AreaBlocks {
  private readonly _segments: Uint32Array[] = [];
  /** Areas of each block, and the place of the first, by block number. */
  private _counts = new Uint8Array(SEGMENT_BLOCKS);
  private _places = new Uint8Array(SEGMENT_BLOCKS);
  private _free: number[] = [];

  /** Bytes of typed arrays. */
  get bytes(): number {
    return this._segments.length * SEGMENT_BLOCKS * BLOCK_WORDS * 4 + this._counts.length * 2;
  }

  /** The words of the segment that holds a block. */
  words(block: number): Uint32Array {
    return this._segments[block >>> SEGMENT_SHIFT]!;
  }

  /** Where in them the first area of the block begins. */
  base(block: number): number {
    return (block & (SEGMENT_BLOCKS - 1)) * BLOCK_WORDS + this._places[block]! * WORDS;
  }

  count(block: number): number {
    return this._counts[block]!;
  }

  /** A new empty block, whose first area will be put at a place. */
  allocate(place: number): number {
    const block = this._free.pop() ?? this._grow();
    this._counts[block] = 0;
    this._places[block] = place;
    return block;
  }

  release(block: number): void {
    this._free.push(block);
  }

  /** Makes room for one area at a slot of a block that is not full. Answers where the block's areas begin then. */
  open(block: number, slot: number): number {
    const count = this._counts[block]!;
    const place = this._places[block]!;
    const base = (block & (SEGMENT_BLOCKS - 1)) * BLOCK_WORDS;
    this._counts[block] = count + 1;
    if (slot === count && place + count < BLOCK) return base + place * WORDS;
    if (slot === count || (slot * 2 <= count && place > 0) || place + count === BLOCK) {
      // The areas before the slot go down; where all of them do, as far as they can.
      const by = slot === count ? place : 1;
      this._places[block] = place - by;
      move(this.words(block), base + (place - by) * WORDS, base + place * WORDS, slot);
      return base + (place - by) * WORDS;
    }
    const by = slot === 0 ? BLOCK - place - count : 1;
    if (slot === 0) this._places[block] = place + by - 1;
    move(this.words(block), base + (place + slot + by) * WORDS, base + (place + slot) * WORDS, count - slot);
    return base + this._places[block]! * WORDS;
  }

  /** How many areas may be put behind the last one of a block without moving any. */
  roomBehind(block: number): number {
    return BLOCK - this._places[block]! - this._counts[block]!;
  }

  /** They have been put there. */
  extend(block: number, areas: number): void {
    this._counts[block]! += areas;
  }

  /** Takes `taken` areas out of a block, from a slot on. Answers where the block's areas begin then. */
  close(block: number, slot: number, taken: number): number {
    const count = this._counts[block]!;
    const place = this._places[block]!;
    const behind = count - slot - taken;
    this._counts[block] = count - taken;
    const base = (block & (SEGMENT_BLOCKS - 1)) * BLOCK_WORDS;
    if (slot <= behind) {
      this._places[block] = place + taken;
      move(this.words(block), base + (place + taken) * WORDS, base + place * WORDS, slot);
    } else move(this.words(block), base + (place + slot) * WORDS, base + (place + slot + taken) * WORDS, behind);
    return base + this._places[block]! * WORDS;
  }

  /** Gives the areas of a block from a slot on to a new one, which is answered. */
  split(block: number, slot: number): number {
    const count = this._counts[block]! - slot;
    const other = this.allocate((BLOCK - count) >>> 1);
    const from = this.base(block) + slot * WORDS;
    this.words(other).set(this.words(block).subarray(from, from + count * WORDS), this.base(other));
    this._counts[block] = slot;
    this._counts[other] = count;
    return other;
  }

  clear(): void {
    this._segments.length = 0;
    this._free = [];
  }

  private _grow(): number {
    const first = this._segments.length * SEGMENT_BLOCKS;
    this._segments.push(new Uint32Array(SEGMENT_BLOCKS * BLOCK_WORDS));
    if (first + SEGMENT_BLOCKS > this._counts.length) {
      this._counts = grown(this._counts);
      this._places = grown(this._places);
    }
    for (let block = first + SEGMENT_BLOCKS - 1; block > first; block--) this._free.push(block);
    return first;
  }
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
