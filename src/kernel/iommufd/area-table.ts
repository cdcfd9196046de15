/**
 * The mapped areas of an IOAS: disjoint intervals of IOVA, ascending, in typed arrays. Areas lie in blocks, blocks in
 * groups, groups in a list: a tree of three levels. Finding, inserting and removing cost O(log n) and one short move,
 * and blocks and groups know the widest gap in front of their areas, so that a search for room skips what is too narrow,
 * where Linux's search for a free IOVA is linear.
 *
 * Addresses are pairs of 32-bit words, high and low, so that no bulk operation allocates. An area takes 28 bytes:
 * first IOVA, last IOVA, start (address in the process, or offset in the file), and a word with the number of its
 * source and its access.
 */
import { AreaBlocks, BLOCK, IOVA, LAST, META, START, WORDS } from './area-blocks.ts';
import { AreaGroup, GROUP } from './area-group.ts';

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

const big = (high: number, low: number): bigint => (BigInt(high) << 32n) | BigInt(low);
export const highOf = (value: bigint): number => Number(value >> 32n);
export const lowOf = (value: bigint): number => Number(value & 0xffffffffn);

const WORD = 2 ** 32;

/** The last of ascending keys that is not above this one; else the first. */
function lastAtMost(keys: Float64Array, count: number, key: number): number {
  let at = 0;
  for (let left = count; left > 1; ) {
    const half = left >>> 1;
    at += half * Number(keys[at + half]! <= key);
    left -= half;
  }
  return at;
}

function larger(keys: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  const copy = new Float64Array(keys.length * 2);
  copy.set(keys);
  return copy;
}

export class AreaTable {
  readonly #blocks = new AreaBlocks();
  #groups: AreaGroup[] = [];
  /** First IOVAs of the groups, as keys. */
  #firsts = new Float64Array(8);
  #size = 0;
  /** Where the last search ended: a group, a block of it, and an area of that (-1: before all areas). */
  #group = 0;
  #position = 0;
  #slot = -1;
  /** That block: its number, the words of its segment, and where its first area begins in them. */
  #block = 0;
  #words = new Uint32Array(0);
  #base = 0;

  get size(): number {
    return this.#size;
  }

  /** Bytes of typed arrays. */
  get bytes(): number {
    return this.#blocks.bytes + this.#groups.length * AreaGroup.BYTES;
  }

  // ---- searching -------------------------------------------------------------------------------------------------

