/**
 * Page tables as software builds them; table-walk.ts says what they are and how hardware reads them. Single pages are
 * written straight into their lowest table; large ranges are written in whole tables.
 *
 * Leaves are written by `setLeaf` and by the entries that a new table is filled with (`EntryRun`), and taken away by
 * `clearEntries` and `clearEntry`: by nothing else. What maps or unmaps tells the observer of it once, when all of it is done.
 */
import { ENTRIES, type EntryRun, GROUP, GROUPED, isUpper } from './entry-run.ts';
import { largestLeaf, unitsUntilLarger } from './leaf-sizes.ts';
import { FRAME_SIZE, type PhysicalMemory } from './memory.ts';
import { prefetchEntries } from './prefetch-entries.ts';
import { clearEntries, clearEntry, setChild, setLeaf } from './table-entries.ts';
import {
  addressOf,
  isPresent,
  LEAF,
  LEVEL_BITS,
  SHIFT_POSITION,
  shiftOf,
  type TableFormat,
  TableWalk,
} from './table-walk.ts';

export { READ, type TableFormat, tableFormat, WRITE } from './table-walk.ts';

/** Tables whose entries are leaves, without where they are and point to. */
type LeafRun = Pick<EntryRun, 'flags' | 'step' | 'repeat'>;

const OWNER = 'page-table';
const NONE = (): number => -1;
/** The bits of an entry that say whether it is a leaf, and how large. */
const KIND = LEAF | (0x3f << SHIFT_POSITION);

export class PageTable extends TableWalk {
  static caches = { _lowest: () => new Map(), _group: () => [], _groupNumber: NONE, _words: () => null, _span: NONE };
  /** The words of lowest tables that have been used, in groups of ENTRIES, by number of their span (ENTRIES units). */
  private readonly _lowest = new Map<number, (Uint32Array | null)[]>();
  /** The group used last, and its number; the table used last. */
  private _group: (Uint32Array | null)[] = [];
  private _groupNumber = -1;
  private _words: Uint32Array | null = null;
  private _span = -1;

  /** Makes an empty table; null: no memory. */
  static make(memory: PhysicalMemory, format: TableFormat): PageTable | null {
    const frames = memory.allocate(1, { owner: OWNER });
    return frames && new PageTable(memory, format, frames[0]!.start);
  }

  /**
   * Maps physically contiguous memory with the largest leaves that fit, none above `maxShift`. The range must be
   * free. Returns false if memory for a table is missing; what was mapped until then stays and is to be unmapped.
   */
  map(unit: number, physical: number, units: number, access: number, maxShift: number): boolean {
    const mapped = this._map(unit, physical, units, access, maxShift);
    if (this.memory.observer !== null && mapped > 0) this.memory.observer.leavesSet(this, unit, mapped);
    return mapped === units;
  }

  /** Returns how many units are mapped: all, or those before the first for which memory for a table is missing. */
  private _map(unit: number, physical: number, units: number, access: number, maxShift: number): number {
    const { minShift } = this.format;
    let mapped = 0;
    while (mapped < units) {
      const at = unit + mapped;
      const address = physical + mapped * 2 ** minShift;
      const left = units - mapped;
      const shift = largestLeaf(this.format, at, address, left, maxShift);
      const level = Math.floor((shift - minShift) / LEVEL_BITS);
      const table = 2 ** ((level + 1) * LEVEL_BITS);
      if (left >= table && at % table === 0 && level + 1 < this.format.levels) {
        const tables = Math.floor(unitsUntilLarger(this.format, at, address, left, shift, maxShift) / table);
        const done = this._setTables(at, address, tables, access, shift);
        mapped += done * table;
        if (done < tables) return mapped;
      } else {
        const done = shift === minShift ? this._mapOne(at, address, access) : this._setLeaf(at, address, access, shift);
        if (!done) return mapped;
        mapped += 2 ** (shift - minShift);
      }
    }
    return mapped;
  }

