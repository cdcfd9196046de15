/**
 * Page tables as the IOMMU walks them: radix tables of 512 entries of 64 bits, kept in 4 KiB frames of the machine's
 * memory. A format is data (smallest leaf, levels, leaf sizes); one algorithm serves all. Software builds tables
 * here, hardware (`IommuUnit`) only reads them and sets dirty bits.
 *
 * Entry: bit 0 read, bit 1 write, bit 2 dirty, bit 3 leaf, bits 4–9 log2 of the leaf's size, bits 11–51 address. A
 * leaf whose size lies between two levels is repeated over its entries, and its dirty bit lives in the first of them.
 *
 * IOVAs are counted in units of the smallest leaf (a number below 2^53), physical addresses in bytes.
 */
import { FRAME_SHIFT, FRAME_SIZE, type PhysicalMemory } from './memory.ts';

export const READ = 1;
export const WRITE = 2;
const DIRTY = 4;
const LEAF = 8;
const SHIFT_POSITION = 4;
const FLAGS = 0x7ff;
const LEVEL_BITS = 9;
const ENTRIES = 512;
const FEW = 32;

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

/** A format from an aperture and its leaf sizes in bytes. */
export function tableFormat(apertureStart: bigint, apertureLast: bigint, pageSizes: readonly bigint[]): TableFormat {
  const shifts = pageSizes.map((size) => size.toString(2).length - 1).sort((a, b) => b - a);
  const minShift = shifts[shifts.length - 1]!;
  const bits = apertureLast.toString(2).length;
  const levels = Math.max(1, Math.ceil((bits - minShift) / LEVEL_BITS));
  const leafShifts = shifts.filter((shift) => shift < minShift + levels * LEVEL_BITS);
  return { minShift, levels, leafShifts, apertureStart, apertureLast };
}

function addressOf(low: number, high: number): number {
  return high * 2 ** 32 + ((low & ~FLAGS) >>> 0);
}

export class PageTable {
  readonly memory: PhysicalMemory;
  readonly format: TableFormat;
  /** Frame of the top table. */
  readonly root: number;
  /** Lowest tables that have been used, by the number of their span: in groups of as many as a table has entries. */
  private readonly _lowest = new Map<number, (Uint32Array | null)[]>();
  /** The group used last, and its number; the table used last. */
  private _group: (Uint32Array | null)[] = [];
  private _groupNumber = -1;
  private _words: Uint32Array | null = null;
  private _span = -1;

  constructor(memory: PhysicalMemory, format: TableFormat, root: number) {
    this.memory = memory;
    this.format = format;
    this.root = root;
  }

  /** A new empty table, or null if there is no memory. */
  static make(memory: PhysicalMemory, format: TableFormat): PageTable | null {
    const frames = memory.allocate(1, { owner: 'page-table' });
    return frames && new PageTable(memory, format, frames[0]!.start);
  }

  /**
   * Maps physically contiguous memory with the largest leaves that fit, none above `maxShift`. The range must be
   * free. Returns false if memory for a table is missing; what was mapped until then stays and is to be unmapped.
   */
  map(unit: number, physical: number, units: number, access: number, maxShift: number): boolean {
    const { minShift, leafShifts } = this.format;
    let at = unit;
    let address = physical;
    let left = units;
    while (left > 0) {
      let shift = minShift;
      let size = 1;
      for (const candidate of leafShifts) {
        if (candidate > maxShift && candidate !== minShift) continue;
        const candidateUnits = 2 ** (candidate - minShift);
        if (candidateUnits <= left && at % candidateUnits === 0 && address % 2 ** candidate === 0) {
          shift = candidate;
          size = candidateUnits;
          break;
        }
      }
      if (!this._setLeaf(at, address, access, shift)) return false;
      at += size;
      address += 2 ** shift;
      left -= size;
    }
    return true;
  }

  /** Maps one smallest leaf; false if memory for a table is missing. */
  mapOne(unit: number, physical: number, access: number): boolean {
    const span = Math.floor(unit / ENTRIES);
    if (span !== this._span && !this._enter(span, unit)) {
      if (!this._setLeaf(unit, physical, access, this.format.minShift)) return false;
      this._enter(span, unit);
      return true;
    }
    const at = (unit & (ENTRIES - 1)) * 2;
    const words = this._words!;
    // A bitwise operation takes the low 32 bits of a double; the remainder operator is slow on one.
    words[at] = physical | access | LEAF | (this.format.minShift << SHIFT_POSITION);
    words[at + 1] = physical / 2 ** 32;
    return true;
  }

