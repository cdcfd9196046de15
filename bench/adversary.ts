/** What a tenant can ask that may cost more than its share: each shape at n and at 4n, which must not cost more than 5 times. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { DEVICES } from './adversary/devices.ts';
import { HANDOVERS } from './adversary/handovers.ts';
import { HOSTS } from './adversary/hosts.ts';
import { PROCESSES } from './adversary/processes.ts';
import { SPACES } from './adversary/spaces.ts';
import type { Shape } from './adversary/tenant.ts';
import { type Benchmark, median, progress, type Result, round } from './harness.ts';

const GROWTH = 4;
const MOST = 5;
const RUNS = 7;
/**
 * A short work is measured so often in a row that it takes as many milliseconds: a collection of garbage would be most of less, and
 * the system counts the time of a thread in steps of some milliseconds.
 */
const LEAST_MS = 20;
const MOST_IN_A_ROW = 10;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Milliseconds of this thread that each of so many takes, without the garbage that making them has left. */
function measure(count: number, make: () => () => unknown): number {
  const works = Array.from({ length: count }, make);
  collectGarbage();
  const before = process.threadCpuUsage();
  for (const work of works) work();
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1000 / count;
}

/**
 * Of the smaller size so many more are measured in a row that they make the larger one, so that what they leave to the garbage
 * collector is as much, and a difference is one of the structures.
 */
function compare({ name, n, make }: Shape): Omit<Result, 'name'> {
  const small = (count: number): number => measure(GROWTH * count, () => make(n));
  const large = (count: number): number => measure(count, () => make(GROWTH * n));
  // The first run of each only warms the code up.
  small(1);
  const count = Math.min(Math.ceil(LEAST_MS / large(1)), MOST_IN_A_ROW);
  const times = Array.from({ length: RUNS }, () => ({ small: small(count), large: large(count) }));
  const value = median(times.map((time) => time.large));
  const floor = median(times.map((time) => time.small));
  // Of each pair, one right behind the other: what else the machine does comes and goes.
  const ratio = median(times.map((time) => time.large / time.small));
  progress(`  ${round(floor)} and ${round(value)} ms, ${round(ratio)} ×: ${name}`);
  return {
    figure: name,
    value,
    unit: 'ms',
    floor,
    ratio,
    goal: `≤ ${MOST} × at a quarter of n`,
    met: ratio <= MOST,
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