  /**
   * Fills whole tables with leaves of one size, from `unit` on. Returns the number filled: less than `tables` if there is
   * no memory for more.
   */
  private _setTables(unit: number, physical: number, tables: number, access: number, shift: number): number {
    const { minShift } = this.format;
    const level = Math.floor((shift - minShift) / LEVEL_BITS);
    const span = 2 ** ((level + 1) * LEVEL_BITS);
    const like = {
      flags: access | LEAF | (shift << SHIFT_POSITION),
      step: 2 ** shift,
      repeat: 2 ** (shift - minShift - level * LEVEL_BITS),
    };
    for (let done = 0; done < tables; ) {
      const at = unit + done * span;
      const grouped = this._setGroups(at, physical + done * span * 2 ** minShift, tables - done, level, like);
      if (grouped > 0) {
        done += grouped;
        continue;
      }
      const parent = this._tableAt(at, level + 1);
      if (parent < 0) return done;
      const words = this.memory.words(parent);
      const first = Math.floor(at / span) % ENTRIES;
      const count = Math.min(ENTRIES - first, tables - done);
      // Tables that are empty since their leaves were unmapped may be in the way.
      this._freeChildren(words, level + 1, first, first + count - 1, at - first * span);
      const run: EntryRun = { ...like, frame: 0, physical: physical + done * span * 2 ** minShift };
      const frames = this.memory.allocate(count, { owner: OWNER, fill: run, lowest: true });
      if (!frames) return done;
      let index = first;
      for (const piece of frames)
        for (let frame = piece.start; frame < piece.start + piece.count; frame++) setChild(words, index++, frame);
      done += count;
    }
    return tables;
  }

  /**
   * Does what `_setTables` does where whole tables above those of `level` are missing: these are computed, too. The frames are
   * those that would be taken one by one. Returns the number of tables filled; 0 also where this way does not apply.
   */
  private _setGroups(unit: number, physical: number, tables: number, level: number, like: LeafRun): number {
    const span = 2 ** ((level + 2) * LEVEL_BITS);
    if (tables < ENTRIES || unit % span !== 0 || level + 2 >= this.format.levels) return 0;
    const parent = this._tableAt(unit, level + 2);
    if (parent < 0) return 0;
    const words = this.memory.words(parent);
    const first = Math.floor(unit / span) % ENTRIES;
    const most = Math.min(ENTRIES - first, Math.floor(tables / ENTRIES));
    let groups = 0;
    while (groups < most && !isPresent(words[(first + groups) * 2]!)) groups++;
    groups = Math.floor(this.memory.lowestHole(groups * GROUP) / GROUP);
    if (groups === 0) return 0;
    const run: EntryRun = { ...like, flags: like.flags | GROUPED, frame: 0, physical };
    const [frames] = this.memory.allocate(groups * GROUP, { owner: OWNER, fill: run, lowest: true })!;
    for (let group = 0; group < groups; group++) setChild(words, first + group, frames!.start + group * GROUP);
    return groups * ENTRIES;
  }

  /** Maps one smallest leaf; false: no memory for a table. */
  mapOne(unit: number, physical: number, access: number): boolean {
    if (!this._mapOne(unit, physical, access)) return false;
    if (this.memory.observer !== null) this.memory.observer.leavesSet(this, unit, 1);
    return true;
  }

  private _mapOne(unit: number, physical: number, access: number): boolean {
    const span = Math.floor(unit / ENTRIES);
    if (span !== this._span && !this._enter(span, unit)) {
      if (!this._setLeaf(unit, physical, access, this.format.minShift)) return false;
      this._enter(span, unit);
      return true;
    }
    setLeaf(this._words!, unit & (ENTRIES - 1), physical, access | LEAF | (this.format.minShift << SHIFT_POSITION));
    return true;
  }

  /**
   * Maps contiguous memory with smallest leaves only. False: no memory for a table; what was mapped until then stays,
   * and the caller unmaps it.
   */
  mapSmall(unit: number, physical: number, units: number, access: number): boolean {
    const mapped = this._mapSmall(unit, physical, units, access);
    if (this.memory.observer !== null && mapped > 0) this.memory.observer.leavesSet(this, unit, mapped);
    return mapped === units;
  }

