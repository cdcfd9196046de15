/** What a tenant can ask that may cost more than its share: each shape at n and at 4n, which must not cost more than 5 times. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { DEVICES } from './adversary/devices.ts';
import { HANDOVERS } from './adversary/handovers.ts';
import { HOSTS } from './adversary/hosts.ts';
import { PROCESSES } from './adversary/processes.ts';
import { SPACES } from './adversary/spaces.ts';
import type { Shape } from './adversary/tenant.ts';
import { type Benchmark, median, now, progress, type Result, round } from './harness.ts';

const GROWTH = 4;
const MOST = 5;
const RUNS = 3;
/** Short works are measured more often. */
const SHORT = 20;
const SHORT_RUNS = 7;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Milliseconds of all of these, without the garbage that making them has left. */
function measure(works: readonly (() => unknown)[]): number {
  collectGarbage();
  const start = now();
  for (const work of works) work();
  return now() - start;
}

/**
 * The smaller size is measured by as many in a row as make the larger one, so that what they leave to the garbage collector
 * is as much, and a difference is one of the structures.
 */
function compare({ name, n, make }: Shape): Omit<Result, 'name'> {
  const small = (): number => measure(Array.from({ length: GROWTH }, () => make(n))) / GROWTH;
  const large = (): number => measure([make(GROWTH * n)]);
  // The first run of each only warms the code up.
  small();
  const runs = large() < SHORT ? SHORT_RUNS : RUNS;
  const times = Array.from({ length: runs }, () => ({ small: small(), large: large() }));
  const value = median(times.map((time) => time.large));
  const floor = median(times.map((time) => time.small));
  progress(`  ${round(floor)} and ${round(value)} ms, ${round(value / floor)} ×: ${name}`);
  return {
    figure: name,
    value,
    unit: 'ms',
    floor,
    ratio: value / floor,
    goal: `≤ ${MOST} × at a quarter of n`,
    met: value <= MOST * floor,
    note: `n = ${(GROWTH * n).toLocaleString('en-US')}; floor: at a quarter of that`,
  };
}

const SHAPES = [...SPACES, ...DEVICES, ...PROCESSES, ...HANDOVERS, ...HOSTS];

export const ADVERSARY: Benchmark[] = [
  {
    name: 'adversary',
    about: 'what a tenant asks with bad intent, at n and at 4n',
    run: async () => SHAPES.map(compare),
  },
];
