/** Entries of page tables as software writes them, two words each; table-walk.ts has their bits. */
import { WORD } from './address.ts';
import { READ, WRITE } from './entry-run.ts';
import { FRAME_SIZE } from './frame-owners.ts';

/** So few entries are cleared faster by a loop than by `fill`. */
const FEW = 32;

export function setLeaf(words: Uint32Array, index: number, physical: number, flags: number): void {
  // A bitwise operation takes the low 32 bits of a double; the remainder operator is slow on one.
  words[index * 2] = physical | flags;
  // WORD, written out: V8 does not fold a constant that is imported, and this is done for each leaf.
  words[index * 2 + 1] = physical / 2 ** 32;
}

export function clearEntries(words: Uint32Array, first: number, count: number): void {
  if (count > FEW) words.fill(0, first * 2, (first + count) * 2);
  else for (let index = first; index < first + count; index++) clearEntry(words, index);
}

export function clearEntry(words: Uint32Array, index: number): void {
  words[index * 2] = 0;
  words[index * 2 + 1] = 0;
}

export function setChild(words: Uint32Array, index: number, frame: number): void {
  const address = frame * FRAME_SIZE;
  words[index * 2] = address | READ | WRITE;
  words[index * 2 + 1] = address / WORD;
}
