import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

test('the end of a thread that reads compressed bytes does not end the process', () => {
  const program = fileURLToPath(new URL('kill-threads.ts', import.meta.url));
  const { status, signal, stderr } = spawnSync(process.execPath, [program], { encoding: 'utf8' });
  assert.deepEqual({ status, signal }, { status: 0, signal: null }, stderr);
});
