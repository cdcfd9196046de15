/**
 * Where the blocks of areas lie, in the order of their IOVAs: blocks in groups, groups in a list. The index stays at one
 * block, the current one. The key of a block is its first IOVA, rounded to a double.
 */
import { AreaGroup, GROUP } from './area-group.ts';

/** How many keys around a guess are looked at before a binary search, which is right however keys lie. */
const CLOSE = 4;

/**
 * Returns the position of the last of `count` ascending keys that is not above `key`; 0 if all are. Keys tend to lie
 * evenly.
 */
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
    // Without a branch, since it could not be predicted.
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

export class AreaIndex {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = {
    _spare: () => null,
    group: () => 0,
    position: () => 0,
    block: () => 0,
    from: () => Number.NaN,
    to: () => Number.NaN,
  };

  readonly groups: AreaGroup[] = [];
  /** Key of the first block of each group. */
  private _firsts = new Float64Array(8);
  /** An empty group, kept for reuse: a table with few areas is often empty for a while. */
  private _spare: AreaGroup | null = null;
  /** The current block: its group, its position there, and its number. */
  group = 0;
  position = 0;
  block = 0;
  /** Key of the current block, and of the next one (Infinity: there is none). NaN: there is no block at all. */
  from = Number.NaN;
  to = Number.NaN;

  /** Bytes of the typed arrays. */
  get bytes(): number {
    return this.groups.length * AreaGroup.BYTES;
  }

  /** The key of the first block of a group. */
  firstOf(group: number): number {
    return this._firsts[group]!;
  }

  /** Goes to the last block whose key is not above this one; false, and it is at the first block, if there is none. */
  find(key: number): boolean {
    if (key < this._firsts[0]!) {
      this.goTo(0, 0);
      return false;
    }
    const group = lastAtMost(this._firsts, this.groups.length, key);
    this.goTo(group, lastAtMost(this.groups[group]!.firsts, this.groups[group]!.count, key));
    return true;
  }

  /**
   * About where the block of a key stands, found with little to read: GROUP times the number of its group, and the position there. The
   * index has a block, and stays where it is.
   */
  near(key: number): number {
    const { length } = this.groups;
    const group = key < this._firsts[0]! ? 0 : lastAtMost(this._firsts, length, key);
    const { count } = this.groups[group]!;
    if (group + 1 === length) return group * GROUP + count - 1;
    const from = this._firsts[group]!;
    const position = Math.floor((count * (key - from)) / (this._firsts[group + 1]! - from));
    return group * GROUP + Math.min(Math.max(position, 0), count - 1);
  }

  goTo(group: number, position: number): void {
    const { blocks, firsts, count } = this.groups[group]!;
    this.group = group;
    this.position = position;
    this.block = blocks[position]!;
    this.from = firsts[position]!;
    if (position + 1 < count) this.to = firsts[position + 1]!;
    else this.to = group + 1 < this.groups.length ? this._firsts[group + 1]! : Number.POSITIVE_INFINITY;
  }

  /** Goes to the next block; false, and it stays, if there is none. */
  next(): boolean {
    if (this.position + 1 < this.groups[this.group]!.count) this.goTo(this.group, this.position + 1);
    else if (this.group + 1 < this.groups.length) this.goTo(this.group + 1, 0);
    else return false;
    return true;
  }

  /** Goes to the previous block; false, and it stays, if there is none. */
  previous(): boolean {
    if (this.position > 0) this.goTo(this.group, this.position - 1);
    else if (this.group > 0) this.goTo(this.group - 1, this.groups[this.group - 1]!.count - 1);
    else return false;
    return true;
  }

  /** Inserts a block at a position of a group and goes there. The caller sets its key (`setFirst`). */
  insert(group: number, position: number, block: number): void {
    const { groups } = this;
    let to = group;
    let at = position;
    if (groups.length === 0) groups.push(this._newGroup());
    if (groups[group]!.count === GROUP) {
      // Work with ascending IOVAs leaves full groups behind.
      const last = position === GROUP && group === groups.length - 1;
      const other = last ? this._newGroup() : groups[group]!.split();
      groups.splice(group + 1, 0, other);
      if (groups.length > this._firsts.length) this._firsts = larger(this._firsts);
      this._firsts.copyWithin(group + 2, group + 1);
      this._firsts[group + 1] = other.firsts[0]!;
      const left = groups[group]!.count;
      if (position > left || last) {
        to++;
        at -= left;
      }
    }
    groups[to]!.insert(at, block);
    this.goTo(to, at);
  }

  private _newGroup(): AreaGroup {
    const group = this._spare ?? new AreaGroup();
    this._spare = null;
    return group;
  }

  /** Removes the current block and goes to the one before it; false, and it is at the first, if there is none. */
  remove(): boolean {
    const group = this.groups[this.group]!;
    group.remove(this.position);
    if (group.count === 0) {
      this.groups.splice(this.group, 1);
      this._firsts.copyWithin(this.group, this.group + 1);
      this._spare = group;
    } else if (this.position === 0) this._firsts[this.group] = group.firsts[0]!;
    if (this.position > 0 || this.group > 0) return this.previous();
    if (this.groups.length > 0) this.goTo(0, 0);
    else this._forget();
    return false;
  }

  /** Sets the key of the current block. */
  setFirst(key: number): void {
    this.groups[this.group]!.firsts[this.position] = key;
    if (this.position === 0) this._firsts[this.group] = key;
    this.from = key;
  }

  clear(): void {
    this.groups.length = 0;
    this._forget();
  }

  private _forget(): void {
    this.group = 0;
    this.position = 0;
    this.from = Number.NaN;
  }
}
