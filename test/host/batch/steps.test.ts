/** How much of a batch is done in one step. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineVmm } from '../../../bench/engine.ts';
import { Batch } from '../../../src/host/batch/batch.ts';

const STEP = 1024;

/** So many steps does a batch of 100 unmaps take, each of so many bytes, of which nothing is mapped. */
function stepsOf(length: string): number {
  const { host, pid, fd, ioas } = new EngineVmm({ pages: 1, attached: true });
  const operations = Array.from({ length: 100 }, () => ({ op: 'unmap', iova: '0x100000000000', length }));
  const payload = new TextEncoder().encode(JSON.stringify({ onError: 'continue', operations }));
  const batch = new Batch(host, { op: 'batch', pid, fd, ioas, format: 'json' }, payload);
  let steps = 1;
  while (!batch.step(STEP)) steps += 1;
  assert.equal((batch.outcome!.answer as { value: { failed: number } }).value.failed, 100);
  return steps;
}

test('small operations are done many at a time, and large ones by themselves', () => {
  assert.equal(stepsOf('0x1000'), 1);
  assert.equal(stepsOf('0x200000'), 1);
  assert.ok(stepsOf('0x4000000') >= 6);
  assert.ok(stepsOf('0x2000000000') >= 100);
});
