import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { test } from 'node:test';

for (const dev of [true, false]) {
  test(`a log that cannot be written ends nothing${dev ? ', in development mode' : ''}`, (t) => {
    const full = openSync('/dev/full', 'w');
    t.after(() => closeSync(full));
    const program = `
      import { createLog } from ${JSON.stringify(new URL('../src/log.ts', import.meta.url))};
      const log = await createLog({ dev: ${dev}, logLevel: 'info' });
      for (let line = 0; line < 3; line++) log.info({}, 'a line');
      console.error('still here');`;
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
      stdio: ['ignore', full, 'pipe'],
      encoding: 'utf8',
      timeout: 10_000,
    });
    assert.equal(stderr, 'still here\n');
    assert.equal(status, 0);
  });
}
