/**
 * `npm run test:attack -- [--only REGEX] [--seconds N] [--scale N] [--sigterm] [--lanes N] [--profile DIR] [--list]`: attacks on a running
 * service beside a quiet tenant. A line each, then what does not hold; exits with 1 where something does not.
 */
import { parseArgs } from 'node:util';
import { DEFAULT_LANES } from '../../src/config.ts';
import { ATTACKS } from './attacks/index.ts';
import { boundsOf, findings, heading, line } from './report.ts';
import { runTrial } from './trial.ts';

const DEFAULT_SECONDS = 10;

// The service that is attacked ends with this process.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    seconds: { type: 'string' },
    scale: { type: 'string' },
    sigterm: { type: 'boolean', default: false },
    lanes: { type: 'string' },
    profile: { type: 'string' },
    list: { type: 'boolean', default: false },
  },
});
const only = new RegExp(values.only ?? '', 'i');
const attacks = ATTACKS.filter(({ name }) => only.test(name));
const { sigterm, profile } = values;
const lanes = Number(values.lanes ?? DEFAULT_LANES);
const seconds = Number(values.seconds ?? DEFAULT_SECONDS);
const scale = Number(values.scale ?? 1);

if (values.list) for (const { name, tries } of attacks) console.log(`${name}\n    ${tries}`);
else {
  console.log(heading());
  for (const attack of attacks) {
    const outcome = await runTrial(attack, { seconds, scale, sigterm, lanes, profile });
    console.log(line(outcome));
    for (const finding of findings(outcome, boundsOf(lanes))) {
      console.log(`    ${finding}`);
      process.exitCode = 1;
    }
  }
}
