/**
 * The areas of an IOAS by themselves: their order, the index of their blocks, what is known of the gaps between them, and
 * the ranges that they must keep out of.
 */
import { BLOCK, IOVA, LAST, START, WORDS } from '../../kernel/iommufd/areas/area-blocks.ts';
import { fitIn } from '../../kernel/iommufd/areas/area-gaps.ts';
import type { AreaGroup } from '../../kernel/iommufd/areas/area-group.ts';
import type { IoPagetable } from '../../kernel/iommufd/io-pagetable/io-pagetable.ts';
import { below, hexOf, WORD } from '../../machine/address.ts';
import type { Findings } from './finding.ts';
import { checkRanges, type WordRange } from './ranges.ts';

/** Below it numbers are exact. */
const EXACT = 2 ** 53;

/** Pauses behind each group of blocks: there may be millions of areas. */
export function* checkAreas(iopt: IoPagetable, where: string, found: Findings): Generator<void> {
  const { blocks, index } = iopt.areas.parts;
  const walk = new AreaWalk(iopt, checkRanges(iopt, where, found), where, found);
  const seen = new Uint8Array(blocks.blocks);
  const use = (block: number): boolean => block < seen.length && seen[block]!++ === 0;
  for (const [number, group] of index.groups.entries()) {
    for (let position = 0; position < group.count; position++)
      if (!use(group.blocks[position]!))
        found.note('blocks', where, 'each in one place', `block ${group.blocks[position]} in two`);
    walk.group(group, index.firstOf(number));
    yield;
  }
  for (const block of blocks.free)
    if (!use(block)) found.note('blocks', where, 'each in one place', `block ${block} in use and free`);
  found.same(
    'blocks',
    where,
    blocks.blocks,
    seen.reduce((sum, times) => sum + times, 0),
  );
  found.same('areas', where, walk.areas, iopt.areas.size);
  walk.behindLast();
}

class AreaWalk {
  readonly #iopt: IoPagetable;
  readonly #where: string;
  readonly #found: Findings;
  readonly #known: Remembered;
  /** Ranges that areas may lie in, and the one that the next area may lie in. */
  readonly #free: readonly WordRange[];
  #range = 0;
  areas = 0;
  /** Last IOVA of the area before; -1 in the low word: none. */
  #high = 0;
  #low = -1;

  constructor(iopt: IoPagetable, free: readonly WordRange[], where: string, found: Findings) {
    this.#iopt = iopt;
    this.#free = free;
    this.#where = where;
    this.#found = found;
    this.#known = new Remembered([...iopt.areas.parts.gaps.known()], where, found);
  }

  group(group: AreaGroup, first: number): void {
    const missed = group.missed(-1);
    let widest = 0;
    this.#found.same('key of a group', this.#where, group.firsts[0]!, first);
    for (let position = 0; position < group.count; position++) {
      const gap = this.#block(group, position, missed.length, missed.alignment);
      if (gap > widest) widest = gap;
    }
    if (group.known < widest) this.#found.note('widest gap of a group', this.#where, `${widest} or more`, group.known);
  }

  /** Returns the widest gap in front of an area of the block. */
  #block(group: AreaGroup, position: number, groupLength: number, groupAlignment: number): number {
    const { blocks } = this.#iopt.areas.parts;
    const found = this.#found;
    const block = group.blocks[position]!;
    const words = blocks.words(block);
    const base = blocks.base(block);
    const count = blocks.count(block);
    const { mask } = this.#iopt;
    const missed = group.missed(position);
    const narrowest = Math.min(missed.length, groupLength, this.#known.least);
    let widest = 0;
    if (count === 0 || count + blocks.roomBehind(block) > BLOCK)
      found.note('areas of a block', this.#where, `1 to ${BLOCK}, within it`, count);
    for (let slot = 0, at = base; slot < count; slot++, at += WORDS) {
      const [high, low] = [words[at + IOVA]!, words[at + IOVA + 1]!];
      const [lastHigh, lastLow] = [words[at + LAST]!, words[at + LAST + 1]!];
      if (slot === 0) found.same('key of a block', this.#where, high * WORD + low, group.firsts[position]!);
      // As AreaGaps measures it, so that rounding is the same.
      const gap = (high - this.#high) * WORD + (low - this.#low - 1);
      if (gap < 0 || lastHigh < high || (lastHigh === high && lastLow < low))
        found.note('order of areas', this.#where, 'ascending and apart', `the area at ${hexOf(high, low)}`);
      if (gap > widest) widest = gap;
      if ((low | (lastLow + 1) | words[at + START + 1]!) & mask)
        found.note('alignment of areas', this.#where, this.#iopt.alignment, `the area at ${hexOf(high, low)}`);
      if (!this.#isFree(high, low, lastHigh, lastLow))
        found.note('areas', this.#where, 'apart from reserved ranges', `the area at ${hexOf(high, low)}`);
      if (gap >= narrowest) {
        const start = this.#high * WORD + this.#low + 1;
        const last = high * WORD + low - 1;
        if (last < EXACT) {
          this.#known.gap(start, last);
          if (gap >= missed.length && fitIn(start, last, missed.length, missed.alignment, 0) >= 0)
            found.note(
              'what does not fit into a block',
              this.#where,
              `more than ${missed.length} bytes`,
              missed.length,
            );
          if (gap >= groupLength && fitIn(start, last, groupLength, groupAlignment, 0) >= 0)
            found.note('what does not fit into a group', this.#where, `more than ${groupLength} bytes`, groupLength);
        }
      }
      this.#high = lastHigh;
      this.#low = lastLow;
    }
    if (group.widest[position]! < widest)
      found.note('widest gap of a block', this.#where, `${widest} or more`, group.widest[position]!);
    this.areas += count;
    return widest;
  }

  /** Areas come in ascending order. */
  #isFree(high: number, low: number, lastHigh: number, lastLow: number): boolean {
    const free = this.#free;
    while (this.#range < free.length - 1 && below(free[this.#range]!.lastHigh, free[this.#range]!.lastLow, high, low))
      this.#range++;
    const range = free[this.#range];
    return (
      range !== undefined &&
      !below(high, low, range.startHigh, range.startLow) &&
      !below(range.lastHigh, range.lastLow, lastHigh, lastLow)
    );
  }

  /** The gap behind the last area. */
  behindLast(): void {
    const start = this.#high * WORD + this.#low + 1;
    if (start < EXACT) this.#known.gap(start, EXACT - 1);
  }
}

interface Place {
  start: number;
  length: number;
  alignment: number;
  place: number;
}

/** What searches for room have remembered: below a place nothing fits. */
class Remembered {
  readonly #places: readonly Place[];
  readonly #where: string;
  readonly #found: Findings;
  /** A narrower gap does not matter. */
  readonly least: number;

  constructor(places: readonly Place[], where: string, found: Findings) {
    this.#places = places;
    this.#where = where;
    this.#found = found;
    this.least = Math.min(...places.map(({ length }) => length));
  }

  gap(first: number, last: number): void {
    for (const { start, length, alignment, place } of this.#places) {
      if (last < start || first >= place) continue;
      const fits = fitIn(Math.max(first, start), last, length, alignment, 0);
      if (fits >= 0 && fits < place)
        this.#found.note(`first place for ${length} bytes`, this.#where, `${fits} or less`, place);
    }
  }
}