  /**
   * Maps contiguous memory with smallest leaves only; false if memory for a table is missing. What was mapped until then
   * stays and is to be unmapped.
   */
  mapSmall(unit: number, physical: number, units: number, access: number): boolean {
    const { minShift } = this.format;
    const flags = access | LEAF | (minShift << SHIFT_POSITION);
    const size = 2 ** minShift;
    for (let done = 0; done < units; ) {
      if (!this.mapOne(unit + done, physical + done * size, access)) return false;
      const first = (unit + done) & (ENTRIES - 1);
      const count = Math.min(units - done, ENTRIES - first);
      const words = this._words!;
      for (let entry = 1; entry < count; entry++) {
        const address = physical + (done + entry) * size;
        words[(first + entry) * 2] = address | flags;
        words[(first + entry) * 2 + 1] = address / 2 ** 32;
      }
      done += count;
    }
    return true;
  }

  /**
   * Clears smallest leaves that point to contiguous memory, and answers where the first one pointed; -1, and nothing has
   * changed, if that is not what they are. All must lie in one table.
   */
  unmapSmall(unit: number, units: number): number {
    const physical = this.physicalAt(unit);
    const first = unit & (ENTRIES - 1);
    if (physical < 0 || first + units > ENTRIES) return -1;
    const words = this._words!;
    const { minShift } = this.format;
    for (let entry = 1; entry < units; entry++) {
      const low = words[(first + entry) * 2]!;
      if ((low & LEAF) === 0 || ((low >>> SHIFT_POSITION) & 0x3f) !== minShift) return -1;
      if (addressOf(low, words[(first + entry) * 2 + 1]!) !== physical + entry * 2 ** minShift) return -1;
    }
    // A few are cleared faster than `fill` is called.
    if (units > FEW) words.fill(0, first * 2, (first + units) * 2);
    else for (let at = first * 2; at < (first + units) * 2; at++) words[at] = 0;
    return physical;
  }

  /** Clears one smallest leaf and answers where it pointed, or -1 if the unit is not mapped by one. */
  unmapOne(unit: number): number {
    const physical = this.physicalAt(unit);
    if (physical < 0) return -1;
    const at = (unit & (ENTRIES - 1)) * 2;
    this._words![at] = 0;
    this._words![at + 1] = 0;
    return physical;
  }

  /** Where the smallest leaf of a unit points, or -1 if there is none. */
  physicalAt(unit: number): number {
    const span = Math.floor(unit / ENTRIES);
    if (span !== this._span && !this._enter(span, unit)) return -1;
    const at = (unit & (ENTRIES - 1)) * 2;
    const low = this._words![at]!;
    if ((low & LEAF) === 0 || ((low >>> SHIFT_POSITION) & 0x3f) !== this.format.minShift) return -1;
    return addressOf(low, this._words![at + 1]!);
  }

  /** Goes to the lowest table that holds a unit, if there is one. */
  private _enter(span: number, unit: number): boolean {
    const number = Math.floor(span / ENTRIES);
    if (number !== this._groupNumber) this._enterGroup(number);
    let lowest = this._group[span & (ENTRIES - 1)]!;
    if (lowest === null) {
      let frame = this.root;
      for (let level = this.format.levels - 1; level > 0; level--) {
        const index = Math.floor(unit / 2 ** (level * LEVEL_BITS)) % ENTRIES;
        const words = this.memory.words(frame);
        const low = words[index * 2]!;
        if ((low & (READ | WRITE)) === 0 || low & LEAF) return false;
        frame = addressOf(low, words[index * 2 + 1]!) / FRAME_SIZE;
      }
      lowest = this.memory.words(frame);
      this._group[span & (ENTRIES - 1)] = lowest;
    }
    this._words = lowest;
    this._span = span;
    return true;
  }

  private _enterGroup(number: number): void {
    let group = this._lowest.get(number);
    if (!group) {
      group = new Array<Uint32Array | null>(ENTRIES).fill(null);
      this._lowest.set(number, group);
    }
    this._group = group;
    this._groupNumber = number;
  }

  /** Clears all leaves in the range; tables whose whole span lies in it are freed. The range must not cut a leaf. */
  unmap(unit: number, units: number): void {
    this._clear(this.root, this.format.levels - 1, 0, unit, unit + units - 1);
  }