  /** Returns how many are mapped. */
  private _mapSmall(unit: number, physical: number, units: number, access: number): number {
    const { minShift } = this.format;
    const flags = access | LEAF | (minShift << SHIFT_POSITION);
    const size = 2 ** minShift;
    for (let done = 0; done < units; ) {
      if (!this._mapOne(unit + done, physical + done * size, access)) return done;
      const first = (unit + done) & (ENTRIES - 1);
      const count = Math.min(units - done, ENTRIES - first);
      const words = this._words!;
      for (let entry = 1; entry < count; entry++)
        setLeaf(words, first + entry, physical + (done + entry) * size, flags);
      done += count;
    }
    return units;
  }

  /**
   * Clears smallest leaves that point to contiguous memory, all in one table, and returns the physical address of the
   * first one. Returns -1, and nothing has changed, if they are not such leaves.
   */
  unmapSmall(unit: number, units: number): number {
    const physical = this.rowAt(unit, units);
    if (physical < 0) return -1;
    clearEntries(this._words!, unit & (ENTRIES - 1), units);
    if (this.memory.observer !== null) this.memory.observer.leavesCleared(this, unit, units);
    return physical;
  }

  /** Returns where the first of `units` smallest leaves of one table points; -1 if their memory is not contiguous. */
  rowAt(unit: number, units: number): number {
    const physical = this.physicalAt(unit);
    const first = unit & (ENTRIES - 1);
    if (physical < 0 || first + units > ENTRIES) return -1;
    const words = this._words!;
    const { minShift } = this.format;
    const size = 2 ** minShift;
    const kind = LEAF | (minShift << SHIFT_POSITION);
    for (let entry = 1; entry < units; entry++) {
      const low = words[(first + entry) * 2]!;
      if ((low & KIND) !== kind) return -1;
      if (addressOf(low, words[(first + entry) * 2 + 1]!) !== physical + entry * size) return -1;
    }
    return physical;
  }

  /** Clears one smallest leaf and returns its physical address; -1 if the unit is not mapped by one. */
  unmapOne(unit: number): number {
    const physical = this.physicalAt(unit);
    if (physical < 0) return -1;
    clearEntry(this._words!, unit & (ENTRIES - 1));
    if (this.memory.observer !== null) this.memory.observer.leavesCleared(this, unit, 1);
    return physical;
  }

  /** Returns the physical address of the smallest leaf of a unit; -1 if it is not mapped by one. */
  physicalAt(unit: number): number {
    const span = Math.floor(unit / ENTRIES);
    if (span !== this._span && !this._enter(span, unit)) return -1;
    const at = (unit & (ENTRIES - 1)) * 2;
    const low = this._words![at]!;
    if ((low & LEAF) === 0 || shiftOf(low) !== this.format.minShift) return -1;
    return addressOf(low, this._words![at + 1]!);
  }

  /** Whether nothing maps a unit. */
  isFree(unit: number): boolean {
    const span = Math.floor(unit / ENTRIES);
    if (span !== this._span && !this._enter(span, unit)) return this.lookup(unit) === null;
    return (this._words![(unit & (ENTRIES - 1)) * 2]! & LEAF) === 0;
  }

  /** Reads ahead the entries of the first `count` addresses; see `prefetchEntries`. */
  prefetch(addresses: Float64Array, count: number): number {
    return prefetchEntries(this._lowest, this.format.minShift, addresses, count);
  }

