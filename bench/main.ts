/**
 * `npm run bench`: measures every figure beside its floor. `-- --only NAME` one benchmark (may be repeated), `-- --json
 * FILE` writes the figures to a file, `-- --profile DIR` has the services leave profiles there. Progress goes to standard error, the table to standard output.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ADVERSARY } from './adversary.ts';
import { BATCHES } from './batches.ts';
import { CONSOLE } from './console.ts';
import { EVENTS } from './events.ts';
import { EVICTION } from './eviction.ts';
import { FLEET } from './fleet.ts';
import { type Benchmark, now, probeDisk, progress, type Result, round } from './harness.ts';
import { LANES } from './lanes.ts';
import { LARGE } from './large.ts';
import { LATENCY } from './latency.ts';
import { NVME } from './nvme.ts';
import { profileInto } from './service.ts';
import { SMALL_CALLS } from './small-calls.ts';
import { START } from './start.ts';
import { STRUCTURES } from './structures.ts';
import { machineLine, table, YARDSTICK } from './table.ts';

const BENCHMARKS: readonly Benchmark[] = [
  ...BATCHES,
  ...NVME,
  ...STRUCTURES,
  ...LARGE,
  ...LATENCY,
  ...START,
  ...FLEET,
  ...EVICTION,
  ...LANES,
  ...SMALL_CALLS,
  ...EVENTS,
  ...CONSOLE,
  ...ADVERSARY,
];

function fail(sentence: string): never {
  process.stderr.write(`${sentence}\n`);
  process.exit(2);
}

function readArguments(): { only: string[]; json: string | undefined; profile: string | undefined } {
  try {
    const options = {
      only: { type: 'string', multiple: true },
      json: { type: 'string' },
      profile: { type: 'string' },
    } as const;
    const { only = [], json, profile } = parseArgs({ options }).values;
    return { only, json, profile };
  } catch (error) {
    return fail(
      `${(error as Error).message} Usage: npm run bench [-- --only NAME …] [-- --json FILE] [-- --profile DIR]`,
    );
  }
}

const { only, json, profile } = readArguments();
if (profile !== undefined) profileInto(profile);
const names = BENCHMARKS.map(({ name }) => name);
const unknown = only.find((name) => !names.includes(name));
if (unknown !== undefined) fail(`There is no benchmark ${unknown}; there are ${names.join(', ')}.`);

const begun = now();
const results: Result[] = [];
let failed = 0;
for (const { name, about, run } of BENCHMARKS) {
  if (only.length > 0 && !only.includes(name)) continue;
  progress(`${name}: ${about}`);
  const start = now();
  try {
    for (const figure of await run()) {
      results.push({ name, ...figure });
      const { figure: which, value, unit, goal, met } = figure;
      progress(
        `  ${which === '' ? '' : `${which}: `}${round(value)} ${unit} (goal: ${goal}): ${met ? 'met' : 'missed'}`,
      );
    }
  } catch (error) {
    failed++;
    progress(`  could not be measured: ${(error as Error).stack}`);
  }
  progress(`  took ${((now() - start) / 1000).toFixed(1)} s`);
}
progress(`all took ${((now() - begun) / 1000).toFixed(0)} s`);

const machine = machineLine();
process.stdout.write(`${table(results)}\n\n${machine}; fdatasync now ${round(probeDisk())} ms\n${YARDSTICK}\n`);
if (json !== undefined) writeFileSync(json, `${JSON.stringify({ machine, results }, null, 2)}\n`);
process.exit(failed > 0 ? 1 : 0);
