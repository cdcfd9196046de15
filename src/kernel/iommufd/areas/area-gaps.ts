/**
 * The gaps between the areas of an IOAS, where there is room. Each block of areas, and each group of blocks, knows the
 * width of its widest gap and the smallest search that failed in it, so that a search passes over what is too narrow.
 * An insertion makes gaps narrower, so that this knowledge stays right; a removal makes it void.
 */
import { PAGE_SIZE, WORD } from '../../../machine/address.ts';
import { type AreaBlocks, IOVA, LAST, WORDS } from './area-blocks.ts';
import type { AreaGroup } from './area-group.ts';

/** What `_fitInBlock` returns where the range ends before a place was found. */
const BEYOND = -2;

/** How many ranges, and searches a range, are remembered. */
const MOST_REMEMBERED = 64;
const MOST_LENGTH = 2 ** 40;

/**
 * Returns the lowest IOVA in [start, last] where `length` bytes fit; -1 if none. A hole of one byte never fits, as in
 * Linux.
 */
export function fitIn(start: number, last: number, length: number, alignment: number, offset: number): number {
  const rounded = Math.ceil(start / alignment) * alignment;
  const inPage = rounded % PAGE_SIZE;
  const iova = rounded - inPage + (inPage | offset);
  return iova >= last || last - iova < length - 1 ? -1 : iova;
}

const big = (high: number, low: number): bigint => (BigInt(high) << 32n) | BigInt(low);

export class AreaGaps {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = {
    unmeasured: () => false,
    _bothUnmeasured: () => false,
    _none: () => new Map(),
    _cursor: () => 0,
    _endWords: () => new Uint32Array(0),
  };

  private readonly _blocks: AreaBlocks;
  private readonly _groups: AreaGroup[];
  /**
   * The gaps of the table's current block are known to be unknown, and (`_bothUnmeasured`) those of the next block,
   * too.
   */
  unmeasured = false;
  private _bothUnmeasured = false;
  /** By start of a range, then by length and alignment of a search: the IOVA below which that search finds nothing. */
  private readonly _none = new Map<number, Map<number, number>>();
  /** Where the gap begins that the search looks at. */
  private _cursor = 0;
  /** Words of the block in which `_endBefore` found an area. */
  private _endWords: Uint32Array = new Uint32Array(0);

  constructor(blocks: AreaBlocks, groups: AreaGroup[]) {
    this._blocks = blocks;
    this._groups = groups;
  }

  // ---- what the table tells --------------------------------------------------------------------------------------

  /** The table's current block is another one. */
  enter(): void {
    this.unmeasured = false;
    this._bothUnmeasured = false;
  }

  forget(): void {
    this._none.clear();
  }

  /** An area was added at the end of the current block: the gap in front of it counted as the next block's before. */
  noteLast(group: number, position: number): void {
    const blocks = this._groups[group]!;
    if (Number.isNaN(blocks.widest[position]!)) {
      this.unmeasured = true;
      return;
    }
    const block = blocks.blocks[position]!;
    const words = this._blocks.words(block);
    const at = this._blocks.base(block) + (this._blocks.count(block) - 1) * WORDS + IOVA;
    let before = at - WORDS + LAST;
    let end = words;
    if (this._blocks.count(block) === 1) {
      before = this._endBefore(group, position);
      end = this._endWords;
    }
    const [high, low] = before < 0 ? [0, -1] : [end[before]!, end[before + 1]!];
    blocks.widen(position, (words[at]! - high) * WORD + (words[at + 1]! - low - 1));
  }

  /** Areas were added to the current block: its gaps are unknown. */
  touch(group: number, position: number): void {
    this._groups[group]!.touch(position);
    this.unmeasured = true;
  }

  /** Areas of the current block are being removed: gaps join, the last one with the next block's first gap. */
  removed(group: number, position: number): void {
    if (this._none.size > 0) this._none.clear();
    if (this._bothUnmeasured) return;
    const blocks = this._groups[group]!;
    blocks.touch(position);
    if (position + 1 < blocks.count) blocks.touch(position + 1);
    else this._groups[group + 1]?.touch(0);
    this.unmeasured = true;
    this._bothUnmeasured = true;
  }

