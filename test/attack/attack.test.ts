/**
 * A few attacks in short, each with SIGTERM in its middle. Tests run two at a time on the machine's cores, and so few answers
 * have a p99 that is their maximum. So the service is held to more than what `npm run test:attack` holds it to: as an answer
 * needs several threads one after the other, what the quiet tenant's own thread was late counts several times.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ATTACKS } from './attacks/index.ts';
import { BOUNDS, findings } from './report.ts';
import { runTrial } from './trial.ts';

const SECONDS = 1;
const SOME: Record<string, number> = {
  'map and unmap 16 GiB, 20 times': 1,
  '600,000 writes of one byte': 1,
  'rollbacks of 160 bytes': 0.2,
  'hosts made and deleted': 1,
  'unfinished bodies of 200 MiB': 0.2,
  'flood without a key': 1,
};
const PATIENCE_MS = 400;
const TIMES_LATE = 10;
const EXIT_S = 10;

for (const [name, scale] of Object.entries(SOME)) {
  test(name, async () => {
    const attack = ATTACKS.find((one) => one.name === name);
    assert.ok(attack !== undefined);
    const outcome = await runTrial(attack, { seconds: SECONDS, scale, sigterm: true });
    const p99 = PATIENCE_MS + TIMES_LATE * outcome.quiet.late;
    assert.deepEqual(findings(outcome, { ...BOUNDS, p99, exit: EXIT_S }), []);
  });
}
