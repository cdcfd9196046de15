/** What frames hold, however little or much of them was written, and what that takes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { footprint } from '../../src/host/footprint.ts';
import type { EntryRun } from '../../src/machine/entry-run.ts';
import { PhysicalMemory } from '../../src/machine/memory.ts';
import { finished } from '../support/steps.ts';

const FRAME = 4096;
const MIB = 1 << 20;

const bytesOf = (memory: PhysicalMemory): number => finished(footprint(memory)).memory;

function frames(memory: PhysicalMemory, count: number, fill?: 'touched' | EntryRun): number {
  const [run] = memory.allocate(count, { owner: 'process', ...(fill && { fill }) })!;
  return run!.start;
}

function read(memory: PhysicalMemory, physical: number, length: number): Uint8Array {
  // What was in the target before does not shine through.
  const bytes = new Uint8Array(length).fill(0xee);
  memory.read(physical, bytes);
  return bytes;
}

test('reads, writes, copies and truncations at random are those of an array of bytes', () => {
  const FRAMES = 32;
  const memory = new PhysicalMemory(4 * FRAMES);
  const run: EntryRun = { frame: 0, physical: 0, flags: 3, step: FRAME, repeat: 1 };
  for (const fill of [undefined, 'touched', run] as const) {
    const start = frames(memory, FRAMES, fill);
    const model = read(memory, start * FRAME, FRAMES * FRAME);
    let seed = 7;
    const next = (most: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
      return (seed >>> 8) % most;
    };
    const once = (start: number, model: Uint8Array): void => {
      const at = next(FRAMES * FRAME);
      const length = Math.min(1 + (next(4) === 0 ? next(3 * FRAME) : next(70)), FRAMES * FRAME - at);
      const bytes = Uint8Array.from({ length }, () => (next(3) === 0 ? next(256) : 0));
      const frame = Math.floor(at / FRAME);
      switch (next(8)) {
        case 0:
          memory.clear(start + frame, 1);
          model.fill(0, frame * FRAME, (frame + 1) * FRAME);
          break;
        case 1: {
          const word = next(FRAME / 4);
          memory.setWord(start + frame, word, 0x01020304);
          model.set([4, 3, 2, 1], frame * FRAME + word * 4);
          assert.equal(memory.word(start + frame, word), 0x01020304);
          break;
        }
        case 2:
          // A table of hardware, say: from now on it has words of its own.
          assert.equal(memory.words(start + frame)[5], new Uint32Array(model.buffer)[(frame * FRAME) / 4 + 5]);
          break;
        default:
          memory.write(start * FRAME + at, bytes);
          model.set(bytes, at);
      }
      assert.deepEqual(read(memory, start * FRAME + at, length), model.slice(at, at + length));
    };
    for (let round = 0; round < 1500; round++) once(start, model);
    assert.deepEqual(read(memory, start * FRAME, FRAMES * FRAME), model);
    const [copy] = memory.duplicate({ start, count: FRAMES }, { owner: 'process' })!;
    const copied = model.slice();
    for (let round = 0; round < 500; round++) {
      once(start, model);
      once(copy!.start, copied);
    }
    assert.deepEqual(read(memory, start * FRAME, FRAMES * FRAME), model);
    assert.deepEqual(read(memory, copy!.start * FRAME, FRAMES * FRAME), copied);
    memory.release(copy!.start, FRAMES);
    memory.release(start, FRAMES);
  }
});

test('a byte in each of many frames takes some tens of bytes each, and nothing once they are free', () => {
  const COUNT = 20_000;
  const memory = new PhysicalMemory(2 * COUNT);
  const start = frames(memory, COUNT);
  const empty = bytesOf(memory);
  for (let frame = 0; frame < COUNT; frame++) memory.write((start + frame) * FRAME + 100, Uint8Array.of(1));
  const each = (bytesOf(memory) - empty) / COUNT;
  assert.ok(each > 64 && each < 110, `${each} bytes a frame`);
  // Half of them are free: every second one.
  for (let frame = 0; frame < COUNT; frame += 2) memory.release(start + frame, 1);
  const half = (bytesOf(memory) - empty) / COUNT;
  assert.ok(half < 0.8 * each + 45, `${half} bytes a frame, with half of them free`);
  for (let frame = 1; frame < COUNT; frame += 2)
    assert.equal(read(memory, (start + frame) * FRAME + 100, 1)[0], 1, `frame ${frame}`);
  for (let frame = 1; frame < COUNT; frame += 2) memory.release(start + frame, 1);
  assert.ok(bytesOf(memory) < empty + 1000, `${bytesOf(memory)} bytes, ${empty} before`);
});

test('zeroes that are written to memory which is zero take nothing, and much in a frame takes no more than the frame', () => {
  const COUNT = 256;
  const memory = new PhysicalMemory(4 * COUNT);
  const start = frames(memory, COUNT);
  const empty = bytesOf(memory);
  memory.write(start * FRAME, new Uint8Array(COUNT * FRAME));
  assert.equal(bytesOf(memory), empty);
  for (let at = 0; at < COUNT * FRAME; at += 32) memory.write(start * FRAME + at, Uint8Array.of(at));
  const all = bytesOf(memory) - empty;
  assert.ok(all < 1.2 * MIB, `${all} bytes for a MiB`);
  memory.release(start, COUNT);
  assert.ok(bytesOf(memory) < empty + 1000);
  assert.deepEqual(read(memory, frames(memory, COUNT) * FRAME, COUNT * FRAME), new Uint8Array(COUNT * FRAME));
});