  /** The leaf that translates this unit, or null. */
  lookup(unit: number): Leaf | null {
    let frame = this.root;
    for (let level = this.format.levels - 1; level >= 0; level--) {
      const span = 2 ** (level * LEVEL_BITS);
      const index = Math.floor(unit / span) % ENTRIES;
      const words = this.memory.words(frame);
      const low = words[index * 2]!;
      if ((low & (READ | WRITE)) === 0) return null;
      if (low & LEAF) return this._leaf(words, index, level, unit);
      frame = addressOf(low, words[index * 2 + 1]!) / FRAME_SIZE;
    }
    return null;
  }

  /** Marks the leaf that translates this unit as written. */
  setDirty(unit: number): void {
    this._changeDirty(unit, true);
  }

  clearDirty(unit: number): void {
    this._changeDirty(unit, false);
  }

  /** All leaves that touch [first, last], ascending. */
  *leaves(first: number, last: number): Generator<Leaf> {
    yield* this._walk(this.root, this.format.levels - 1, 0, first, last);
  }

  /** Tells the frames that leaves point to, neighbours together: a frame comes as often as it is mapped. */
  eachRun(tell: (start: number, count: number) => void): void {
    let start = 0;
    let count = 0;
    this._eachLeaf(this.root, this.format.levels - 1, (first, frames) => {
      if (first === start + count) {
        count += frames;
        return;
      }
      if (count > 0) tell(start, count);
      start = first;
      count = frames;
    });
    if (count > 0) tell(start, count);
  }

  private _eachLeaf(frame: number, level: number, tell: (first: number, frames: number) => void): void {
    const words = this.memory.words(frame);
    const { minShift } = this.format;
    for (let index = 0; index < ENTRIES; ) {
      const low = words[index * 2]!;
      const address = addressOf(low, words[index * 2 + 1]!);
      const shift = (low >>> SHIFT_POSITION) & 0x3f;
      if ((low & (READ | WRITE)) === 0) index++;
      else if ((low & LEAF) === 0) {
        this._eachLeaf(address / FRAME_SIZE, level - 1, tell);
        index++;
      } else if (shift === FRAME_SHIFT && minShift === FRAME_SHIFT) {
        tell(address / FRAME_SIZE, 1);
        index++;
      } else {
        tell(Math.floor(address / FRAME_SIZE), Math.max(1, 2 ** (shift - FRAME_SHIFT)));
        index += 2 ** (shift - minShift - level * LEVEL_BITS);
      }
    }
  }

  /** Frames of all tables, the top one first. */
  tables(): number[] {
    const frames: number[] = [];
    const visit = (frame: number, level: number): void => {
      frames.push(frame);
      if (level === 0) return;
      const words = this.memory.words(frame);
      for (let index = 0; index < ENTRIES; index++) {
        const low = words[index * 2]!;
        if (low & (READ | WRITE) && !(low & LEAF)) visit(addressOf(low, words[index * 2 + 1]!) / FRAME_SIZE, level - 1);
      }
    };
    visit(this.root, this.format.levels - 1);
    return frames;
  }

  /** Gives all table frames back. */
  free(): void {
    for (const frame of this.tables()) this.memory.release(frame, 1);
  }

  private _setLeaf(unit: number, physical: number, access: number, shift: number): boolean {
    const leafLevel = Math.floor((shift - this.format.minShift) / LEVEL_BITS);
    let frame = this.root;
    for (let level = this.format.levels - 1; level > leafLevel; level--) {
      const index = Math.floor(unit / 2 ** (level * LEVEL_BITS)) % ENTRIES;
      const words = this.memory.words(frame);
      const low = words[index * 2]!;
      if (low & (READ | WRITE)) {
        frame = addressOf(low, words[index * 2 + 1]!) / FRAME_SIZE;
        continue;
      }
      const frames = this.memory.allocate(1, { owner: 'page-table' });
      if (!frames) return false;
      frame = frames[0]!.start;
      const address = frame * FRAME_SIZE;
      words[index * 2] = (address % 2 ** 32) | READ | WRITE;
      words[index * 2 + 1] = Math.floor(address / 2 ** 32);
    }
    const words = this.memory.words(frame);
    const first = Math.floor(unit / 2 ** (leafLevel * LEVEL_BITS)) % ENTRIES;
    const repeat = 2 ** (shift - this.format.minShift - leafLevel * LEVEL_BITS);
    if (leafLevel > 0) this._makeRoom(words, first, repeat, leafLevel, unit);
    const low = ((physical % 2 ** 32) | access | LEAF | (shift << SHIFT_POSITION)) >>> 0;
    const high = Math.floor(physical / 2 ** 32);
    for (let index = first; index < first + repeat; index++) {
      words[index * 2] = low;
      words[index * 2 + 1] = high;
    }
    return true;
  }

