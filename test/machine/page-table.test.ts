/** Page tables against a model that knows each unit, with maps that fill tables as a whole and with what takes them apart. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FRAME_SIZE, PhysicalMemory } from '../../src/machine/memory.ts';
import { PageTable, READ, tableFormat, WRITE } from '../../src/machine/page-table.ts';
import { type Extent, type Leaf, TableWalk } from '../../src/machine/table-walk.ts';

const FRAMES = 2 ** 30;
const LAST = 2n ** 48n - 1n;
const TABLE = 512;
/** Units that the model knows. */
const UNITS = 12 * TABLE;

/** Numbers that a seed decides. */
function numbers(seed: number): (most: number) => number {
  let state = seed;
  return (most) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * most);
  };
}

/** Memory in which free frames lie in holes of a few, so that tables do not lie in a row. */
function perforated(): PhysicalMemory {
  const memory = new PhysicalMemory(FRAMES);
  memory.allocate(4096, { owner: 'other' });
  for (let frame = 1; frame < 4096; frame += 5) memory.release(frame, 1 + (frame % 4));
  return memory;
}

class Model {
  readonly leaves: (Leaf | undefined)[] = new Array(UNITS);
  readonly minShift: number;

  constructor(minShift: number) {
    this.minShift = minShift;
  }

  isFree(unit: number, units: number): boolean {
    return this.leaves.slice(unit, unit + units).every((leaf) => leaf === undefined);
  }

  /** The leaves are the table's own choice: the model only takes them where they are the largest that fit. */
  map(table: PageTable, extent: Extent, maxShift: number): void {
    const { unit, units, physical, access } = extent;
    const sizes = table.format.leafShifts.filter((shift) => shift <= maxShift || shift === this.minShift);
    for (let at = unit; at < unit + units; ) {
      const address = physical + (at - unit) * 2 ** this.minShift;
      const shift = sizes.find((candidate) => {
        const size = 2 ** (candidate - this.minShift);
        return size <= unit + units - at && at % size === 0 && address % 2 ** candidate === 0;
      })!;
      const leaf = { unit: at, shift, physical: address, access, dirty: false };
      for (const end = at + 2 ** (shift - this.minShift); at < end; at++) this.leaves[at] = leaf;
    }
  }

  extents(first: number, last: number): Extent[] {
    const extents: Extent[] = [];
    for (let unit = first; unit <= last; unit++) {
      const leaf = this.leaves[unit];
      if (!leaf) continue;
      const physical = leaf.physical + (unit - leaf.unit) * 2 ** this.minShift;
      const left = extents.at(-1);
      const joins =
        left &&
        left.unit + left.units === unit &&
        left.physical + left.units * 2 ** this.minShift === physical &&
        left.access === leaf.access;
      if (joins) left.units++;
      else extents.push({ unit, units: 1, physical, access: leaf.access });
    }
    return extents;
  }

  dirty(first: number, last: number, clear: boolean): [number, number][] {
    const found = new Set(this.leaves.slice(first, last + 1).filter((leaf) => leaf?.dirty));
    const told = [...found].map((leaf): [number, number] => [leaf!.unit, leaf!.shift]);
    if (clear) for (const leaf of found) leaf!.dirty = false;
    return told;
  }
}

