/** A few hundred sequences with every run of the tests; `npm run test:property` runs many thousand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { run, runAllOverHttp } from './run.ts';

const SEQUENCES = 500;
const SEQUENCES_OVER_HTTP = 20;

test('random sequences of calls get the answers and the state that a naive model has', () => {
  const { statistics, failure } = run({ sequences: SEQUENCES });
  assert.equal(failure, null, failure ?? '');
  assert.equal(statistics.sequences, SEQUENCES);
  assert.ok(statistics.attached > SEQUENCES / 3, 'many of them have a domain with mappings on a device');
});

test('the same over HTTP', async () => {
  const { statistics, failure } = await runAllOverHttp({ sequences: SEQUENCES_OVER_HTTP });
  assert.equal(failure, null, failure ?? '');
  assert.equal(statistics.sequences, SEQUENCES_OVER_HTTP);
});
