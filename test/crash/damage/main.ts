/** `npm run test:damage -- [--trials N] [--seed N] [--only database|wal|snapshot|handover|journal|marks] [--from N]` */
import { parseArgs } from 'node:util';
import { INJURIES } from './injuries.ts';
import { OUTCOMES, type Tally, Trials } from './trials.ts';

const DEFAULT_TRIALS = 100;

const { values } = parseArgs({
  options: { trials: { type: 'string' }, seed: { type: 'string' }, only: { type: 'string' }, from: { type: 'string' } },
});
const trials = Number(values.trials ?? DEFAULT_TRIALS);
const from = Number(values.from ?? 0);
const seed = Number(values.seed ?? Date.now() % 2 ** 31);
console.log(`seed ${seed}`);

const prepared = await Trials.prepare();
try {
  for (const injury of INJURIES.filter((one) => (values.only ?? one) === one)) {
    const started = performance.now();
    const tally: Tally = new Map();
    for (let trial = from; trial < from + trials; trial += 1) {
      try {
        await prepared.run(injury, seed, trial, tally);
      } catch (error) {
        console.log(`\nwith --seed ${seed} --only ${injury} --from ${trial} --trials 1:`);
        console.log(error);
        process.exitCode = 1;
      }
    }
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    const counts = OUTCOMES.map((outcome) => `${outcome} ${tally.get(outcome) ?? 0}`).join(', ');
    console.log(`${injury}: ${trials} trials, ${seconds} s; ${counts}`);
  }
} finally {
  prepared.close();
}
