/** A few of the trials of `npm run test:damage`, which goes on for longer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { INJURIES } from './injuries.ts';
import { type Tally, Trials } from './trials.ts';

const TRIALS = 5;

test('whatever bytes are hurt, what is served is what was stored, or is said to be damaged', async () => {
  const trials = await Trials.prepare();
  try {
    for (const injury of INJURIES) {
      const tally: Tally = new Map();
      for (let trial = 0; trial < TRIALS; trial += 1) await trials.run(injury, 1, trial, tally);
      assert.ok(tally.size > 0, injury);
    }
  } finally {
    trials.close();
  }
});
