/** The scripts of examples/ run as a reader runs them: against a service that listens. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { useApp } from './support/app.ts';

const app = useApp();
const run = promisify(execFile);
const SCRIPT = new URL('../examples/live-update.sh', import.meta.url).pathname;

interface Failure {
  code: number;
  stderr: string;
}

test('examples/live-update.sh tells the whole story', async () => {
  const env = { ...process.env, HOLDOVER_URL: app.url, HOLDOVER_KEY: app.key };
  const { stdout } = await run('bash', [SCRIPT], { env });
  for (const step of [5, 9, 12]) assert.match(stdout, new RegExp(`^${step}\\. `, 'm'));
  assert.match(stdout, /^Done/m);
});

test('examples/live-update.sh ends with a message where it cannot go on', async () => {
  async function failure(variables: Record<string, string>): Promise<Failure> {
    const { HOLDOVER_URL: _url, HOLDOVER_KEY: _key, ...rest } = process.env;
    return run('bash', [SCRIPT], { env: { ...rest, ...variables } }).then(
      () => assert.fail('it should fail'),
      (error: Failure) => error,
    );
  }

  const unknown = await failure({ HOLDOVER_URL: app.url, HOLDOVER_KEY: 'a-wrong-key' });
  assert.notEqual(unknown.code, 0);
  assert.match(unknown.stderr, /FAILED: POST \/v1\/hosts answered 401/);
  const untold = await failure({});
  assert.notEqual(untold.code, 0);
  assert.match(untold.stderr, /HOLDOVER_URL/);
});
