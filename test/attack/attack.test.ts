/**
 * A few attacks in short, each with SIGTERM in its middle. Tests run two at a time on the machine's cores, and so few answers
 * have a p99 that is their maximum. So the service is held to more than what `npm run test:attack` holds it to: as an answer
 * needs several threads one after the other, what the quiet tenant's own thread was late counts several times.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ATTACKS } from './attacks/index.ts';
import { boundsOf, findings } from './report.ts';
import { runTrial } from './trial.ts';

const SECONDS = 1;
/** By name: of what size, and with how many lanes. */
const SOME: Record<string, { scale: number; lanes: number[] }> = {
  'map and unmap 16 GiB, 20 times': { scale: 1, lanes: [1] },
  '600,000 writes of one byte': { scale: 1, lanes: [1] },
  'rollbacks of 160 bytes': { scale: 0.2, lanes: [1] },
  'hosts made and deleted': { scale: 1, lanes: [1, 2, 4] },
  'unfinished bodies of 200 MiB': { scale: 0.2, lanes: [1] },
  'flood without a key': { scale: 1, lanes: [1, 2, 4] },
  'many connections': { scale: 0.1, lanes: [1, 2, 4] },
};
const PATIENCE_MS = 400;
const TIMES_LATE = 10;
const EXIT_S = 10;

for (const [name, { scale, lanes: each }] of Object.entries(SOME))
  for (const lanes of each)
    test(`${name}, with ${lanes} ${lanes === 1 ? 'lane' : 'lanes'}`, async () => {
      const attack = ATTACKS.find((one) => one.name === name);
      assert.ok(attack !== undefined);
      const outcome = await runTrial(attack, { seconds: SECONDS, scale, sigterm: true, lanes });
      const p99 = PATIENCE_MS + TIMES_LATE * outcome.quiet.late;
      assert.deepEqual(findings(outcome, { ...boundsOf(lanes), p99, exit: EXIT_S }), []);
    });
