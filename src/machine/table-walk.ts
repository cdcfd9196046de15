/**
 * Page tables as the IOMMU walks them: radix tables of 512 entries of 64 bits, kept in 4 KiB frames of the machine's
 * memory. A format is data (smallest leaf, levels, leaf sizes); one algorithm serves all. Hardware (`IommuUnit`) only
 * reads them and sets dirty bits; software builds them (`PageTable`).
 *
 * Entry: bit 0 read, bit 1 write, bit 2 dirty, bit 3 leaf, bits 4–9 log2 of the leaf's size, bits 11–51 address. A
 * leaf whose size lies between two levels is repeated over its entries, and its dirty bit lives in the first of them.
 *
 * IOVAs are counted in units of the smallest leaf (a number below 2^53), physical addresses in bytes.
 */
import { WORD } from './address.ts';
import { addressAt, ENTRIES, isUpper, READ, WRITE } from './entry-run.ts';
import { FRAME_SIZE, type FrameRun, type PhysicalMemory } from './memory.ts';

export { READ, WRITE };

const DIRTY = 4;
export const LEAF = 8;
export const SHIFT_POSITION = 4;
const FLAGS = 0x7ff;
export const LEVEL_BITS = 9;

export interface TableFormat {
  /** log2 of the smallest leaf in bytes: 11 or more. */
  readonly minShift: number;
  readonly levels: number;
  /** log2 of the leaf sizes, descending. */
  readonly leafShifts: readonly number[];
  readonly apertureStart: bigint;
  readonly apertureLast: bigint;
}

export interface Leaf {
  /** First unit of the leaf. */
  unit: number;
  shift: number;
  physical: number;
  /** READ | WRITE. */
  access: number;
  dirty: boolean;
}

/** Units in a row that are mapped to memory in a row, whatever leaves map them. */
export interface Extent {
  unit: number;
  units: number;
  physical: number;
  /** READ | WRITE. */
  access: number;
}

/** A format from an aperture and its leaf sizes in bytes. */
export function tableFormat(apertureStart: bigint, apertureLast: bigint, pageSizes: readonly bigint[]): TableFormat {
  const shifts = pageSizes.map((size) => size.toString(2).length - 1).sort((a, b) => b - a);
  const minShift = shifts[shifts.length - 1]!;
  const bits = apertureLast.toString(2).length;
  const levels = Math.max(1, Math.ceil((bits - minShift) / LEVEL_BITS));
  // Without the room that a list has which has grown: each host has its own.
  const leafShifts = shifts.filter((shift) => shift < minShift + levels * LEVEL_BITS).slice();
  return { minShift, levels, leafShifts, apertureStart, apertureLast };
}

/** The physical address, in bytes, in an entry of two words. */
export function addressOf(low: number, high: number): number {
  return high * WORD + ((low & ~FLAGS) >>> 0);
}

export const shiftOf = (low: number): number => (low >>> SHIFT_POSITION) & 0x3f;
const accessOf = (low: number): number => low & (READ | WRITE);
export const isPresent = (low: number): boolean => (low & (READ | WRITE)) !== 0;

export class TableWalk {
  readonly memory: PhysicalMemory;
  readonly format: TableFormat;
  /** Frame of the top table. */
  readonly root: number;

  constructor(memory: PhysicalMemory, format: TableFormat, root: number) {
    this.memory = memory;
    this.format = format;
    this.root = root;
  }

  /** Returns the leaf that translates a unit, or null. */
  lookup(unit: number): Leaf | null {
    let frame = this.root;
    for (let level = this.format.levels - 1; level >= 0; level--) {
      const index = Math.floor(unit / 2 ** (level * LEVEL_BITS)) % ENTRIES;
      const entries = this.memory.entries(frame);
      if (!(entries instanceof Uint32Array)) {
        if (!isUpper(entries, frame)) return this._leaf(unit, entries.flags, addressAt(entries, frame, index), false);
        frame += 1 + index;
        continue;
      }
      const low = entries[index * 2]!;
      if (!isPresent(low)) return null;
      const address = addressOf(low, entries[index * 2 + 1]!);
      if (low & LEAF) {
        const head = index - (index % this._repeat(low, level));
        return this._leaf(unit, low, address, (entries[head * 2]! & DIRTY) !== 0);
      }
      frame = address / FRAME_SIZE;
    }
    return null;
  }

  private _leaf(unit: number, low: number, physical: number, dirty: boolean): Leaf {
    const shift = shiftOf(low);
    const units = 2 ** (shift - this.format.minShift);
    return { unit: unit - (unit % units), shift, physical, access: accessOf(low), dirty };
  }

  /** How many entries of its table a leaf takes. */
  protected _repeat(low: number, level: number): number {
    return 2 ** (shiftOf(low) - this.format.minShift - level * LEVEL_BITS);
  }

  /** Sets the dirty bit of the leaf that translates a unit. */
  setDirty(unit: number): void {
    let frame = this.root;
    for (let level = this.format.levels - 1; level >= 0; level--) {
      const index = Math.floor(unit / 2 ** (level * LEVEL_BITS)) % ENTRIES;
      const words = this.memory.words(frame);
      const low = words[index * 2]!;
      if (!isPresent(low)) return;
      if (low & LEAF) {
        const head = index - (index % this._repeat(low, level));
        words[head * 2]! |= DIRTY;
        return;
      }
      frame = addressOf(low, words[index * 2 + 1]!) / FRAME_SIZE;
    }
  }

