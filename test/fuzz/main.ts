/** `npm run test:fuzz -- [--requests N] [--calls N] [--seed N] [--from N] [--seconds N]` */
import { parseArgs } from 'node:util';
import { run } from './run.ts';

const DEFAULTS = { requests: 200_000, calls: 1_000_000, seconds: 3600, from: 0 };
const SLOW_MS = 2000;

const { values } = parseArgs({
  options: {
    requests: { type: 'string' },
    calls: { type: 'string' },
    seed: { type: 'string' },
    from: { type: 'string' },
    seconds: { type: 'string' },
  },
});
const seed = Number(values.seed ?? Date.now() % 2 ** 31);
const [requests, calls, seconds, from] = (['requests', 'calls', 'seconds', 'from'] as const).map((name) =>
  Number(values[name] ?? DEFAULTS[name]),
) as [number, number, number, number];
console.log(`seed ${seed}`);

const started = performance.now();
const tally = await run({ seed, requests, calls, seconds, from, slow: SLOW_MS, tell: (line) => console.log(line) });

const statuses = [...tally.statuses].sort(([a], [b]) => a - b).map(([status, count]) => `${status}: ${count}`);
console.log(`\n${((performance.now() - started) / 1000).toFixed(0)} s; answers ${statuses.join(', ')}`);
console.log(`slowest: ${tally.slowest.milliseconds.toFixed(0)} ms, ${tally.slowest.what}`);
const counts = [...tally.outcomes.counts].sort(([a], [b]) => (a < b ? -1 : 1));
for (const [name, { done, refused }] of counts) console.log(`${name}: ${done} done, ${refused} refused`);
for (const fault of tally.faults) console.log(`\n${fault}`);
if (tally.faults.length > 0) process.exitCode = 1;
