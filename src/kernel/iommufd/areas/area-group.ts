/** The middle level of the areas of an IOAS: up to this many blocks, in the order of their IOVAs. */

export const GROUP = 128;

export class AreaGroup {
  static readonly BYTES = GROUP * (4 + 8 + 8 + 16);
  count = 0;
  /** Numbers of the blocks. */
  readonly blocks = new Uint32Array(GROUP);
  /** Their first IOVAs, rounded to a double. */
  readonly firsts = new Float64Array(GROUP);
  /** No gap in front of an area of a block is wider (bytes, rounded), and none of the whole group; NaN: unknown. */
  readonly widest = new Float64Array(GROUP);
  known = Number.NaN;
  /** What has not fitted into a gap of a block, or of any block: bytes and alignment, the least that is known of. */
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

  /** Gives its second half to a new group. */
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

  /** The gaps in front of the areas of a block have changed. */
  touch(position: number): void {
    // What is not known has not been missed either.
    if (Number.isNaN(this.widest[position]!)) return;
    this.widest[position] = Number.NaN;
    this.known = Number.NaN;
    this._misses[position * 2] = Number.POSITIVE_INFINITY;
    this._missedLength = Number.POSITIVE_INFINITY;
  }

  /** A block has one more gap. */
  widen(position: number, gap: number): void {
    if (gap > this.widest[position]!) this.widest[position] = gap;
    if (gap > this.known) this.known = gap;
    if (gap >= this._misses[position * 2]!) this._misses[position * 2] = Number.POSITIVE_INFINITY;
    if (gap >= this._missedLength) this._missedLength = Number.POSITIVE_INFINITY;
  }

  /** Whether it is known that so many bytes, so aligned, fit into no gap of a block, or (-1) of any. */
  misses(position: number, length: number, alignment: number): boolean {
    if (position < 0) return length >= this._missedLength && alignment >= this._missedAlignment;
    return length >= this._misses[position * 2]! && alignment >= this._misses[position * 2 + 1]!;
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
