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
import { AreaGaps } from './area-gaps.ts';
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

export const big = (high: number, low: number): bigint => (BigInt(high) << 32n) | BigInt(low);
export const highOf = (value: bigint): number => Number(value >> 32n);
export const lowOf = (value: bigint): number => Number(value & 0xffffffffn);

const WORD = 2 ** 32;
/** Below it a key is the IOVA itself. */
const EXACT = 2 ** 53;
const PAGE_BYTES = 4096;
const PAGE_MASK = 4095;
/** Pages of a high word. */
const HIGH_PAGES = 2 ** 20;

const pageHigh = (page: number): number => Math.floor(page / HIGH_PAGES);
const pageLow = (page: number): number => (page * PAGE_BYTES) >>> 0;
/** How close to an end of a full block an insertion makes it be split there and not in the middle. */
const EDGE = 1;

/** From a guess on so many places are looked at, before the search begins that is right however keys lie. */
const CLOSE = 4;

/** The last of ascending keys that is not above this one; else the first. They are likely to lie evenly. */
function lastAtMost(keys: Float64Array, count: number, key: number): number {
  const first = keys[0]!;
  const guess = Math.floor(((count - 1) * (key - first)) / (keys[count - 1]! - first));
  let at = guess > 0 ? (guess < count ? guess : count - 1) : 0;
  const lowest = at - CLOSE;
  while (at > lowest && at > 0 && keys[at]! > key) at--;
  const highest = at + CLOSE;
  while (at < highest && at + 1 < count && keys[at + 1]! <= key) at++;
  if ((at === 0 || keys[at]! <= key) && (at + 1 === count || keys[at + 1]! > key)) return at;
  at = 0;
  for (let left = count; left > 1; ) {
    const half = left >>> 1;
    // Without a branch: where it goes cannot be predicted.
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
  private readonly _blocks = new AreaBlocks();
  private readonly _groups: AreaGroup[] = [];
  private readonly _gaps = new AreaGaps(this._blocks, this._groups);
  /** First IOVAs of the groups, as keys. */
  private _firsts = new Float64Array(8);
  private _size = 0;
  /** Where the last search ended: a group, a block of it, and an area of that (-1: before all areas). */
  private _group = 0;
  private _position = 0;
  private _slot = -1;
  /** That block: its number, the words of its segment, and where its first area begins in them. */
  private _block = 0;
  private _words: Uint32Array = new Uint32Array(0);
  private _base = 0;
  /** Its areas, the key of its first one, and that of the first one of the next block. NaN: there is no block. */
  private _count = 0;
  private _from = Number.NaN;
  private _to = Number.NaN;

  get size(): number {
    return this._size;
  }

  /** Bytes of typed arrays. */
  get bytes(): number {
    return this._blocks.bytes + this._groups.length * AreaGroup.BYTES;
  }

  // ---- searching -------------------------------------------------------------------------------------------------

  /** Goes to the last area that begins at or before the IOVA; false if none does. */
  seek(high: number, low: number): boolean {
    const key = high * WORD + low;
    // Most searches end in the block where the last one did, and close to it.
    let likely = this._slot;
    if (!(key >= this._from && key < this._to)) {
      if (!this._search(key)) return false;
      // Areas of a block are likely to lie evenly.
      likely = Math.floor((this._count * (key - this._from)) / (this._to - this._from));
    }
    this._slot = this._find(high, low, key, Math.min(Math.max(likely, 0), this._count - 1));
    // Keys are rounded beyond 2^53: this may be the block behind the right one.
    if (key === this._from) while (this._slot >= 0 && this._beginsBehind(this._slot, high, low)) this._stepBack();
    return this._slot >= 0;
  }

  /** Goes to the last block whose first area has a key that is not above this one; false if there is none. */
  private _search(key: number): boolean {
    this._slot = -1;
    if (this._size === 0) return false;
    if (key < this._firsts[0]!) {
      this._enter(0, 0);
      return false;
    }
    const group = lastAtMost(this._firsts, this._groups.length, key);
    this._enter(group, lastAtMost(this._groups[group]!.firsts, this._groups[group]!.count, key));
    return true;
  }

  private _beginsBehind(slot: number, high: number, low: number): boolean {
    const at = this._base + slot * WORDS;
    const first = this._words[at]!;
    return first > high || (first === high && this._words[at + 1]! > low);
  }

  /**
   * The last area of the current block that begins at or before the IOVA; if none does, the first. It is looked for from
   * a likely slot on, one by one: a block is short.
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
    this._enter(0, 0);
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
    if (this._position + 1 < this._groups[this._group]!.count) this._enter(this._group, this._position + 1);
    else if (this._group + 1 < this._groups.length) this._enter(this._group + 1, 0);
    else return false;
    this._slot = 0;
    return true;
  }

  /** Makes a block the current one. */
  private _enter(group: number, position: number): void {
    const { blocks, firsts, count } = this._groups[group]!;
    const block = blocks[position]!;
    this._group = group;
    this._position = position;
    this._block = block;
    this._words = this._blocks.words(block);
    this._base = this._blocks.base(block);
    this._count = this._blocks.count(block);
    this._from = firsts[position]!;
    if (position + 1 < count) this._to = firsts[position + 1]!;
    else this._to = group + 1 < this._groups.length ? this._firsts[group + 1]! : Number.POSITIVE_INFINITY;
    this._gaps.enter();
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

  /** Slot of the current area in its block, where the table can be told to go, and how many areas follow there. */
  get slot(): number {
    return this._slot;
  }
  set slot(slot: number) {
    this._slot = slot;
  }
  get leftInBlock(): number {
    return this._count - this._slot;
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
    this._slot++;
    if (this._size === 0) this._addBlock(0, 0, 0);
    else if (this._count === BLOCK) this._makeRoom();
    const slot = this._slot;
    this._base = this._blocks.open(this._block, slot);
    const words = this._words;
    const at = this._base + slot * WORDS;
    words[at + IOVA] = iovaHigh;
    words[at + IOVA + 1] = iovaLow;
    words[at + LAST] = lastHigh;
    words[at + LAST + 1] = lastLow;
    words[at + START] = startHigh;
    words[at + START + 1] = startLow;
    words[at + META] = (source << ACCESS_BITS) | access;
    this._size++;
    this._count++;
    if (slot === 0) this._setFirst();
    if (slot + 1 === this._count && !this._gaps.unmeasured) this._gaps.noteLast(this._group, this._position);
  }

  /**
   * Inserts areas of one page each behind the current one, `stride` pages from one to the next, and goes to the last of
   * them. No other area lies between them. Page numbers are below 2^40.
   */
  insertPages(
    page: number,
    stride: number,
    start: number,
    startStride: number,
    count: number,
    source: number,
    access: number,
  ): void {
    const meta = (source << ACCESS_BITS) | access;
    for (let done = 0; done < count; ) {
      const iova = page + done * stride;
      const from = start + done * startStride;
      const room = this._size > 0 && this._slot + 1 === this._count ? this._blocks.roomBehind(this._block) : 0;
      if (room === 0) {
        const low = pageLow(iova);
        this.insertAfter(
          pageHigh(iova),
          low,
          pageHigh(iova),
          low + PAGE_MASK,
          pageHigh(from),
          pageLow(from),
          source,
          access,
        );
        done++;
        continue;
      }
      const taken = Math.min(room, count - done);
      const words = this._words;
      let at = this._base + this._count * WORDS;
      for (let area = 0; area < taken; area++, at += WORDS) {
        const first = iova + area * stride;
        const memory = from + area * startStride;
        words[at + IOVA] = first / HIGH_PAGES;
        words[at + IOVA + 1] = first * PAGE_BYTES;
        words[at + LAST] = first / HIGH_PAGES;
        words[at + LAST + 1] = first * PAGE_BYTES + PAGE_MASK;
        words[at + START] = memory / HIGH_PAGES;
        words[at + START + 1] = memory * PAGE_BYTES;
        words[at + META] = meta;
      }
      this._blocks.extend(this._block, taken);
      this._count += taken;
      this._size += taken;
      this._slot += taken;
      if (!this._gaps.unmeasured) this._gaps.touch(this._group, this._position);
      done += taken;
    }
  }

  /** The block is full: goes to one with room, and to the slot there. */
  private _makeRoom(): void {
    if (this._slot === 0) {
      // Descending work leaves full blocks behind, and so does ascending work.
      this._addBlock(this._group, this._position, BLOCK - 1);
      return;
    }
    if (this._slot < BLOCK) {
      const slot = this._slot;
      // Close to an end it is likely to be work in one direction, again.
      const from = slot <= EDGE || slot >= BLOCK - EDGE ? slot : BLOCK >>> 1;
      const other = this._blocks.split(this._block, from);
      this._insertBlock(this._group, this._position + 1, other);
      this._setFirst();
      this._slot = slot - from;
      if (slot <= from) {
        this._previousBlock();
        this._slot = slot;
      }
      return;
    }
    const [group, position] = [this._group, this._position];
    this._slot = BLOCK - 1;
    const more = this.next();
    if (more && this._count < BLOCK) return;
    this._slot = 0;
    this._addBlock(group, position + 1, more ? BLOCK >>> 1 : 0);
  }

  /** A new block at a position of a group, its first area at a place; it becomes the current one. */
  private _addBlock(group: number, position: number, place: number): void {
    if (this._groups.length === 0) this._groups.push(new AreaGroup());
    this._insertBlock(group, position, this._blocks.allocate(place));
  }

  private _insertBlock(group: number, position: number, block: number): void {
    let to = group;
    let at = position;
    if (this._groups[group]!.count === GROUP) {
      // Ascending work leaves full groups behind.
      const last = position === GROUP && group === this._groups.length - 1;
      const other = last ? new AreaGroup() : this._groups[group]!.split();
      this._groups.splice(group + 1, 0, other);
      if (this._groups.length > this._firsts.length) this._firsts = larger(this._firsts);
      this._firsts.copyWithin(group + 2, group + 1);
      this._firsts[group + 1] = other.firsts[0]!;
      const left = this._groups[group]!.count;
      if (position > left || last) {
        to++;
        at -= left;
      }
    }
    this._groups[to]!.insert(at, block);
    this._enter(to, at);
  }

  /** The first area of the current block is a new one. */
  private _setFirst(): void {
    const key = this._words[this._base]! * WORD + this._words[this._base + 1]!;
    this._groups[this._group]!.firsts[this._position] = key;
    if (this._position === 0) this._firsts[this._group] = key;
    this._from = key;
  }

  private _previousBlock(): void {
    if (this._position > 0) this._enter(this._group, this._position - 1);
    else this._enter(this._group - 1, this._groups[this._group - 1]!.count - 1);
  }

  /** Removes the current area, and goes to the one before it. */
  remove(): void {
    this.removeRun(this._slot, 1);
  }

  /** Removes `taken` areas of the current block, from a slot on, and goes to the one before them. */
  removeRun(slot: number, taken: number): void {
    if (taken === 0) {
      this._slot = slot;
      this._stepBack();
      return;
    }
    this._size -= taken;
    this._gaps.removed(this._group, this._position);
    if (taken === this._count) {
      this._removeBlock();
      return;
    }
    this._base = this._blocks.close(this._block, slot, taken);
    this._count -= taken;
    if (slot === 0) this._setFirst();
    this._slot = slot;
    this._stepBack();
  }

  private _stepBack(): void {
    if (--this._slot >= 0 || (this._position === 0 && this._group === 0)) return;
    this._previousBlock();
    this._slot = this._count - 1;
  }

  /** Removes the current block, and goes to the last area before it. */
  private _removeBlock(): void {
    const group = this._groups[this._group]!;
    group.remove(this._position);
    this._blocks.release(this._block);
    if (group.count === 0) {
      this._groups.splice(this._group, 1);
      this._firsts.copyWithin(this._group, this._group + 1);
    } else if (this._position === 0) this._firsts[this._group] = group.firsts[0]!;
    this._slot = -1;
    if (this._groups.length === 0) {
      this._forgetBlock();
      return;
    }
    if (this._position === 0 && this._group === 0) {
      this._enter(0, 0);
      return;
    }
    this._previousBlock();
    this._slot = this._count - 1;
  }

  /** Ends the current area before an IOVA inside it; the rest becomes an area of its own, where the table goes. */
  cut(iova: bigint): void {
    const { iova: first, last, start, access, source } = this.area();
    const at = this._base + this._slot * WORDS + LAST;
    this._words[at] = highOf(iova - 1n);
    this._words[at + 1] = lowOf(iova - 1n);
    const rest = start + (iova - first);
    this.insertAfter(highOf(iova), lowOf(iova), highOf(last), lowOf(last), highOf(rest), lowOf(rest), source, access);
  }

  /** Forgets everything. */
  clear(): void {
    this._blocks.clear();
    this._groups.length = 0;
    this._gaps.forget();
    this._size = 0;
    this._forgetBlock();
  }

  private _forgetBlock(): void {
    this._group = 0;
    this._position = 0;
    this._slot = -1;
    this._from = Number.NaN;
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
    this.seek(highOf(start), lowOf(start));
    yield* this._gaps.holes(this._group, this._position, start, last, length);
  }

  /**
   * The first place in [start, last] for `length` bytes between areas, aligned, with this offset in its page; -1 if there
   * is none. All numbers are below 2^53.
   */
  fit(start: number, last: number, length: number, alignment: number, offset: number): number {
    const from = offset === 0 ? this._gaps.remembered(start, length, alignment) : start;
    if (from > last) return -1;
    this.seek(Math.floor(from / WORD), from % WORD);
    const place = this._gaps.fit(this._group, this._position, from, last, length, alignment, offset);
    // Behind the last place in this range there may be one in a longer range.
    const none = place < 0 ? Math.max(from, last - length + 1) : place;
    if (offset === 0) this._gaps.remember(start, length, alignment, none);
    return place;
  }
}
