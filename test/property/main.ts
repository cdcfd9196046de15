/** `npm run test:property -- [--sequences N] [--seed N]` */
import { parseArgs } from 'node:util';
import { compareDigests } from './digests.ts';
import { type Outcome, run, runAllOverHttp } from './run.ts';

const DEFAULT_SEQUENCES = 20_000;
/** One sequence of so many goes over HTTP. */
const HTTP_SHARE = 200;
/** And so many are run, replayed and snapshotted. */
const DIGESTS = 1000;

const { values } = parseArgs({ options: { sequences: { type: 'string' }, seed: { type: 'string' } } });
const sequences = Number(values.sequences ?? DEFAULT_SEQUENCES);
const seed = Number(values.seed ?? Date.now() % 2 ** 31);
console.log(`seed ${seed}`);

const started = performance.now();
const overHttp = Math.ceil(sequences / HTTP_SHARE);
const inProcess = run({ sequences: sequences - overHttp, seed });
console.log(inProcess.statistics.report());
finish(inProcess, inProcess.failure === null ? inProcess.statistics.shortcomings() : []);
if (inProcess.failure === null) {
  const { statistics, failure } = await runAllOverHttp({ sequences: overHttp, seed: seed + 1 });
  console.log(`\nover HTTP: ${statistics.sequences} sequences, ${statistics.calls} calls`);
  finish({ statistics, failure }, []);
  compareDigests(DIGESTS, seed + 2);
  console.log(`\ndigests: ${DIGESTS} sequences run, replayed and snapshotted`);
}
console.log(`\n${((performance.now() - started) / 1000).toFixed(1)} s`);

function finish({ failure }: Outcome, shortcomings: readonly string[]): void {
  if (failure !== null) console.log(`\n${failure}`);
  for (const shortcoming of shortcomings) console.log(shortcoming);
  if (failure !== null || shortcomings.length > 0) process.exitCode = 1;
}