  // ---- searching -------------------------------------------------------------------------------------------------

  /**
   * Holes of at least `length` bytes in [start, last], ascending. `group` and `position`: the block of a seek to
   * `start`.
   */
  *holes(
    group: number,
    position: number,
    start: bigint,
    last: bigint,
    length: bigint,
  ): Generator<{ start: bigint; last: bigint }> {
    const wanted = Number(length);
    let cursor = start;
    for (let at = group, from = position; at < this._groups.length; at++, from = 0) {
      const { blocks, count } = this._groups[at]!;
      if (this._widestOfGroup(at) < wanted) continue;
      for (; from < count; from++) {
        if (this._widestOf(at, from) < wanted) continue;
        const before = this._behind(at, from);
        if (before > cursor) cursor = before;
        const words = this._blocks.words(blocks[from]!);
        const base = this._blocks.base(blocks[from]!);
        for (let slot = 0; slot < this._blocks.count(blocks[from]!); slot++) {
          const area = base + slot * WORDS;
          const first = big(words[area + IOVA]!, words[area + IOVA + 1]!);
          const end = first - 1n < last ? first - 1n : last;
          if (cursor <= end && end - cursor + 1n >= length) yield { start: cursor, last: end };
          if (first > last) return;
          const behind = big(words[area + LAST]!, words[area + LAST + 1]!) + 1n;
          if (behind > cursor) cursor = behind;
        }
      }
    }
    const behind = this._behind(this._groups.length, 0);
    if (behind > cursor) cursor = behind;
    if (cursor <= last && last - cursor + 1n >= length) yield { start: cursor, last };
  }

  /** Returns the IOVA behind the last area before a block; 0 if there is none. */
  private _behind(group: number, position: number): bigint {
    const at = this._endBefore(group, position);
    return at < 0 ? 0n : big(this._endWords[at]!, this._endWords[at + 1]!) + 1n;
  }

  /** AreaCursor.fit, from the block of a seek to `start` on. */
  fit(
    group: number,
    position: number,
    start: number,
    last: number,
    length: number,
    alignment: number,
    offset: number,
  ): number {
    this._cursor = start;
    for (let at = group, from = position; at < this._groups.length; at++, from = 0) {
      const blocks = this._groups[at]!;
      if (this._widestOfGroup(at) < length) continue;
      if (offset === 0 && blocks.misses(-1, length, alignment)) continue;
      let whole = from === 0;
      for (; from < blocks.count; from++) {
        if (this._widestOf(at, from) < length) continue;
        if (offset === 0 && blocks.misses(from, length, alignment)) continue;
        this._passBefore(at, from);
        // The range may begin within a gap, also within the one before a block: that says nothing of longer ranges.
        const cut = this._cursor === start;
        const place = this._fitInBlock(at, from, last, length, alignment, offset);
        if (place >= 0) return place;
        if (place === BEYOND) return -1;
        if (cut) whole = false;
        else if (offset === 0) blocks.noteMiss(from, length, alignment);
      }
      if (offset === 0 && whole) blocks.noteMiss(-1, length, alignment);
    }
    this._passBefore(this._groups.length, 0);
    return fitIn(this._cursor, last, length, alignment, offset);
  }

  /** Moves the search behind the last area before a block. */
  private _passBefore(group: number, position: number): void {
    const at = this._endBefore(group, position);
    if (at < 0) return;
    const behind = this._endWords[at]! * WORD + this._endWords[at + 1]! + 1;
    if (behind > this._cursor) this._cursor = behind;
  }

