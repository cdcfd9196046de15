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

import { HIGH_PAGES, highOf, lowOf, PAGE_SIZE, pageHigh, pageLow, WORD } from '../../../machine/address.ts';
import { BLOCK, IOVA, LAST, META, START, WORDS } from './area-blocks.ts';
import { ACCESS_BITS, AreaCursor } from './area-cursor.ts';

const PAGE_MASK = 4095;
/** An insertion this close to an end of a full block splits it there, and not in the middle. */
const EDGE = 1;

export class AreaTable extends AreaCursor {
  /**
   * Inserts an area behind the current one, and goes to it. The current area is that of a `seek` to the new area's
   * first or last IOVA. `source`: its number in the IOAS; `access`: READ | WRITE.
   */
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
    this._base = this._blocks.open(this._index.block, slot);
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
    if (slot + 1 === this._count && !this._gaps.unmeasured)
      this._gaps.noteLast(this._index.group, this._index.position);
  }

  /**
   * Inserts `count` areas of one page each behind the current one, and goes to the last of them. `page` and `start` are
   * page numbers below 2^40, `stride` and `startStride` pages from one area to the next. No other area lies between
   * them.
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
      const room = this._size > 0 && this._slot + 1 === this._count ? this._blocks.roomBehind(this._index.block) : 0;
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
        words[at + IOVA + 1] = first * PAGE_SIZE;
        words[at + LAST] = first / HIGH_PAGES;
        words[at + LAST + 1] = first * PAGE_SIZE + PAGE_MASK;
        words[at + START] = memory / HIGH_PAGES;
        words[at + START + 1] = memory * PAGE_SIZE;
        words[at + META] = meta;
      }
      this._blocks.extend(this._index.block, taken);
      this._count += taken;
      this._size += taken;
      this._slot += taken;
      if (!this._gaps.unmeasured) this._gaps.touch(this._index.group, this._index.position);
      done += taken;
    }
  }

  /** The current block is full: goes to a block with room, and to the slot of the new area there. */
  private _makeRoom(): void {
    const index = this._index;
    const { group, position } = index;
    const slot = this._slot;
    if (slot === 0) {
      // Work in one direction leaves full blocks behind.
      this._addBlock(group, position, BLOCK - 1);
      return;
    }
    if (slot < BLOCK) {
      // Close to an end this is likely to be work in one direction, too.
      const from = slot <= EDGE || slot >= BLOCK - EDGE ? slot : BLOCK >>> 1;
      index.insert(group, position + 1, this._blocks.split(index.block, from));
      this._enter();
      this._setFirst();
      this._slot = slot - from;
      if (slot > from) return;
      index.previous();
      this._enter();
      this._slot = slot;
      return;
    }
    this._slot = BLOCK - 1;
    const more = this.next();
    if (more && this._count < BLOCK) return;
    this._slot = 0;
    this._addBlock(group, position + 1, more ? BLOCK >>> 1 : 0);
  }

  /** Makes a block at a position of a group, with its first area at `place`; it becomes the current one. */
  private _addBlock(group: number, position: number, place: number): void {
    this._index.insert(group, position, this._blocks.allocate(place));
    this._enter();
  }

  /** The current block has another first area: sets its key. */
  private _setFirst(): void {
    this._index.setFirst(this._words[this._base]! * WORD + this._words[this._base + 1]!);
  }

  /** Removes the current area, and goes to the area before it. */
  remove(): void {
    this.removeRun(this._slot, 1);
  }

  /** Removes `taken` areas of the current block, from `slot` on, and goes to the area before them. */
  removeRun(slot: number, taken: number): void {
    if (taken === 0) {
      this._slot = slot;
      this._stepBack();
      return;
    }
    this._size -= taken;
    this._gaps.removed(this._index.group, this._index.position);
    if (taken === this._count) {
      this._removeBlock();
      return;
    }
    this._base = this._blocks.close(this._index.block, slot, taken);
    this._count -= taken;
    if (slot === 0) this._setFirst();
    this._slot = slot;
    this._stepBack();
  }

  /** Removes the current block, and goes to the last area before it. */
  private _removeBlock(): void {
    this._blocks.release(this._index.block);
    const before = this._index.remove();
    if (this._size > 0) this._enter();
    this._slot = before ? this._count - 1 : -1;
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

  /**
   * Returns how many areas of one block and source, from the current one on and at most `most`, have `pages` pages each and
   * begin `stride` pages behind the one before, the first at `page`. Page numbers are below 2^40.
   */
  alike(page: number, stride: number, pages: number, most: number): number {
    const { slot, source } = this;
    let alike = 0;
    for (; alike < most; alike++) {
      this.slot = slot + alike;
      const first = page + alike * stride;
      const last = first + pages - 1;
      if (this.iovaLow !== pageLow(first) || this.lastLow !== pageLow(last) + PAGE_MASK) break;
      if (this.iovaHigh !== pageHigh(first) || this.lastHigh !== pageHigh(last)) break;
      if (this.source !== source) break;
    }
    this.slot = slot;
    return alike;
  }

  /** Its areas in ascending order, whatever blocks they lie in. */
  *canonical(): Generator<number | Uint32Array> {
    yield this._size;
    for (const { blocks, count } of this._index.groups)
      for (let position = 0; position < count; position++) {
        const block = blocks[position]!;
        const base = this._blocks.base(block);
        yield this._blocks.words(block).subarray(base, base + this._blocks.count(block) * WORDS);
      }
  }

  /** Removes all areas. */
  clear(): void {
    this._blocks.clear();
    this._index.clear();
    this._gaps.forget();
    this._size = 0;
    this._slot = -1;
  }
}
