/** `npm run test:crash -- [--rounds N] [--seed N] [--kill process|lane]` */
import { parseArgs } from 'node:util';
import { run } from './rounds.ts';

const DEFAULT_ROUNDS = 200;

const { values } = parseArgs({
  options: { rounds: { type: 'string' }, seed: { type: 'string' }, kill: { type: 'string' } },
});
const rounds = Number(values.rounds ?? DEFAULT_ROUNDS);
const seed = Number(values.seed ?? Date.now() % 2 ** 31);
const kills = (['process', 'lane'] as const).filter((kill) => (values.kill ?? kill) === kill);
console.log(`seed ${seed}`);

for (const kill of kills) {
  const started = performance.now();
  let last = '';
  let told = 0;
  const tell = (line: string): void => {
    last = line;
    told += 1;
    if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${line}`);
    else if (told % 10 === 0) console.log(line);
  };
  try {
    const statistics = await run({ rounds, seed, kill, tell });
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(`\nkilled: ${kill}, ${seconds} s\n${statistics.report()}\n`);
  } catch (error) {
    console.log(`\nafter "${last}", with --seed ${seed} --kill ${kill}:`);
    console.log(error);
    process.exit(1);
  }
}
