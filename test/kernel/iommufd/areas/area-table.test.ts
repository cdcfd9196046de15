import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Area } from '../../../../src/kernel/iommufd/areas/area-cursor.ts';
import { AreaTable } from '../../../../src/kernel/iommufd/areas/area-table.ts';
import { highOf, lowOf } from '../../../../src/machine/address.ts';

const UMAX = 2n ** 64n - 1n;

/** The same in the simplest form: a sorted array. */
class Model {
  areas: Area[] = [];

  overlaps(iova: bigint, last: bigint): boolean {
    return this.areas.some((area) => area.iova <= last && area.last >= iova);
  }

  insert(area: Area): void {
    const index = this.areas.findIndex((other) => other.iova > area.iova);
    this.areas.splice(index < 0 ? this.areas.length : index, 0, area);
  }

  holes(start: bigint, last: bigint, length: bigint): { start: bigint; last: bigint }[] {
    const holes: { start: bigint; last: bigint }[] = [];
    let cursor = start;
    const hole = (end: bigint): void => {
      const clipped = end < last ? end : last;
      if (cursor <= clipped && clipped - cursor + 1n >= length) holes.push({ start: cursor, last: clipped });
    };
    for (const area of this.areas) {
      if (area.last < cursor) continue;
      if (area.iova > last) break;
      hole(area.iova - 1n);
      cursor = area.last + 1n;
    }
    hole(last);
    return holes;
  }
}

class Both {
  readonly table = new AreaTable();
  readonly model = new Model();
  #source = 0;

