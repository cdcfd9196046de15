import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PhysicalMemory } from '../../src/machine/memory.ts';
import { PageTable, READ, tableFormat, WRITE } from '../../src/machine/page-table.ts';

const FORMAT = tableFormat(0n, 2n ** 48n - 1n, [4096n, 2n ** 21n, 2n ** 30n]);
/** Pages of 4 KiB in one of 2 MiB. */
const LARGE = 512;

test('a frame can be pinned more often than 16 bits count, and is free with the last pin', () => {
  const memory = new PhysicalMemory(4096);
  const [{ start } = { start: 0 }] = memory.allocate(2, { owner: 'process' })!;
  const free = memory.freeFrames;
  const times = 70_000;
  for (let time = 0; time < times; time++) {
    memory.pinOne(start);
    memory.pin(start, 2);
  }
  memory.release(start, 2);
  for (let time = 0; time < 2 * times - 1; time++) memory.unpinOne(start);
  assert.equal(memory.freeFrames, free);
  memory.unpin(start, 1);
  assert.equal(memory.freeFrames, free + 1);
  for (let time = 0; time < times; time++) memory.unpinOne(start + 1);
  assert.equal(memory.freeFrames, free + 2);
  assert.equal(memory.runAt(start), null);
});

test('a large leaf takes the place of a table that small leaves have left behind, whose frame is free again', () => {
  const memory = new PhysicalMemory(1 << 20);
  const table = PageTable.make(memory, FORMAT)!;
  const unit = 7 * LARGE;
  assert.ok(table.map(unit, 0x4000_0000, LARGE, READ, 63));
  const free = memory.freeFrames;
  table.unmap(unit, LARGE);
  for (let page = 0; page < LARGE; page++) assert.ok(table.mapOne(unit + page, 0x5000_0000 + page * 4096, READ));
  for (let page = 0; page < LARGE; page++) assert.equal(table.unmapOne(unit + page), 0x5000_0000 + page * 4096);
  assert.ok(table.map(unit, 0x6000_0000, LARGE, READ | WRITE, 63));
  assert.equal(memory.freeFrames, free);
  assert.equal(table.lookup(unit + 5)?.shift, 21);
  table.unmap(unit, LARGE);

  // Small leaves come back: they are in a table that hardware finds, not in the old one.
  assert.ok(table.mapOne(unit + 1, 0x7000_0000, READ));
  assert.deepEqual(table.lookup(unit + 1), {
    unit: unit + 1,
    shift: 12,
    physical: 0x7000_0000,
    access: READ,
    dirty: false,
  });
  assert.equal(table.lookup(unit + 5), null);
  table.free();
  assert.equal(memory.freeFrames, (1 << 20) - 1);
});

test('tables that are used in turns do not take each other for the other', () => {
  const memory = new PhysicalMemory(1 << 20);
  const table = PageTable.make(memory, FORMAT)!;
  const units = Array.from({ length: 2000 }, (_, index) => ((index * 7919) % 2000) * 97);
  for (const unit of units) assert.ok(table.mapOne(unit, (unit + 1) * 4096, READ));
  for (const unit of units) assert.equal(table.lookup(unit)?.physical, (unit + 1) * 4096);
  table.unmap(0, 100 * LARGE);
  for (const unit of units) {
    const gone = unit < 100 * LARGE;
    assert.equal(table.unmapOne(unit), gone ? -1 : (unit + 1) * 4096);
    assert.equal(table.lookup(unit), null);
  }
});

test('a duplicate of frames has their contents, whether they were written or not, and is all there or not at all', () => {
  const memory = new PhysicalMemory(64);
  const [{ start } = { start: 0 }] = memory.allocate(4, { owner: 'process', fill: 'touched' })!;
  memory.write(start * 4096 + 4096 + 5, Uint8Array.of(7, 8));
  const bytesOf = (frame: number): Uint8Array => {
    const bytes = new Uint8Array(4096);
    memory.read(frame * 4096, bytes);
    return bytes;
  };
  const [copy] = memory.duplicate({ start, count: 4 }, { owner: 'process' })!;
  assert.equal(copy!.count, 4);
  for (let frame = 0; frame < 4; frame++) assert.deepEqual(bytesOf(copy!.start + frame), bytesOf(start + frame));
  memory.write(copy!.start * 4096 + 4096 + 5, Uint8Array.of(9));
  assert.equal(bytesOf(start + 1)[5], 7, 'and is none of the other');
  memory.clear(copy!.start, 3);
  for (let frame = 0; frame < 4; frame++)
    assert.deepEqual(bytesOf(copy!.start + frame), frame < 3 ? new Uint8Array(4096) : bytesOf(start));
  const rest = memory.freeFrames;
  memory.allocate(rest - 3, { owner: 'process' });
  assert.equal(memory.duplicate({ start, count: 4 }, { owner: 'process' }), null);
  assert.equal(memory.freeFrames, 3);
});

test('any pinned frame makes a range pinned', () => {
  const memory = new PhysicalMemory(4096);
  const [{ start } = { start: 0 }] = memory.allocate(1024, { owner: 'process' })!;
  assert.equal(memory.isPinned(start, 1024), false);
  memory.pinOne(start + 700);
  assert.deepEqual(
    [memory.isPinned(start, 1024), memory.isPinned(start, 700), memory.isPinned(start + 700, 1)],
    [true, false, true],
  );
  memory.unpinOne(start + 700);
  memory.pin(start, 1024);
  assert.equal(memory.isPinned(start + 1, 1), true);
});
