import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareDigests } from './digests.ts';

const SEQUENCES = 1000;

test('random sequences: run, replayed and snapshotted hosts have the same digests', () => {
  assert.equal(compareDigests(SEQUENCES).sequences, SEQUENCES);
});
