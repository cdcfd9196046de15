import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

test('a file that uses the service ends by itself where none of its tests is to be run', {
  timeout: 30_000,
}, async (t) => {
  const file = fileURLToPath(new URL('../examples.test.ts', import.meta.url));
  const { NODE_TEST_CONTEXT: _context, ...env } = process.env;
  const child = spawn(process.execPath, ['--test-name-pattern=^no such test$', file], { env });
  t.after(() => child.kill());
  let output = '';
  child.stdout.on('data', (chunk) => (output += String(chunk)));
  const [code] = await once(child, 'close');
  assert.equal(code, 0, output);
  assert.match(output, /^. tests 0$/m);
});