  /** Makes the lowest table that holds a unit the current one (`_words`); false if there is none. */
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
        if (!isPresent(low) || low & LEAF) return false;
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
    if (this.memory.observer !== null) this.memory.observer.leavesCleared(this, unit, units);
  }

  /** Gives all table frames back. */
  free(): void {
    for (const { start, count } of this.tables()) this.memory.release(start, count);
  }

  /** Returns the frame of the table of a level that holds a unit; it is made if missing. -1: no memory. */
  private _tableAt(unit: number, level: number): number {
    let frame = this.root;
    for (let above = this.format.levels - 1; above > level; above--) {
      const index = Math.floor(unit / 2 ** (above * LEVEL_BITS)) % ENTRIES;
      const words = this.memory.words(frame);
      const low = words[index * 2]!;
      if (isPresent(low)) {
        frame = addressOf(low, words[index * 2 + 1]!) / FRAME_SIZE;
        continue;
      }
      const frames = this.memory.allocate(1, { owner: OWNER });
      if (!frames) return -1;
      frame = frames[0]!.start;
      setChild(words, index, frame);
    }
    return frame;
  }

  private _setLeaf(unit: number, physical: number, access: number, shift: number): boolean {
    const level = Math.floor((shift - this.format.minShift) / LEVEL_BITS);
    const frame = this._tableAt(unit, level);
    if (frame < 0) return false;
    const words = this.memory.words(frame);
    const span = 2 ** (level * LEVEL_BITS);
    const first = Math.floor(unit / span) % ENTRIES;
    const flags = access | LEAF | (shift << SHIFT_POSITION);
    const repeat = this._repeat(flags, level);
    // Tables that are empty since their leaves were unmapped give way to a large leaf.
    if (level > 0) this._freeChildren(words, level, first, first + repeat - 1, unit - first * span);
    for (let index = first; index < first + repeat; index++) setLeaf(words, index, physical, flags);
    return true;
  }

  private _clear(frame: number, level: number, base: number, first: number, last: number): void {
    const span = 2 ** (level * LEVEL_BITS);
    const words = this.memory.words(frame);
    const from = Math.max(0, Math.floor((first - base) / span));
    const to = Math.min(ENTRIES - 1, Math.floor((last - base) / span));
    if (level === 0) {
      clearEntries(words, from, to - from + 1);
      return;
    }
    // The first and the last of the tables may lie in the range only in part.
    const begin = first <= base + from * span && base + (from + 1) * span - 1 <= last ? from : from + 1;
    const end = to >= begin && base + (to + 1) * span - 1 <= last ? to : to - 1;
    if (begin > from) this._clearChild(words, from, level, base, first, last);
    if (begin <= end) this._freeChildren(words, level, begin, end, base);
    if (end < to && from < to) this._clearChild(words, to, level, base, first, last);
  }

  private _clearChild(
    words: Uint32Array,
    index: number,
    level: number,
    base: number,
    first: number,
    last: number,
  ): void {
    const low = words[index * 2]!;
    if (!isPresent(low)) return;
    if (low & LEAF) clearEntry(words, index);
    else {
      const child = addressOf(low, words[index * 2 + 1]!) / FRAME_SIZE;
      this._clear(child, level - 1, base + index * 2 ** (level * LEVEL_BITS), first, last);
    }
  }

  /** Clears entries `from` to `to` of a table, whose first unit is `base`, and frees the tables below them. */
  private _freeChildren(words: Uint32Array, level: number, from: number, to: number, base: number): void {
    let run = { start: 0, count: 0 };
    for (let index = from; index <= to; index++) {
      const low = words[index * 2]!;
      if (!isPresent(low)) continue;
      const frame = addressOf(low, words[index * 2 + 1]!) / FRAME_SIZE;
      clearEntry(words, index);
      if (low & LEAF) continue;
      let count = 1;
      if (level > 1) {
        const children = this.memory.entries(frame);
        const start = base + index * 2 ** (level * LEVEL_BITS);
        if (children instanceof Uint32Array) this._freeChildren(children, level - 1, 0, ENTRIES - 1, start);
        else if (isUpper(children, frame)) count = GROUP;
      }
      if (frame === run.start + run.count) run.count += count;
      else {
        if (run.count > 0) this.memory.release(run.start, run.count);
        run = { start: frame, count };
      }
    }
    if (run.count > 0) this.memory.release(run.start, run.count);
    if (level === 1) this._forget(Math.floor(base / ENTRIES), from, to);
  }

  /** Forgets lowest tables that were freed: numbers `from` to `to` behind `span`. */
  private _forget(span: number, from: number, to: number): void {
    this._lowest.get(Math.floor(span / ENTRIES))?.fill(null, from, to + 1);
    if (this._span >= span + from && this._span <= span + to) this._span = -1;
  }
}
