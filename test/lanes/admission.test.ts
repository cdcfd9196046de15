import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Admission, sizeOf } from '../../src/lanes/admission.ts';
import { LaneBusy } from '../../src/lanes/errors.ts';

test('a lane takes so many commands, and more when some are done', () => {
  const admission = new Admission({ commands: 3, bytes: 1000 });
  for (let command = 0; command < 3; command += 1) admission.enter('a', 1);
  assert.throws(() => admission.enter('a', 1), LaneBusy);
  admission.leave('a', 1);
  admission.enter('a', 1);
  assert.throws(() => admission.enter('a', 1), LaneBusy);
});

test('a lane takes so many bytes, but one command whatever its size', () => {
  const admission = new Admission({ commands: 100, bytes: 1000 });
  admission.enter('a', 5000);
  assert.throws(() => admission.enter('a', 1), LaneBusy);
  admission.leave('a', 5000);
  admission.enter('a', 600);
  assert.throws(() => admission.enter('a', 600), LaneBusy);
  admission.enter('a', 400);
});

test('a host that fills the lane shuts out itself and nobody else', () => {
  const admission = new Admission({ commands: 10, bytes: 1000 });
  for (let command = 0; command < 10; command += 1) admission.enter('greedy', 1);
  for (let command = 0; command < 5; command += 1) admission.enter('modest', 1);
  assert.throws(() => admission.enter('modest', 1), LaneBusy);
  admission.enter('third', 1);
  for (let command = 0; command < 4; command += 1) admission.leave('greedy', 1);
  assert.throws(() => admission.enter('greedy', 1), LaneBusy);
});

test('sizes are about those of the JSON', () => {
  const command = { op: 'calls', pid: 1, calls: [{ call: 'pwrite', fd: 3, offset: 0, data: 'x'.repeat(5000) }] };
  assert.ok(sizeOf(command) > 5000 && sizeOf(command) < 5500);
  assert.equal(sizeOf(new Uint8Array(77)), 77);
});
