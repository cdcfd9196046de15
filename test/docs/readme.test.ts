/** The README's walk-through is run as it stands: every block marked `sh`, in one shell. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { useApp } from '../support/app.ts';

const run = promisify(execFile);
const app = useApp();

test('the walk-through of the README works as it is written', async () => {
  const text = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const blocks = [...text.matchAll(/^```sh\n(.*?)^```/gms)].map((match) => match[1]);
  assert.ok(blocks.length >= 6, 'the README has its blocks');
  const directory = mkdtempSync(join(tmpdir(), 'holdover-readme-'));
  try {
    const { stdout } = await run('bash', ['-euo', 'pipefail', '-c', blocks.join('\n')], {
      cwd: directory,
      env: { ...process.env, HOLDOVER_URL: app.url, HOLDOVER_KEY: app.key },
    });
    assert.equal(stdout.split('"data":"aGVsbG8="').length - 1, 3, 'the device read the same bytes three times');
    assert.match(stdout, /"state":"L"/);
    const problems = [...stdout.matchAll(/"status":(\d+),/g)].map((match) => match[1]);
    assert.deepEqual(problems, ['409'], 'only the kernel driver is refused');
    assert.match(stdout, /"sequence":1,/);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
