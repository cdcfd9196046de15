/** A piece of what `npm run test:fuzz` does for longer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { run } from './run.ts';

const SEED = 1;
const REQUESTS = 3000;
const CALLS = 10_000;
/** Other tests run at the same time. */
const SLOW_MS = 10_000;

test(`${REQUESTS} requests and ${CALLS} system calls, a good part of them wrong, are answered as they have to be`, async () => {
  const tally = await run({ seed: SEED, from: 0, requests: REQUESTS, calls: CALLS, slow: SLOW_MS });
  assert.equal(tally.faults.join('\n\n'), '');
  assert.ok(tally.requests >= REQUESTS && tally.calls >= CALLS);
  const [done, refused] = [
    [200, 201, 204],
    [400, 404, 415, 422],
  ].map((statuses) => statuses.reduce((sum, status) => sum + (tally.statuses.get(status) ?? 0), 0));
  assert.ok(done! > REQUESTS / 10 && refused! > REQUESTS / 10, `${done} were done, ${refused} refused`);
});