for (const [what, sizes] of [
  ['pages of 4 KiB and 2 MiB', [4096n, 2n ** 21n]],
  ['pages of 2 and 4 KiB', [2048n, 4096n]],
  ['all powers of two from 4 KiB to 4 MiB', Array.from({ length: 11 }, (_, index) => 4096n << BigInt(index))],
] as const)
  test(`what is mapped, unmapped and written at random is what a model says: ${what}`, () => {
    for (let seed = 1; seed <= 12; seed++) {
      const pick = numbers(seed);
      const memory = perforated();
      const free = memory.freeFrames;
      const table = PageTable.make(memory, tableFormat(0n, LAST, [...sizes]))!;
      const { minShift } = table.format;
      const model = new Model(minShift);
      const bytes = 2 ** minShift;
      // Hardware has only the root, and sees what software does.
      const hardware = new TableWalk(memory, table.format, table.root);
      for (let step = 0; step < 60; step++) {
        const unit = pick(3) === 0 ? pick(12) * TABLE : pick(UNITS);
        const units = 1 + pick(Math.min(UNITS - unit, pick(2) === 0 ? 40 : UNITS));
        const last = unit + units - 1;
        switch (pick(5)) {
          case 0:
          case 1: {
            if (!model.isFree(unit, units)) break;
            const maxShift = [12, 21, 63][pick(3)]!;
            const skew = pick(2) === 0 ? 0 : pick(600) * bytes;
            const physical = 2 ** 41 + unit * bytes + skew;
            const access = [READ, READ | WRITE][pick(2)]!;
            assert.ok(table.map(unit, physical, units, access, maxShift));
            model.map(table, { unit, units, physical, access }, maxShift);
            break;
          }
          case 2: {
            // Not through a leaf.
            const first = model.leaves[unit]?.unit ?? unit;
            const end = model.leaves[last]
              ? model.leaves[last].unit + 2 ** (model.leaves[last].shift - minShift)
              : last + 1;
            table.unmap(first, end - first);
            model.leaves.fill(undefined, first, end);
            break;
          }
          case 3:
            for (let times = pick(20); times > 0; times--) {
              const at = pick(UNITS);
              hardware.setDirty(at);
              const leaf = model.leaves[at];
              if (leaf) leaf.dirty = true;
            }
            break;
          case 4: {
            const clear = pick(2) === 0;
            const told: [number, number][] = [];
            table.eachDirty(unit, last, clear, (at, shift) => told.push([at, shift]));
            assert.deepEqual(told, model.dirty(unit, last, clear));
          }
        }
        assert.deepEqual([...hardware.extents(unit, last)], model.extents(unit, last), `seed ${seed}, step ${step}`);
        for (let times = 0; times < 20; times++) {
          const at = pick(UNITS);
          assert.deepEqual(hardware.lookup(at), model.leaves[at] ?? null, `seed ${seed}, step ${step}, unit ${at}`);
        }
      }
      const tables = table.tables();
      assert.equal(
        tables.reduce((sum, { count }) => sum + count, 0),
        free - memory.freeFrames,
      );
      for (const { start, count } of tables) for (let at = start; at < start + count; at++) assert.ok(memory.runAt(at));
      table.free();
      assert.equal(memory.freeFrames, free);
    }
  });

const FORMAT = tableFormat(0n, LAST, [4096n, 2n ** 21n, 2n ** 30n]);
const GIB_UNITS = 2 ** 18;

test('what a full table holds can be read as bytes, and is what hardware walks once it is written', () => {
  const memory = new PhysicalMemory(FRAMES);
  const table = PageTable.make(memory, FORMAT)!;
  assert.ok(table.map(0, 2 ** 40, 4 * TABLE, READ | WRITE, 12));
  const frames = table.tables().flatMap(({ start, count }) => Array.from({ length: count }, (_, at) => start + at));
  const lowest = frames.slice(-4);
  // Untouched, read by the word, and read as bytes: the same.
  const bytes = new Uint8Array(16);
  memory.read(lowest[1]! * FRAME_SIZE + 8, bytes);
  const [low, high, nextLow] = new Uint32Array(bytes.buffer);
  assert.equal(low, memory.word(lowest[1]!, 2));
  assert.equal(high, 2 ** 8);
  assert.equal(nextLow! - low!, FRAME_SIZE);
  memory.setWord(lowest[2]!, 0, 0);
  assert.equal(table.lookup(2 * TABLE), null);
  assert.equal(table.lookup(2 * TABLE + 1)?.physical, 2 ** 40 + (2 * TABLE + 1) * FRAME_SIZE);
  assert.equal(table.lookup(3 * TABLE)?.physical, 2 ** 40 + 3 * TABLE * FRAME_SIZE);
});

test('full tables in a row keep what differs between them', () => {
  const memory = new PhysicalMemory(FRAMES);
  const table = PageTable.make(memory, FORMAT)!;
  for (const [at, access] of [READ, READ | WRITE, READ | WRITE, WRITE].entries())
    assert.ok(table.map(at * TABLE, 2 ** 40 + at * TABLE * FRAME_SIZE, TABLE, access, 12));
  assert.ok(table.map(4 * TABLE, 2 ** 41, TABLE, WRITE, 12));
  assert.deepEqual(
    [...table.extents(0, 5 * TABLE - 1)].map(({ units, access }) => [units / TABLE, access]),
    [
      [1, READ],
      [2, READ | WRITE],
      [1, WRITE],
      [1, WRITE],
    ],
  );
  assert.equal(table.lookup(4 * TABLE + 1)?.physical, 2 ** 41 + FRAME_SIZE);
});