  insert(iova: bigint, length: bigint): void {
    const last = iova + length - 1n;
    if (last > UMAX) return;
    const found = this.table.seek(highOf(last), lowOf(last));
    const taken = found && this.table.reaches(highOf(iova), lowOf(iova));
    assert.equal(taken, this.model.overlaps(iova, last));
    if (taken) return;
    const area = { iova, last, start: iova ^ 0xfff000n, access: 3, source: this.#source++ % 1000 };
    const { source, access } = area;
    const words = [iova, last, area.start].flatMap((value) => [highOf(value), lowOf(value)]);
    this.table.insertAfter(...(words as [number, number, number, number, number, number]), source, access);
    assert.deepEqual(this.table.area(), area);
    this.model.insert(area);
  }

  remove(iova: bigint): void {
    const index = this.model.areas.findLastIndex((area) => area.iova <= iova);
    assert.equal(this.table.seek(highOf(iova), lowOf(iova)), index >= 0);
    if (index < 0) return;
    assert.deepEqual(this.table.area(), this.model.areas[index]);
    this.table.remove();
    this.model.areas.splice(index, 1);
    // It goes to the area before, so that the next one is the one behind.
    assert.equal(this.table.next(), index < this.model.areas.length);
    if (index < this.model.areas.length) assert.deepEqual(this.table.area(), this.model.areas[index]);
  }

  /** Takes out some areas of one block at once. */
  removeRun(iova: bigint, most: number): void {
    if (!this.table.seek(highOf(iova), lowOf(iova))) return;
    const index = this.model.areas.findLastIndex((area) => area.iova <= iova);
    const count = Math.min(most, this.table.leftInBlock);
    this.table.removeRun(this.table.slot, count);
    this.model.areas.splice(index, count);
    assert.equal(this.table.next(), index < this.model.areas.length);
    if (index < this.model.areas.length) assert.deepEqual(this.table.area(), this.model.areas[index]);
  }

  cut(iova: bigint): void {
    const index = this.model.areas.findIndex((area) => area.iova < iova && area.last >= iova);
    const area = this.model.areas[index];
    if (!area) return;
    this.table.seek(highOf(iova), lowOf(iova));
    this.table.cut(iova);
    const rest = { ...area, iova, start: area.start + (iova - area.iova) };
    this.model.areas.splice(index, 1, { ...area, last: iova - 1n }, rest);
    assert.deepEqual(this.table.area(), rest);
  }

  check(start: bigint, last: bigint, length: bigint): void {
    assert.equal(this.table.size, this.model.areas.length);
    assert.deepEqual([...this.table], this.model.areas);
    assert.deepEqual([...this.table.holes(start, last, length)], this.model.holes(start, last, length));
  }
}

/** Dense enough that areas touch, and also where doubles are not exact. */
const unit = fc.constantFrom(1n, 0x800n, 0x1000n);
const base = fc.constantFrom(0n, 0xffff_0000n, 2n ** 53n - 0x8000n, 2n ** 63n - 0x400n, UMAX - 0x3ff_ffffn);
const steps = fc.array(
  fc.record({
    op: fc.constantFrom('insert', 'insert', 'insert', 'remove', 'removeRun', 'cut'),
    place: fc.nat(700),
    size: fc.integer({ min: 1, max: 3 }),
    times: fc.integer({ min: 1, max: 90 }),
    direction: fc.constantFrom(-1n, 0n, 1n),
  }),
  { maxLength: 60 },
);

test('the table of areas is a sorted list, however it is filled and emptied', () => {
  fc.assert(
    fc.property(base, unit, steps, fc.nat(800), fc.nat(800), fc.nat(5), (base, unit, steps, from, to, wanted) => {
      const both = new Both();
      for (const { op, place, size, times, direction } of steps)
        for (let time = 0n; time < times; time++) {
          const iova = base + unit * (BigInt(place) + direction * time * BigInt(size));
          if (iova < 0n || iova > UMAX) continue;
          if (op === 'insert') both.insert(iova, unit * BigInt(size));
          else if (op === 'remove') both.remove(iova);
          else if (op === 'cut') both.cut(iova);
          else if (time === 0n) both.removeRun(iova, times);
        }
      const [start, last] = [base + unit * BigInt(Math.min(from, to)), base + unit * BigInt(Math.max(from, to))];
      both.check(start, last < UMAX ? last : UMAX, unit * BigInt(wanted) + 1n);
      both.check(0n, UMAX, unit * BigInt(wanted) + 1n);
    }),
    { numRuns: 300 },
  );
});

test('many areas in ascending, descending and random order take no more room than they need', () => {
  const count = 40_000n;
  const orders: Record<string, (index: bigint) => bigint> = {
    ascending: (index) => index,
    descending: (index) => count - index,
    // 23,719 and 40,009 are coprime: every place once, in an order that jumps.
    jumping: (index) => (index * 23_719n) % 40_009n,
    // What a kernel's allocator does that goes downwards between two other areas.
    'descending between two': (index) => (index === 0n ? 0n : index === 1n ? 100_000n : 90_000n - index),
  };
  for (const [name, order] of Object.entries(orders)) {
    const both = new Both();
    for (let index = 0n; index < count; index++) {
      const iova = order(index) * 0x1000n;
      both.table.seek(highOf(iova), lowOf(iova));
      both.table.insertAfter(highOf(iova), lowOf(iova), highOf(iova), lowOf(iova) + 0xfff, 0, 0, 0, 3);
    }
    const bytes = both.table.bytes / Number(count);
    assert.ok(bytes < (name === 'jumping' ? 50 : 31), `${name}: ${bytes} bytes an area`);
    let previous = -1n;
    for (const { iova } of both.table) {
      assert.ok(iova > previous);
      previous = iova;
    }
  }
});

/** Where something fits first, in the plainest way. */
function firstFit(areas: readonly Area[], start: number, last: number, length: number, alignment: number): number {
  let cursor = start;
  const within = (end: number): number => {
    const iova = Math.ceil(cursor / alignment) * alignment;
    return iova < end && end - iova >= length - 1 ? iova : -1;
  };
  for (const area of areas) {
    if (Number(area.last) < cursor) continue;
    if (Number(area.iova) > last) break;
    const iova = within(Number(area.iova) - 1);
    if (iova >= 0) return iova;
    cursor = Number(area.last) + 1;
  }
  return within(last);
}

test('the first place that fits is found again and again while areas come and go', () => {
  const page = 0x1000;
  const change = fc.record({
    op: fc.constantFrom('fit', 'fit', 'fit', 'insert', 'remove', 'removeRun'),
    place: fc.nat(900),
    pages: fc.integer({ min: 1, max: 9 }),
    times: fc.integer({ min: 1, max: 40 }),
    from: fc.oneof(fc.constant(0), fc.constant(590), fc.nat(600)),
    to: fc.oneof(fc.constant(2 ** 28), fc.integer({ min: 601, max: 612 })),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 120 }), fc.nat(3), (changes, spacing) => {
      const both = new Both();
      for (let index = 0; index < 400; index++)
        both.insert(BigInt((index * (1 + spacing) + (index % 5)) * page), BigInt(page));
      for (const { op, place, pages, times, from, to } of changes) {
        const iova = BigInt(place * page);
        if (op === 'insert') both.insert(iova, BigInt(pages * page));
        else if (op === 'remove') both.remove(iova);
        else if (op === 'removeRun') both.removeRun(iova, times);
        else
          for (let time = 0; time < times; time++) {
            const length = pages * page;
            const alignment = 2 ** Math.ceil(Math.log2(length));
            const [start, last] = [from * page, to * page - 1];
            const found = both.table.fit(start, last, length, alignment, 0);
            assert.equal(found, firstFit(both.model.areas, start, last, length, alignment));
            if (found >= 0) both.insert(BigInt(found), BigInt(length));
          }
      }
    }),
    { numRuns: 200 },
  );
});

