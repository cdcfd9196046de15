/** The middle level of the areas of an IOAS: up to this many blocks, in the order of their IOVAs. */

export const GROUP = 128;

export class AreaGroup {
  static readonly BYTES = GROUP * (4 + 8 + 8);
  count = 0;
  /** Numbers of the blocks. */
  readonly blocks = new Uint32Array(GROUP);
  /** Their first IOVAs, rounded to a double. */
  readonly firsts = new Float64Array(GROUP);
  /** Bytes of the widest gap in front of an area of each block, rounded, and of the whole group; NaN: unknown. */
  private readonly _widest = new Float64Array(GROUP);
  private _widestOfAll = Number.NaN;

  insert(position: number, block: number): void {
    if (position < this.count) this._move(position + 1, position, this.count - position);
    this.blocks[position] = block;
    this.count++;
    this.touch(position);
  }

  remove(position: number): void {
    this.count--;
    this._move(position, position + 1, this.count - position);
    this._widestOfAll = Number.NaN;
  }

  /** Gives its second half to a new group. */
  split(): AreaGroup {
    const half = GROUP >>> 1;
    const other = new AreaGroup();
    other.blocks.set(this.blocks.subarray(half));
    other.firsts.set(this.firsts.subarray(half));
    other._widest.set(this._widest.subarray(half));
    other.count = GROUP - half;
    this.count = half;
    this._widestOfAll = Number.NaN;
    return other;
  }

  /** The gaps in front of the areas of a block have changed. */
  touch(position: number): void {
    this._widest[position] = Number.NaN;
    this._widestOfAll = Number.NaN;
  }

  /** The widest gap of a block; `measure` tells it where it is not known. */
  widest(position: number, measure: (position: number) => number): number {
    const known = this._widest[position]!;
    if (!Number.isNaN(known)) return known;
    const measured = measure(position);
    this._widest[position] = measured;
    return measured;
  }

  widestOfAll(measure: (position: number) => number): number {
    if (Number.isNaN(this._widestOfAll)) {
      let widest = 0;
      for (let position = 0; position < this.count; position++)
        widest = Math.max(widest, this.widest(position, measure));
      this._widestOfAll = widest;
    }
    return this._widestOfAll;
  }

  private _move(to: number, from: number, count: number): void {
    this.blocks.copyWithin(to, from, from + count);
    this.firsts.copyWithin(to, from, from + count);
    this._widest.copyWithin(to, from, from + count);
  }
}
