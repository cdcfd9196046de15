/** The middle level of the areas of an IOAS: a group of up to GROUP blocks, in the order of their IOVAs. */

export const GROUP = 128;

export class AreaGroup {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = {
    widest: () => new Float64Array(GROUP).fill(Number.NaN),
    known: () => Number.NaN,
    _misses: () => new Float64Array(GROUP * 2).fill(Number.POSITIVE_INFINITY),
    _missedLength: () => Number.POSITIVE_INFINITY,
    _missedAlignment: () => Number.POSITIVE_INFINITY,
  };

  static readonly BYTES = GROUP * (4 + 8 + 8 + 16);
  count = 0;
  /** Numbers of the blocks. */
  readonly blocks = new Uint32Array(GROUP);
  /** First IOVA of each block, rounded to a double. */
  readonly firsts = new Float64Array(GROUP);
  /**
   * Bounds in bytes, rounded: no gap in front of an area of the block is wider, none of the group (`known`). NaN:
   * unknown.
   */
  readonly widest = new Float64Array(GROUP);
  known = Number.NaN;
  /**
   * The smallest search that has found no gap in a block (length and alignment in bytes, two numbers a block), and the
   * smallest that has found none in the group. Infinity: none has failed.
   */
  private readonly _misses = new Float64Array(GROUP * 2).fill(Number.POSITIVE_INFINITY);
  private _missedLength = Number.POSITIVE_INFINITY;
  private _missedAlignment = Number.POSITIVE_INFINITY;

  insert(position: number, block: number): void {
    if (position < this.count) this._move(position + 1, position, this.count - position);
    this.blocks[position] = block;
    this.count++;
    this.widest[position] = 0;
    this.touch(position);
  }

  remove(position: number): void {
    this.count--;
    this._move(position, position + 1, this.count - position);
    this.known = Number.NaN;
    this._missedLength = Number.POSITIVE_INFINITY;
  }

  /** Moves the second half of the blocks to a new group, which it returns. */
  split(): AreaGroup {
    const half = GROUP >>> 1;
    const other = new AreaGroup();
    other.blocks.set(this.blocks.subarray(half));
    other.firsts.set(this.firsts.subarray(half));
    other.widest.set(this.widest.subarray(half));
    other._misses.set(this._misses.subarray(half * 2));
    other.count = GROUP - half;
    this.count = half;
    this.known = Number.NaN;
    return other;
  }

  /** The gaps in front of the areas of a block have changed: what was known of them is forgotten. */
  touch(position: number): void {
    // Where the width is unknown, no failed search is noted either.
    if (Number.isNaN(this.widest[position]!)) return;
    this.widest[position] = Number.NaN;
    this.known = Number.NaN;
    this._misses[position * 2] = Number.POSITIVE_INFINITY;
    this._missedLength = Number.POSITIVE_INFINITY;
  }

  /** A block has one more gap, of `gap` bytes. */
  widen(position: number, gap: number): void {
    if (gap > this.widest[position]!) this.widest[position] = gap;
    if (gap > this.known) this.known = gap;
    if (gap >= this._misses[position * 2]!) this._misses[position * 2] = Number.POSITIVE_INFINITY;
    if (gap >= this._missedLength) this._missedLength = Number.POSITIVE_INFINITY;
  }

  /** Whether `length` bytes are known to fit into no gap of the block (`position` -1: of any block of the group). */
  misses(position: number, length: number, alignment: number): boolean {
    if (position < 0) return length >= this._missedLength && alignment >= this._missedAlignment;
    return length >= this._misses[position * 2]! && alignment >= this._misses[position * 2 + 1]!;
  }

  /** The least that is known not to fit into a gap of a block, or (-1) of any: Infinity where nothing is known. */
  missed(position: number): { length: number; alignment: number } {
    return position < 0
      ? { length: this._missedLength, alignment: this._missedAlignment }
      : { length: this._misses[position * 2]!, alignment: this._misses[position * 2 + 1]! };
  }

  noteMiss(position: number, length: number, alignment: number): void {
    if (position < 0) {
      if (length >= this._missedLength) return;
      this._missedLength = length;
      this._missedAlignment = alignment;
    } else if (length < this._misses[position * 2]!) {
      this._misses[position * 2] = length;
      this._misses[position * 2 + 1] = alignment;
    }
  }

  private _move(to: number, from: number, count: number): void {
    this.blocks.copyWithin(to, from, from + count);
    this.firsts.copyWithin(to, from, from + count);
    this.widest.copyWithin(to, from, from + count);
    this._misses.copyWithin(to * 2, from * 2, (from + count) * 2);
  }
}
