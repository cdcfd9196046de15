/** What a tenant can ask that may cost more than its share: each shape at n and at 4n, which must not cost more than 5 times. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { DEVICES } from './adversary/devices.ts';
import { HANDOVERS } from './adversary/handovers.ts';
import { HOSTS } from './adversary/hosts.ts';
import { PROCESSES } from './adversary/processes.ts';
import { SPACES } from './adversary/spaces.ts';
import type { Shape } from './adversary/tenant.ts';
import { type Benchmark, now } from './harness.ts';

const RUNS = 3;
/** Short works are measured more often. */
const SHORT = 20;
const SHORT_RUNS = 9;
const MOST = 5;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Milliseconds that the work takes, without the garbage that making it has left. */
function measure({ make }: Shape, size: number): number {
  const work = make(size);
  collectGarbage();
  const start = now();
  work();
  return now() - start;
}

function compare(shape: Shape) {
  const small: number[] = [];
  const large: number[] = [];
  // The first run of each only warms the code up.
  measure(shape, shape.n);
  for (let runs = measure(shape, 4 * shape.n) < SHORT ? SHORT_RUNS : RUNS; runs > 0; runs--) {
    small.push(measure(shape, shape.n));
    large.push(measure(shape, 4 * shape.n));
  }
  // Whoever else works on the machine makes a run slower, and none faster.
  const value = Math.min(...large);
  const floor = Math.min(...small);
  return {
    figure: shape.name,
    value,
    unit: 'ms',
    floor,
    ratio: value / floor,
    goal: `≤ ${MOST} × at a quarter of n`,
    met: value <= MOST * floor,
    note: `n = ${4 * shape.n}; floor: n = ${shape.n}`,
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