test('tables above full ones are the same whether they are made by the thousand or one by one', () => {
  const units = 3 * GIB_UNITS + 700;
  const memories = [new PhysicalMemory(FRAMES), new PhysicalMemory(FRAMES)] as const;
  const tables = memories.map((memory) => PageTable.make(memory, FORMAT)!);
  const [atOnce, inPieces] = tables as [PageTable, PageTable];
  const map = (table: PageTable, first: number, count: number): void =>
    assert.ok(table.map(GIB_UNITS - TABLE + first, 2 ** 40 + first * FRAME_SIZE, count, READ | WRITE, 12));
  map(atOnce, 0, units);
  for (let first = 0; first < units; first += TABLE) map(inPieces, first, Math.min(TABLE, units - first));
  const same = (): void => {
    assert.deepEqual(atOnce.tables(), inPieces.tables());
    assert.equal(memories[0].freeFrames, memories[1].freeFrames);
    const [one, other] = tables.map((table) => [...table.extents(0, 5 * GIB_UNITS)]);
    assert.deepEqual(one, other);
    for (let unit = 0; unit < 5 * GIB_UNITS; unit += 7919)
      assert.deepEqual(atOnce.lookup(unit), inPieces.lookup(unit), `unit ${unit}`);
  };
  same();
  const dirty = tables.map((table) => {
    table.setDirty(2 * GIB_UNITS + 1000);
    table.unmap(GIB_UNITS + 3 * TABLE + 5, 4 * TABLE);
    const found: number[] = [];
    table.eachDirty(0, 5 * GIB_UNITS, false, (unit) => found.push(unit));
    return found;
  });
  assert.deepEqual(dirty, [[2 * GIB_UNITS + 1000], [2 * GIB_UNITS + 1000]]);
  same();
  // A stray write into a lower table is seen, although nothing has changed above it.
  const frame = atOnce.tables()[0]!.start + TABLE * (TABLE + 1);
  for (const memory of memories) memory.setWord(frame, 8, 0);
  same();
  for (const [start, count] of atOnce.tables().map((run) => [run.start, run.count] as const))
    for (let at = start; at < start + count; at += 97)
      for (const index of [0, 1, 777]) assert.equal(memories[0].word(at, index), memories[1].word(at, index));
  for (const table of tables) table.unmap(GIB_UNITS + TABLE, GIB_UNITS);
  same();
  for (const table of tables) table.unmap(0, 5 * GIB_UNITS);
  same();
  for (const table of tables) table.free();
  assert.deepEqual(
    memories.map((memory) => memory.freeFrames),
    [FRAMES - 1, FRAMES - 1],
  );
});

test('full tables end where a larger leaf can begin', () => {
  const memory = new PhysicalMemory(FRAMES);
  const table = PageTable.make(memory, tableFormat(0n, LAST, [4096n, 2n ** 30n]))!;
  assert.ok(table.map(TABLE, 2 ** 40 + TABLE * FRAME_SIZE, 3 * GIB_UNITS, READ, 63));
  const shifts = [TABLE, GIB_UNITS - 1, GIB_UNITS, 3 * GIB_UNITS - 1, 3 * GIB_UNITS].map(
    (at) => table.lookup(at)?.shift,
  );
  assert.deepEqual(shifts, [12, 12, 30, 30, 12]);
  assert.equal([...table.extents(0, 4 * GIB_UNITS)].length, 1);
});

test('a table without memory for all of it can be unmapped, and leaves nothing', () => {
  const memory = new PhysicalMemory(600);
  const table = PageTable.make(memory, FORMAT)!;
  const free = memory.freeFrames;
  assert.equal(table.map(5, 2 ** 40 + 5 * FRAME_SIZE, 2 * GIB_UNITS, READ, 12), false);
  table.unmap(5, 2 * GIB_UNITS);
  assert.ok(free - memory.freeFrames <= 4);
  assert.deepEqual([...table.extents(0, Number.MAX_SAFE_INTEGER)], []);
  table.free();
  assert.equal(memory.freeFrames, free + 1);
});

test('full tables outlive a kexec that keeps their frames', () => {
  const memory = new PhysicalMemory(FRAMES);
  const table = PageTable.make(memory, FORMAT)!;
  assert.ok(table.map(3, 2 ** 40, GIB_UNITS, READ | WRITE, 12));
  table.setDirty(1000);
  const before = [...table.extents(0, Number.MAX_SAFE_INTEGER)];
  memory.allocate(1000, { owner: 'process' });
  memory.retain(table.tables(), 'reserved');
  const next = new PageTable(memory, FORMAT, table.root);
  assert.deepEqual([...next.extents(0, Number.MAX_SAFE_INTEGER)], before);
  assert.equal(before.length, 1);
  const dirty: number[] = [];
  next.eachDirty(0, Number.MAX_SAFE_INTEGER, false, (unit) => dirty.push(unit));
  assert.deepEqual(dirty, [1000]);
  next.free();
  assert.equal(memory.freeFrames, FRAMES - 1);
});
