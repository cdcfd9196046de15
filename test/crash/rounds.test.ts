/** A few of the rounds of `npm run test:crash`, which goes on for longer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { run } from './rounds.ts';

const ROUNDS = 4;

for (const kill of ['process', 'lane'] as const) {
  test(`whatever moment a ${kill} dies at, what was acknowledged is there once, and nothing is half there`, async () => {
    const { answered, states } = await run({ rounds: ROUNDS, seed: 1, kill });
    assert.ok(answered > 100, `${answered} operations answered`);
    assert.equal(states, ROUNDS * 3);
  });
}
