/** `npm run test:property -- [--sequences N] [--seed N]` */
import { parseArgs } from 'node:util';
import { run } from './run.ts';

const DEFAULT_SEQUENCES = 20_000;

const { values } = parseArgs({ options: { sequences: { type: 'string' }, seed: { type: 'string' } } });
const sequences = Number(values.sequences ?? DEFAULT_SEQUENCES);
const seed = Number(values.seed ?? Date.now() % 2 ** 31);
const started = performance.now();
const { statistics, failure } = run({ sequences, seed });
console.log(statistics.report());
console.log(`\nseed ${seed}, ${((performance.now() - started) / 1000).toFixed(1)} s`);
if (failure !== null) console.log(`\n${failure}`);
const shortcomings = failure === null ? statistics.shortcomings() : [];
for (const shortcoming of shortcomings) console.log(shortcoming);
process.exitCode = failure === null && shortcomings.length === 0 ? 0 : 1;