  /** Goes to the last area that begins at or before the IOVA; false if none does. */
  seek(high: number, low: number): boolean {
    if (this.#size === 0) {
      this.#slot = -1;
      return false;
    }
    const key = high * WORD + low;
    // Most searches end in the block where the last one did.
    const { firsts, count } = this.#groups[this.#group]!;
    const next = this.#position + 1;
    const ends = next < count ? firsts[next]! > key : this.#group === this.#groups.length - 1;
    if (!(ends && firsts[this.#position]! < key)) {
      const group = lastAtMost(this.#firsts, this.#groups.length, key);
      this.#enter(group, lastAtMost(this.#groups[group]!.firsts, this.#groups[group]!.count, key));
    }
    this.#slot = this.#find(key);
    // A key is rounded beyond 2^53: what lies so close is compared word by word.
    while (this.#slot >= 0 && this.#beginsBehind(high, low)) this.#stepBack();
    return this.#slot >= 0;
  }

  #beginsBehind(high: number, low: number): boolean {
    const first = this.iovaHigh;
    return first > high || (first === high && this.iovaLow > low);
  }

  /** The last area of the current block whose key is not above this one; else the first. */
  #find(key: number): number {
    const words = this.#words;
    const base = this.#base;
    const count = this.#blocks.count(this.#block);
    const tail = base + (count - 1) * WORDS;
    if (words[tail]! * WORD + words[tail + 1]! <= key) return count - 1;
    const high = Math.floor(key / WORD);
    const low = key - high * WORD;
    let from = 1;
    let to = count - 1;
    while (from < to) {
      const middle = (from + to) >>> 1;
      const first = words[base + middle * WORDS]!;
      if (first < high || (first === high && words[base + middle * WORDS + 1]! <= low)) from = middle + 1;
      else to = middle;
    }
    return from - 1;
  }

  /** Goes to the first area of all; false if there is none. */
  seekFirst(): boolean {
    this.#slot = -1;
    if (this.#size === 0) return false;
    this.#enter(0, 0);
    this.#slot = 0;
    return true;
  }

  /** Goes to the area behind the current one (or to the first, if before all); false at the end. */
  next(): boolean {
    if (this.#size === 0) return false;
    if (this.#slot + 1 < this.#blocks.count(this.#block)) {
      this.#slot++;
      return true;
    }
    if (this.#position + 1 < this.#groups[this.#group]!.count) this.#enter(this.#group, this.#position + 1);
    else if (this.#group + 1 < this.#groups.length) this.#enter(this.#group + 1, 0);
    else return false;
    this.#slot = 0;
    return true;
  }

  /** Makes a block the current one. */
  #enter(group: number, position: number): void {
    this.#group = group;
    this.#position = position;
    this.#block = this.#groups[group]!.blocks[position]!;
    this.#words = this.#blocks.words(this.#block);
    this.#base = this.#blocks.base(this.#block);
  }

  // ---- the current area ------------------------------------------------------------------------------------------

  get iovaHigh(): number {
    return this.#words[this.#base + this.#slot * WORDS + IOVA]!;
  }
  get iovaLow(): number {
    return this.#words[this.#base + this.#slot * WORDS + IOVA + 1]!;
  }
  get lastHigh(): number {
    return this.#words[this.#base + this.#slot * WORDS + LAST]!;
  }
  get lastLow(): number {
    return this.#words[this.#base + this.#slot * WORDS + LAST + 1]!;
  }
  get startHigh(): number {
    return this.#words[this.#base + this.#slot * WORDS + START]!;
  }
  get startLow(): number {
    return this.#words[this.#base + this.#slot * WORDS + START + 1]!;
  }
  get access(): number {
    return this.#words[this.#base + this.#slot * WORDS + META]! & ACCESS_MASK;
  }
  get source(): number {
    return this.#words[this.#base + this.#slot * WORDS + META]! >>> ACCESS_BITS;
  }
  set source(source: number) {
    const at = this.#base + this.#slot * WORDS + META;
    this.#words[at] = (source << ACCESS_BITS) | (this.#words[at]! & ACCESS_MASK);
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

  /** Slot of the current area in its block, for `removeRun`, and how many areas the block has from there on. */
  get slot(): number {
    return this.#slot;
  }
  get leftInBlock(): number {
    return this.#blocks.count(this.#block) - this.#slot;
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
    this.#slot++;
    if (this.#size === 0) this.#addBlock(0, 0, 0);
    else if (this.#blocks.count(this.#block) === BLOCK) this.#makeRoom();
    const atEnd = this.#slot === this.#blocks.count(this.#block);
    this.#blocks.open(this.#block, this.#slot);
    this.#base = this.#blocks.base(this.#block);
    const words = this.#words;
    const at = this.#base + this.#slot * WORDS;
    words[at + IOVA] = iovaHigh;
    words[at + IOVA + 1] = iovaLow;
    words[at + LAST] = lastHigh;
    words[at + LAST + 1] = lastLow;
    words[at + START] = startHigh;
    words[at + START + 1] = startLow;
    words[at + META] = (source << ACCESS_BITS) | access;
    this.#size++;
    if (this.#slot === 0) this.#setFirst();
    this.#touch(atEnd);
  }

  /** The block is full: goes to one with room, and to the slot there. */
  #makeRoom(): void {
    if (this.#slot === 0) {
      // Descending work leaves full blocks behind, and so does ascending work.
      this.#addBlock(this.#group, this.#position, BLOCK - 1);
      return;
    }
    if (this.#slot < BLOCK) {
      const slot = this.#slot;
      const block = this.#block;
      const half = BLOCK >>> 1;
      const other = this.#blocks.split(block);
      const [group, position] = [this.#group, this.#position];
      this.#insertBlock(group, position + 1, other);
      this.#setFirst();
      this.#slot = slot - half;
      if (slot <= half) {
        this.#previousBlock();
        this.#slot = slot;
      }
      this.#touch(true);
      return;
    }
    const [group, position] = [this.#group, this.#position];
    this.#slot = BLOCK - 1;
    const more = this.next();
    if (more && this.#blocks.count(this.#block) < BLOCK) return;
    this.#slot = 0;
    this.#addBlock(group, position + 1, more ? BLOCK >>> 1 : 0);
  }

  /** A new block at a position of a group, its first area at a place; it becomes the current one. */
  #addBlock(group: number, position: number, place: number): void {
    if (this.#groups.length === 0) this.#groups.push(new AreaGroup());
    this.#insertBlock(group, position, this.#blocks.allocate(place));
  }

  #insertBlock(group: number, position: number, block: number): void {
    let to = group;
    let at = position;
    if (this.#groups[group]!.count === GROUP) {
      // Ascending work leaves full groups behind.
      const last = position === GROUP && group === this.#groups.length - 1;
      const other = last ? new AreaGroup() : this.#groups[group]!.split();
      this.#groups.splice(group + 1, 0, other);
      if (this.#groups.length > this.#firsts.length) this.#firsts = larger(this.#firsts);
      this.#firsts.copyWithin(group + 2, group + 1);
      this.#firsts[group + 1] = other.firsts[0]!;
      const left = this.#groups[group]!.count;
      if (position > left || last) {
        to++;
        at -= left;
      }
    }
    this.#groups[to]!.insert(at, block);
    this.#enter(to, at);
  }

  /** The first area of the current block is a new one. */
  #setFirst(): void {
    const key = this.#words[this.#base]! * WORD + this.#words[this.#base + 1]!;
    this.#groups[this.#group]!.firsts[this.#position] = key;
    if (this.#position === 0) this.#firsts[this.#group] = key;
  }

  #previousBlock(): void {
    if (this.#position > 0) this.#enter(this.#group, this.#position - 1);
    else this.#enter(this.#group - 1, this.#groups[this.#group - 1]!.count - 1);
  }

  /** Removes the current area, and goes to the one before it. */
  remove(): void {
    this.removeRun(this.#slot, 1);
  }

  /** Removes `taken` areas of the current block, from a slot on, and goes to the one before them. */
  removeRun(slot: number, taken: number): void {
    if (taken === 0) {
      this.#slot = slot;
      this.#stepBack();
      return;
    }
    const count = this.#blocks.count(this.#block);
    this.#size -= taken;
    if (taken === count) {
      this.#touch(true);
      this.#removeBlock();
      return;
    }
    this.#blocks.close(this.#block, slot, taken);
    this.#base = this.#blocks.base(this.#block);
    if (slot === 0) this.#setFirst();
    this.#touch(slot + taken === count);
    this.#slot = slot;
    this.#stepBack();
  }

  #stepBack(): void {
    if (--this.#slot >= 0 || (this.#position === 0 && this.#group === 0)) return;
    this.#previousBlock();
    this.#slot = this.#blocks.count(this.#block) - 1;
  }

  /** Removes the current block, and goes to the last area before it. */
  #removeBlock(): void {
    const group = this.#groups[this.#group]!;
    group.remove(this.#position);
    this.#blocks.release(this.#block);
    if (group.count === 0) {
      this.#groups.splice(this.#group, 1);
      this.#firsts.copyWithin(this.#group, this.#group + 1);
    } else if (this.#position === 0) this.#firsts[this.#group] = group.firsts[0]!;
    this.#slot = -1;
    if (this.#groups.length === 0) {
      this.#group = 0;
      return;
    }
    if (this.#position === 0 && this.#group === 0) {
      this.#enter(0, 0);
      return;
    }
    this.#previousBlock();
    this.#slot = this.#blocks.count(this.#block) - 1;
  }

  /** Ends the current area before an IOVA inside it; the rest becomes an area of its own, where the table goes. */
  cut(iova: bigint): void {
    const { iova: first, last, start, access, source } = this.area();
    const at = this.#base + this.#slot * WORDS + LAST;
    this.#words[at] = highOf(iova - 1n);
    this.#words[at + 1] = lowOf(iova - 1n);
    const rest = start + (iova - first);
    this.insertAfter(highOf(iova), lowOf(iova), highOf(last), lowOf(last), highOf(rest), lowOf(rest), source, access);
  }

  /** Forgets everything. */
  clear(): void {
    this.#blocks.clear();
    this.#groups = [];
    this.#size = 0;
    this.#group = 0;
    this.#position = 0;
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
    const wanted = Number(length);
    let cursor = start;
    if (this.#size > 0) {
      this.seek(highOf(start), lowOf(start));
      let position = this.#position;
      for (let group = this.#group; group < this.#groups.length; group++, position = 0) {
        const { blocks, count } = this.#groups[group]!;
        if (this.#widestOfGroup(group) < wanted) continue;
        for (; position < count; position++) {
          if (this.#widestOf(group, position) < wanted) continue;
          const before = this.#lastBefore(group, position) + 1n;
          if (before > cursor) cursor = before;
          const words = this.#blocks.words(blocks[position]!);
          const base = this.#blocks.base(blocks[position]!);
          for (let slot = 0; slot < this.#blocks.count(blocks[position]!); slot++) {
            const at = base + slot * WORDS;
            const first = big(words[at + IOVA]!, words[at + IOVA + 1]!);
            const end = first - 1n < last ? first - 1n : last;
            if (cursor <= end && end - cursor + 1n >= length) yield { start: cursor, last: end };
            if (first > last) return;
            const behind = big(words[at + LAST]!, words[at + LAST + 1]!) + 1n;
            if (behind > cursor) cursor = behind;
          }
        }
      }
      const behind = this.#lastBefore(this.#groups.length, 0) + 1n;
      if (behind > cursor) cursor = behind;
    }
    if (cursor <= last && last - cursor + 1n >= length) yield { start: cursor, last };
  }

  /** The last IOVA of the area before a block; -1 if there is none. */
  #lastBefore(group: number, position: number): bigint {
    const at = this.#endBefore(group, position);
    return at < 0 ? -1n : big(this.#endWords[at]!, this.#endWords[at + 1]!);
  }

  #endWords = new Uint32Array(0);

  /** Where in `#endWords`, which it sets, the last IOVA of the area before a block is; -1 if there is none. */
  #endBefore(group: number, position: number): number {
    if (group === 0 && position === 0) return -1;
    const { blocks, count } = this.#groups[position > 0 ? group : group - 1]!;
    const block = blocks[position > 0 ? position - 1 : count - 1]!;
    this.#endWords = this.#blocks.words(block);
    return this.#blocks.base(block) + (this.#blocks.count(block) - 1) * WORDS + LAST;
  }

  // ---- gaps ------------------------------------------------------------------------------------------------------

  /** The widest gap of the current block has to be measured again, and that of the next one if its neighbour changed. */
  #touch(atEnd: boolean): void {
    const group = this.#groups[this.#group]!;
    group.touch(this.#position);
    if (!atEnd) return;
    if (this.#position + 1 < group.count) group.touch(this.#position + 1);
    else this.#groups[this.#group + 1]?.touch(0);
  }

  #widestOfGroup(group: number): number {
    return this.#groups[group]!.widestOfAll((position) => this.#measure(group, position));
  }

  #widestOf(group: number, position: number): number {
    return this.#groups[group]!.widest(position, (at) => this.#measure(group, at));
  }

  /** Bytes of the widest gap in front of an area of the block, rounded up. */
  #measure(group: number, position: number): number {
    const before = this.#endBefore(group, position);
    let high = before < 0 ? 0 : this.#endWords[before]!;
    let low = before < 0 ? -1 : this.#endWords[before + 1]!;
    const block = this.#groups[group]!.blocks[position]!;
    const words = this.#blocks.words(block);
    const base = this.#blocks.base(block);
    let widest = 0;
    for (let slot = 0; slot < this.#blocks.count(block); slot++) {
      const at = base + slot * WORDS;
      const gap = (words[at + IOVA]! - high) * 2 ** 32 + (words[at + IOVA + 1]! - low - 1);
      if (gap > widest) widest = gap;
      high = words[at + LAST]!;
      low = words[at + LAST + 1]!;
    }
    return widest;
  }
}
