/** Pins of whole chunks and of single frames, counted in bulk, are those of a plain count of each frame. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FramePins } from '../../src/machine/frame-pins.ts';

const CHUNK = 512;
/** Frames whose chunks one array, or one number, counts. */
const PART = 1024 * CHUNK;

/** Frames near the ends of what is counted together. */
const edge = fc
  .record({ part: fc.nat(3), chunk: fc.constantFrom(0, 1, 512, 1023), frame: fc.constantFrom(0, 0, 0, 1, 511) })
  .map(({ part, chunk, frame }) => part * PART + chunk * CHUNK + frame);

/** Pins of ranges, which all have ends like these: between two of them all frames have as many. */
class Model {
  readonly ranges: [number, number][] = [];

  count(frame: number): number {
    return this.ranges.filter(([start, end]) => start <= frame && frame < end).length;
  }
}

test('pins of ranges are counted as those of each frame', () => {
  const action = fc.record({ ends: fc.tuple(edge, edge), undo: fc.boolean(), which: fc.nat() });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 25 }), (actions) => {
      const pins = new FramePins();
      const model = new Model();
      const seen = new Set<number>();
      for (const { ends, undo, which } of actions) {
        const [start, end] = ends.toSorted((a, b) => a - b) as [number, number];
        if (undo && model.ranges.length > 0) {
          const [[first, last]] = model.ranges.splice(which % model.ranges.length, 1) as [[number, number]];
          pins.unpin(first, last - first);
        } else if (start < end) {
          pins.pin(start, end - start);
          model.ranges.push([start, end]);
        }
        for (const frame of [start - 1, start, start + 1, end - 1, end]) if (frame >= 0) seen.add(frame);
        for (const frame of seen) assert.equal(pins.count(frame), model.count(frame), `frame ${frame}`);
        assert.equal(pins.isPinned(start, end), start < end && model.ranges.some(([a, b]) => a < end && start < b));
      }
    }),
    { numRuns: 300 },
  );
});

test('what is pinned as a whole takes no memory for each chunk', () => {
  const pins = new FramePins();
  pins.pin(0, 2 ** 34);
  assert.deepEqual([...pins.canonical()], [[0, 2 ** 25, 1]]);
  pins.unpin(0, 2 ** 34);
  assert.deepEqual([...pins.canonical()], []);
});