test('what does not fit into a range may fit at its end when the range grows', () => {
  const table = new AreaTable();
  table.insertPages(0, 1, 0, 0, 10, 0, 3);
  const fit = (pages: number, last: number): number =>
    table.fit(0, last * 0x1000 - 1, pages * 0x1000, 0x1000, 0) / 0x1000;
  assert.ok(fit(4, 12) < 0);
  assert.equal(fit(4, 13), -1 / 0x1000);
  assert.equal(fit(4, 14), 10);
  assert.equal(fit(4, 100), 10);
});

test('a search that begins within the gap before a block says nothing of one that begins before it', () => {
  const page = 0x1000;
  // Some blocks of areas, two pages apart; then a gap that is as wide as six areas, wherever a block ends.
  for (let gap = 40; gap < 380; gap++) {
    const table = new AreaTable();
    for (let index = 0; index < 400; index++) {
      if (index > gap && index <= gap + 6) continue;
      table.seek(0, index * 2 * page);
      table.insertAfter(0, index * 2 * page, 0, index * 2 * page + page - 1, 0, 0, 0, 3);
    }
    const begin = (gap * 2 + 1) * page;
    const fit = (start: number): number => table.fit(start, 2 ** 28, 5 * page, page, 0);
    assert.ok(fit(begin + 10 * page) > begin + 10 * page, 'the gap is cut short');
    assert.equal(fit(0), begin);
  }
});

test('reading ahead changes nothing, wherever the keys lie', () => {
  const table = new AreaTable();
  const keys = Float64Array.of(0, 1, 2 ** 40, 2 ** 40 + 2 ** 22, 2 ** 60, 2 ** 64);
  assert.equal(table.prefetch(keys, keys.length), 0);
  for (let area = 0; area < 20_000; area++) {
    const low = (area % 2 ** 18) * 8192;
    table.insertAfter(256, low, 256, low + 4095, 0, 0, 1, 3);
  }
  // Keys of these are equal: they are rounded.
  for (const low of [0, 64, 128]) table.insertAfter(2 ** 28, low, 2 ** 28, low + 63, 0, 0, 1, 3);
  table.seek(256, 81_920);
  const area = table.area();
  for (let count = 0; count <= keys.length; count++) table.prefetch(keys, count);
  assert.deepEqual(table.area(), area);
  assert.equal(table.size, 20_003);
});