  /**
   * Returns the first place in the gaps of a block, from the cursor on, which is not before the block's first gap; -1 if
   * there is none, BEYOND if `last` comes first.
   */
  private _fitInBlock(
    group: number,
    position: number,
    last: number,
    length: number,
    alignment: number,
    offset: number,
  ): number {
    const block = this._groups[group]!.blocks[position]!;
    const words = this._blocks.words(block);
    let at = this._blocks.base(block);
    let cursor = this._cursor;
    for (const end = at + this._blocks.count(block) * WORDS; at < end; at += WORDS) {
      const first = words[at + IOVA]! * WORD + words[at + IOVA + 1]!;
      if (first - cursor >= length || first > last) {
        const place = fitIn(cursor, Math.min(first - 1, last), length, alignment, offset);
        if (place >= 0) return place;
        if (first > last) return BEYOND;
      }
      cursor = Math.max(cursor, words[at + LAST]! * WORD + words[at + LAST + 1]! + 1);
    }
    this._cursor = cursor;
    return -1;
  }

  /** All that `remembered` knows: in a range from `start` on, no such place is below `place`. */
  *known(): Generator<{ start: number; length: number; alignment: number; place: number }> {
    for (const [start, places] of this._none)
      for (const [key, place] of places)
        yield { start, length: Math.floor(key / 64), alignment: 2 ** (key % 64), place };
  }

  /** Returns the IOVA from which to search a range that begins at `start`: nothing fits below it. */
  remembered(start: number, length: number, alignment: number): number {
    const known = this._none.get(start)?.get(keyOf(length, alignment));
    return known === undefined ? start : known;
  }

  /** Notes that this search, in a range that begins at `start`, finds nothing below `place`. */
  remember(start: number, length: number, alignment: number, place: number): void {
    if (length > MOST_LENGTH) return;
    let known = this._none.get(start);
    if (known === undefined || known.size >= MOST_REMEMBERED) {
      if (this._none.size >= MOST_REMEMBERED) this._none.clear();
      known = new Map();
      this._none.set(start, known);
    }
    known.set(keyOf(length, alignment), place);
  }

  /**
   * Returns where the last IOVA of the area before a block is in `_endWords`, which it sets; -1 if there is no such
   * area.
   */
  private _endBefore(group: number, position: number): number {
    if (group === 0 && position === 0) return -1;
    const { blocks, count } = this._groups[position > 0 ? group : group - 1]!;
    const block = blocks[position > 0 ? position - 1 : count - 1]!;
    this._endWords = this._blocks.words(block);
    return this._blocks.base(block) + (this._blocks.count(block) - 1) * WORDS + LAST;
  }

  // ---- widths ----------------------------------------------------------------------------------------------------

  private _widestOfGroup(group: number): number {
    const { known, count } = this._groups[group]!;
    if (!Number.isNaN(known)) return known;
    let widest = 0;
    for (let position = 0; position < count; position++) widest = Math.max(widest, this._widestOf(group, position));
    this._groups[group]!.known = widest;
    return widest;
  }

  private _widestOf(group: number, position: number): number {
    const { widest } = this._groups[group]!;
    const known = widest[position]!;
    if (!Number.isNaN(known)) return known;
    widest[position] = this._measure(group, position);
    return widest[position]!;
  }

  /** Returns the bytes of the widest gap in front of an area of the block, rounded up. */
  private _measure(group: number, position: number): number {
    this.enter();
    const before = this._endBefore(group, position);
    let high = before < 0 ? 0 : this._endWords[before]!;
    let low = before < 0 ? -1 : this._endWords[before + 1]!;
    const block = this._groups[group]!.blocks[position]!;
    const words = this._blocks.words(block);
    const base = this._blocks.base(block);
    let widest = 0;
    for (let slot = 0; slot < this._blocks.count(block); slot++) {
      const at = base + slot * WORDS;
      const gap = (words[at + IOVA]! - high) * WORD + (words[at + IOVA + 1]! - low - 1);
      if (gap > widest) widest = gap;
      high = words[at + LAST]!;
      low = words[at + LAST + 1]!;
    }
    return widest;
  }
}

const keyOf = (length: number, alignment: number): number => length * 64 + Math.log2(alignment);
