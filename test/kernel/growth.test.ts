/** What many cost beside what few cost: of work that once grew with the square of what there is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEVICES } from '../../bench/adversary/devices.ts';
import { HANDOVERS } from '../../bench/adversary/handovers.ts';
import { PROCESSES } from '../../bench/adversary/processes.ts';
import { SPACES } from '../../bench/adversary/spaces.ts';

const GROWTH = 4;
/** Four times as many cost four times as much, and where it is the square sixteen times. */
const MOST = 9;
const RUNS = 4;

const SHAPES = new Map([...SPACES, ...DEVICES, ...PROCESSES, ...HANDOVERS].map((shape) => [shape.name, shape]));

/** Milliseconds of works in a row. */
function milliseconds(works: readonly (() => unknown)[]): number {
  const start = performance.now();
  for (const work of works) work();
  return performance.now() - start;
}

for (const name of [
  'ALLOW_IOVAS of n ranges beside n reserved ones',
  'n maps where the kernel chooses, in n allowed ranges',
  'n maps where the kernel chooses, between n reserved ranges',
  'n times a range is reserved and a page mapped',
  'an access has n pins of areas that are unmapped',
  'one device is opened n times, and closed',
  'n descriptors from a number on',
  'n faults armed, all of which strike',
  'n faults armed, and disarmed',
  'n sessions, made and closed',
  'n sessions, each retrieved after a live update and closed before the next one',
  'n memfds are preserved in a session',
])
  test(`many cost as much as few, each: ${name}`, () => {
    const { n, make } = SHAPES.get(name)!;
    let [few, many] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    // Whoever else works on the machine makes a run slower, and none faster.
    for (let run = 0; run === 0 || (run < RUNS && many > MOST * few); run++) {
      few = Math.min(few, milliseconds(Array.from({ length: GROWTH }, () => make(n))) / GROWTH);
      many = Math.min(many, milliseconds([make(GROWTH * n)]));
    }
    assert.ok(few > 0 && many <= MOST * few, `${many.toFixed(1)} ms for ${GROWTH * n}, ${few.toFixed(1)} ms for ${n}`);
  });

test('60 TiB in pages of 4 KiB only are mapped and unmapped in no more than seconds', () => {
  const { n, make } = SHAPES.get('IOAS_MAP and UNMAP of n TiB in pages of 4 KiB only')!;
  assert.ok(milliseconds([make(GROWTH * n)]) < 20_000);
});