  /**
   * Calls `tell` for each leaf that [first, last] touches and whose dirty bit is set, ascending; `clear` clears the
   * bit.
   */
  eachDirty(first: number, last: number, clear: boolean, tell: (unit: number, shift: number) => void): void {
    this.memory.engines?.markDirty(this);
    this._eachDirty(this.root, this.format.levels - 1, 0, first, last, clear, tell);
  }

  private _eachDirty(
    frame: number,
    level: number,
    base: number,
    first: number,
    last: number,
    clear: boolean,
    tell: (unit: number, shift: number) => void,
  ): void {
    const entries = this.memory.entries(frame);
    // Entries that are computed have never been changed, so that none of them has its dirty bit set.
    if (!(entries instanceof Uint32Array)) return;
    const span = 2 ** (level * LEVEL_BITS);
    const to = Math.min(ENTRIES - 1, Math.floor((last - base) / span));
    for (let index = Math.max(0, Math.floor((first - base) / span)); index <= to; ) {
      const low = entries[index * 2]!;
      if (low & LEAF) {
        const repeat = this._repeat(low, level);
        const head = index - (index % repeat);
        if (entries[head * 2]! & DIRTY) {
          if (clear) entries[head * 2]! &= ~DIRTY;
          tell(base + head * span, shiftOf(low));
        }
        index = head + repeat;
        continue;
      }
      if (isPresent(low)) {
        const child = addressOf(low, entries[index * 2 + 1]!) / FRAME_SIZE;
        this._eachDirty(child, level - 1, base + index * span, first, last, clear, tell);
      }
      index++;
    }
  }

  /** What is mapped in units [first, last], cut to them, ascending; neighbours are joined. */
  *extents(first: number, last: number): Generator<Extent> {
    const bytes = 2 ** this.format.minShift;
    let extent: Extent | null = null;
    for (const piece of this._pieces(this.root, this.format.levels - 1, 0, first, last)) {
      const before = Math.max(0, first - piece.unit);
      piece.unit += before;
      piece.physical += before * bytes;
      piece.units = Math.min(piece.units - before, last - piece.unit + 1);
      if (
        extent !== null &&
        extent.unit + extent.units === piece.unit &&
        extent.physical + extent.units * bytes === piece.physical &&
        extent.access === piece.access
      )
        extent.units += piece.units;
      else {
        if (extent !== null) yield extent;
        extent = piece;
      }
    }
    if (extent !== null) yield extent;
  }

  /** What one table and those below it map, in whole entries; not all neighbours are joined. */
  private *_pieces(frame: number, level: number, base: number, first: number, last: number): Generator<Extent> {
    const span = 2 ** (level * LEVEL_BITS);
    const bytes = span * 2 ** this.format.minShift;
    const from = Math.max(0, Math.floor((first - base) / span));
    const to = Math.min(ENTRIES - 1, Math.floor((last - base) / span));
    const entries = this.memory.entries(frame);
    if (!(entries instanceof Uint32Array)) {
      const within = isUpper(entries, frame) ? 0 : from % entries.repeat;
      const physical = addressAt(entries, frame, from) + within * bytes;
      yield { unit: base + from * span, units: (to - from + 1) * span, physical, access: accessOf(entries.flags) };
      return;
    }
    let piece: Extent | null = null;
    for (let index = from; index <= to; index++) {
      const low = entries[index * 2]!;
      if (!isPresent(low)) continue;
      const unit = base + index * span;
      let physical = addressOf(low, entries[index * 2 + 1]!);
      let access = accessOf(low);
      if (low & LEAF) physical += (index % this._repeat(low, level)) * bytes;
      else {
        const child = physical / FRAME_SIZE;
        const below = this.memory.entries(child);
        if (below instanceof Uint32Array) {
          if (piece !== null) yield piece;
          piece = null;
          yield* this._pieces(child, level - 1, unit, first, last);
          continue;
        }
        physical = addressAt(below, child, 0);
        access = accessOf(below.flags);
      }
      if (piece !== null && piece.unit + piece.units === unit && piece.access === access) {
        if (piece.physical + (piece.units / span) * bytes === physical) {
          piece.units += span;
          continue;
        }
      }
      if (piece !== null) yield piece;
      piece = { unit, units: span, physical, access };
    }
    if (piece !== null) yield piece;
  }

  /** Frames of all tables, the top one first, neighbours as one run. */
  tables(): FrameRun[] {
    const runs: FrameRun[] = [];
    let run = { start: this.root, count: 0 };
    const visit = (frame: number, level: number): void => {
      if (frame === run.start + run.count) run.count++;
      else {
        runs.push(run);
        run = { start: frame, count: 1 };
      }
      const entries = level === 0 ? null : this.memory.entries(frame);
      if (!(entries instanceof Uint32Array)) {
        if (entries !== null && isUpper(entries, frame)) run.count += ENTRIES;
        return;
      }
      for (let index = 0; index < ENTRIES; index++) {
        const low = entries[index * 2]!;
        if (isPresent(low) && !(low & LEAF)) visit(addressOf(low, entries[index * 2 + 1]!) / FRAME_SIZE, level - 1);
      }
    };
    visit(this.root, this.format.levels - 1);
    runs.push(run);
    return runs;
  }
}
