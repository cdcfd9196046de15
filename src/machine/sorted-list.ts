/**
 * Items in the order of numbers, their keys: runs of frames by their first one, spans and mappings by their first page. They
 * lie in blocks of a few hundred, so that to find, add or take one out takes about as long among a million as among a
 * thousand, and nothing has to be moved but a part of a block.
 */

/** Items of one block, at the most. */
const BLOCK_ITEMS = 256;

/** Items in a row, and their keys: never empty while it is part of a list. */
export class SortedBlock<T> {
  static readonly caches = { _widestGap: () => -1 };

  readonly keys: number[];
  readonly items: T[];
  /** The widest gap between two items, once it was asked for; -1 as soon as an item comes or goes. */
  private _widestGap = -1;

  constructor(keys: number[], items: T[]) {
    this.keys = keys;
    this.items = items;
  }

  /** The widest gap between two items, where `behind` tells the key behind an item. */
  widestGap(behind: (item: T) => number): number {
    if (this._widestGap >= 0) return this._widestGap;
    let widest = 0;
    for (let index = 1; index < this.keys.length; index++)
      widest = Math.max(widest, this.keys[index]! - behind(this.items[index - 1]!));
    this._widestGap = widest;
    return widest;
  }

  add(key: number, item: T): void {
    const index = indexAbove(this.keys, key);
    this.keys.splice(index, 0, key);
    this.items.splice(index, 0, item);
    this._widestGap = -1;
  }

  take(first: number, last: number): T[] {
    const from = indexAbove(this.keys, first - 1);
    const count = indexAbove(this.keys, last) - from;
    if (count === 0) return [];
    this.keys.splice(from, count);
    this._widestGap = -1;
    return this.items.splice(from, count);
  }

  endsHaveChanged(): void {
    this._widestGap = -1;
  }

  /** Cuts it in the middle, and returns the half behind. */
  split(): SortedBlock<T> {
    const half = this.keys.length >>> 1;
    this._widestGap = -1;
    return new SortedBlock(this.keys.splice(half), this.items.splice(half));
  }
}

export class SortedList<T> implements Iterable<T> {
  private _blocks: SortedBlock<T>[] = [];
  private _length = 0;

  get length(): number {
    return this._length;
  }

  get blocks(): readonly SortedBlock<T>[] {
    return this._blocks;
  }

  *[Symbol.iterator](): Generator<T> {
    for (const { items } of this._blocks) yield* items;
  }

  /** The last item whose key is not above this one. */
  floor(key: number): T | undefined {
    const block = this._blocks[this.blockOf(key)];
    return block?.items[indexAbove(block.keys, key) - 1];
  }

  /** The first item whose key is above this one. */
  above(key: number): T | undefined {
    const at = this.blockOf(key);
    const block = this._blocks[at];
    if (block === undefined) return this._blocks[0]?.items[0];
    const index = indexAbove(block.keys, key);
    return index < block.items.length ? block.items[index] : this._blocks[at + 1]?.items[0];
  }

  /** The item with this key. */
  exact(key: number): T | undefined {
    const block = this._blocks[this.blockOf(key)];
    if (block === undefined) return undefined;
    const index = indexAbove(block.keys, key) - 1;
    return block.keys[index] === key ? block.items[index] : undefined;
  }

  /** How many keys of [first, last] there are. */
  countWithin(first: number, last: number): number {
    let count = 0;
    const to = this.blockOf(last);
    for (let at = Math.max(0, this.blockOf(first)); at <= to; at++) {
      const { keys } = this._blocks[at]!;
      count += indexAbove(keys, last) - indexAbove(keys, first - 1);
    }
    return count;
  }

  /** Index of the block in which this key lies, or would lie behind all others; -1: before all of them. */
  blockOf(key: number): number {
    const blocks = this._blocks;
    let low = 0;
    let high = blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (blocks[middle]!.keys[0]! <= key) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** The items with keys of [first, last], ascending. */
  within(first: number, last: number): T[] {
    const found: T[] = [];
    const to = this.blockOf(last);
    for (let at = Math.max(0, this.blockOf(first)); at <= to; at++) {
      const { keys, items } = this._blocks[at]!;
      const end = indexAbove(keys, last);
      for (let index = indexAbove(keys, first - 1); index < end; index++) found.push(items[index]!);
    }
    return found;
  }

  /** Adds an item, whose key no other one has. */
  add(key: number, item: T): void {
    this._length++;
    const at = Math.max(0, this.blockOf(key));
    const block = this._blocks[at];
    if (block === undefined) this._blocks = [new SortedBlock([key], [item])];
    else if (block.keys.length < BLOCK_ITEMS) block.add(key, item);
    else {
      // Items that come in ascending order leave full blocks behind.
      const isLast = at === this._blocks.length - 1 && block.keys[BLOCK_ITEMS - 1]! < key;
      const next = isLast ? new SortedBlock([key], [item]) : block.split();
      this._blocks.splice(at + 1, 0, next);
      if (!isLast) (next.keys[0]! < key ? next : block).add(key, item);
    }
  }

  /** Puts another item in the place of the one that has this key. */
  replace(key: number, item: T): void {
    const { keys, items } = this._blocks[this.blockOf(key)]!;
    items[indexAbove(keys, key) - 1] = item;
  }

  /** Says that the item with this key ends elsewhere, though no other one has come or gone beside it. */
  endsHaveChanged(key: number): void {
    this._blocks[this.blockOf(key)]!.endsHaveChanged();
  }

  /** Takes the items with keys of [first, last] out and returns them, ascending. */
  take(first: number, last: number): T[] {
    const taken: T[] = [];
    const to = this.blockOf(last);
    let empty = 0;
    let at = Math.max(0, this.blockOf(first));
    for (; at <= to; at++) {
      const block = this._blocks[at]!;
      const items = block.take(first, last);
      for (const item of items) taken.push(item);
      if (block.keys.length === 0) empty++;
      else if (empty > 0) break;
    }
    // Those that are empty now lie behind each other.
    if (empty > 0) this._blocks.splice(at - empty, empty);
    this._length -= taken.length;
    return taken;
  }

  clear(): void {
    this._blocks = [];
    this._length = 0;
  }

  /** The items, however they lie in blocks. */
  *canonical(): Generator<unknown> {
    yield this._length;
    yield* this;
  }
}

/** How many of ascending keys are not above this one. */
function indexAbove(keys: readonly number[], key: number): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! <= key) low = middle + 1;
    else high = middle;
  }
  return low;
}
