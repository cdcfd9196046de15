/**
 * Reads ahead what searches will look at. In a large IOAS each search waits for memory again and again, always for one place that tells
 * where the next one is. Several searches that go on together, step by step, wait for several places at a time.
 */
import { type AreaBlocks, WORDS } from './area-blocks.ts';
import { GROUP } from './area-group.ts';
import type { AreaIndex } from './area-index.ts';

/** Of each search: where its block stands in the index, then the number of the block; and where in it the area is likely to lie, 0 to 1. */
const places: number[] = [];
const shares: number[] = [];

/**
 * For the first `count` keys. What is found is of no account, and nothing changes: the number that is returned has to be kept
 * somewhere, since what nobody uses would not be read.
 */
export function prefetchAreas(index: AreaIndex, blocks: AreaBlocks, keys: Float64Array, count: number): number {
  const { groups } = index;
  if (groups.length === 0) return 0;
  let read = 0;
  for (let search = 0; search < count; search++) places[search] = index.near(keys[search]!);
  for (let search = 0; search < count; search++) {
    const { blocks: numbers, firsts, widest } = groups[Math.floor(places[search]! / GROUP)]!;
    const position = places[search]! % GROUP;
    const from = firsts[position]!;
    const share = (keys[search]! - from) / (firsts[position + 1]! - from);
    shares[search] = share > 0 && share < 1 ? share : 0;
    places[search] = numbers[position]!;
    read += Number(widest[position]! > 0);
  }
  // What is sought may lie in the line of the cache before the likely one, or behind it.
  const line = 16;
  for (let search = 0; search < count; search++) {
    const block = places[search]!;
    const words = blocks.words(block);
    const at = blocks.base(block) + Math.floor(blocks.count(block) * shares[search]!) * WORDS;
    read ^= words[at]! ^ words[Math.max(at - line, 0)]! ^ words[Math.min(at + line, words.length - 1)]!;
  }
  return read;
}