  /** A large leaf takes the place of tables that smaller leaves have left behind, empty. */
  private _makeRoom(words: Uint32Array, first: number, repeat: number, level: number, unit: number): void {
    for (let index = first; index < first + repeat; index++) {
      const low = words[index * 2]!;
      if ((low & (READ | WRITE)) === 0 || low & LEAF) continue;
      const base = unit + (index - first) * 2 ** (level * LEVEL_BITS);
      this._freeTree(addressOf(low, words[index * 2 + 1]!) / FRAME_SIZE, level - 1, base);
    }
  }

  private _clear(frame: number, level: number, base: number, first: number, last: number): void {
    const span = 2 ** (level * LEVEL_BITS);
    const words = this.memory.words(frame);
    const from = Math.max(0, Math.floor((first - base) / span));
    const to = Math.min(ENTRIES - 1, Math.floor((last - base) / span));
    for (let index = from; index <= to; index++) {
      const low = words[index * 2]!;
      if ((low & (READ | WRITE)) === 0) continue;
      if (low & LEAF) {
        words[index * 2] = 0;
        words[index * 2 + 1] = 0;
        continue;
      }
      const start = base + index * span;
      const child = addressOf(low, words[index * 2 + 1]!) / FRAME_SIZE;
      if (first <= start && start + span - 1 <= last) {
        this._freeTree(child, level - 1, start);
        words[index * 2] = 0;
        words[index * 2 + 1] = 0;
      } else this._clear(child, level - 1, start, first, last);
    }
  }

  /** Frees a table and those below it; `base` is the first unit of its span. */
  private _freeTree(frame: number, level: number, base: number): void {
    if (level > 0) {
      const words = this.memory.words(frame);
      for (let index = 0; index < ENTRIES; index++) {
        const low = words[index * 2]!;
        if (low & (READ | WRITE) && !(low & LEAF)) {
          const child = addressOf(low, words[index * 2 + 1]!) / FRAME_SIZE;
          this._freeTree(child, level - 1, base + index * 2 ** (level * LEVEL_BITS));
        }
      }
    } else {
      const span = Math.floor(base / ENTRIES);
      const group = this._lowest.get(Math.floor(span / ENTRIES));
      if (group) group[span & (ENTRIES - 1)] = null;
      if (this._span === span) this._span = -1;
    }
    this.memory.release(frame, 1);
  }

  private *_walk(frame: number, level: number, base: number, first: number, last: number): Generator<Leaf> {
    const span = 2 ** (level * LEVEL_BITS);
    const words = this.memory.words(frame);
    const from = Math.max(0, Math.floor((first - base) / span));
    const to = Math.min(ENTRIES - 1, Math.floor((last - base) / span));
    for (let index = from; index <= to; index++) {
      const low = words[index * 2]!;
      if ((low & (READ | WRITE)) === 0) continue;
      const start = base + index * span;
      if (low & LEAF) {
        const leaf = this._leaf(words, index, level, start);
        yield leaf;
        index = (leaf.unit - base + 2 ** (leaf.shift - this.format.minShift)) / span - 1;
      } else yield* this._walk(addressOf(low, words[index * 2 + 1]!) / FRAME_SIZE, level - 1, start, first, last);
    }
  }

  private _leaf(words: Uint32Array, index: number, level: number, unit: number): Leaf {
    const low = words[index * 2]!;
    const shift = (low >>> SHIFT_POSITION) & 0x3f;
    const units = 2 ** (shift - this.format.minShift);
    const head = index - (index % 2 ** (shift - this.format.minShift - level * LEVEL_BITS));
    return {
      unit: unit - (unit % units),
      shift,
      physical: addressOf(low, words[index * 2 + 1]!),
      access: low & (READ | WRITE),
      dirty: (words[head * 2]! & DIRTY) !== 0,
    };
  }

  private _changeDirty(unit: number, dirty: boolean): void {
    let frame = this.root;
    for (let level = this.format.levels - 1; level >= 0; level--) {
      const index = Math.floor(unit / 2 ** (level * LEVEL_BITS)) % ENTRIES;
      const words = this.memory.words(frame);
      const low = words[index * 2]!;
      if ((low & (READ | WRITE)) === 0) return;
      if (low & LEAF) {
        const shift = (low >>> SHIFT_POSITION) & 0x3f;
        const head = index - (index % 2 ** (shift - this.format.minShift - level * LEVEL_BITS));
        if (dirty) words[head * 2]! |= DIRTY;
        else words[head * 2]! &= ~DIRTY;
        return;
      }
      frame = addressOf(low, words[index * 2 + 1]!) / FRAME_SIZE;
    }
  }
}
