import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { text } from 'node:stream/consumers';
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

test('a log that nobody reads keeps nobody waiting, and is there when somebody does', async (t) => {
  const program = `
    import { createLog } from ${JSON.stringify(new URL('../src/log.ts', import.meta.url))};
    const log = await createLog({ dev: false, logLevel: 'info' });
    for (let line = 0; line < 3000; line++) log.info({}, 'a line of some length, of which many fill what the system keeps');
    console.error('still here');
    await new Promise((goOn) => process.stdin.once('data', goOn));
    process.exit();`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], { timeout: 10_000 });
  t.after(() => child.kill('SIGKILL'));
  const [said] = await once(child.stderr, 'data');
  assert.equal(String(said), 'still here\n');
  const lines = text(child.stdout);
  child.stdin.write('go on');
  assert.equal((await lines).match(/a line of some length/g)?.length, 3000);
});
