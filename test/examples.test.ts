/** The scripts of examples/ run as a reader runs them: against a service that listens. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { delimiter, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { freshEnvironment } from './docs/paste.ts';
import { useApp } from './support/app.ts';
import { startService, temporaryDirectory } from './support/service.ts';

const app = useApp();
const run = promisify(execFile);
const SCRIPT = new URL('../examples/live-update.sh', import.meta.url).pathname;

interface Failure {
  code: number;
  stderr: string;
}

/** What it says when it cannot go on. */
async function failure(variables: Record<string, string>): Promise<string> {
  const { code, stderr } = await run(SCRIPT, { env: { ...freshEnvironment(), ...variables } }).then(
    () => assert.fail('it should fail'),
    (error: Failure) => error,
  );
  assert.equal(code, 1, stderr);
  return stderr;
}

/** A server that answers everything with 404. */
async function anotherServer(t: TestContext): Promise<string> {
  const server = createServer((_request, response) => response.writeHead(404).end('no'));
  t.after(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A PATH on which of these programs is only what is named. */
function pathWith(t: TestContext, programs: readonly string[]): string {
  const folder = join(temporaryDirectory(t), 'bin');
  mkdirSync(folder);
  for (const program of programs) {
    const found = process.env.PATH!.split(delimiter).map((place) => join(place, program));
    symlinkSync(
      found.find((path) => existsSync(path)) ?? assert.fail(`${program} is on the PATH`),
      join(folder, program),
    );
  }
  return folder;
}

test('examples/live-update.sh tells the whole story, and ends with what the host saw', async () => {
  const env = { ...freshEnvironment(), HOLDOVER_URL: `${app.url}/`, HOLDOVER_KEY: app.key };
  const { stdout } = await run(SCRIPT, { env });
  for (const step of [5, 9, 12]) assert.match(stdout, new RegExp(`^${step}\\. `, 'm'));
  assert.match(stdout, /^Done/m);
  assert.match(stdout, /^ {2}The service is http:.*, the key is that of HOLDOVER_KEY\./);
  assert.ok(!stdout.includes(app.key));
  const timeline = stdout
    .split(/^13\. .*$/m)[1]!
    .trim()
    .split('\n\n')[0]!
    .split('\n');
  for (const line of timeline) assert.match(line, /^ *\d+ {2}[12] {2}[a-z.-]+ +\S.*$/);
  assert.match(timeline[0]!, / 1 {2}boot {14}booted cold$/);
  assert.match(timeline.at(-1)!, / 2 {2}iommu\.free {8}domain \d+ is freed$/);
});

test('examples/live-update.sh needs no variables for the service of the development mode, and says so', async (t) => {
  const { url } = await startService(t, temporaryDirectory(t));
  // A test cannot have the port that everybody has.
  const script = readFileSync(SCRIPT, 'utf8').replaceAll('http://127.0.0.1:8080', url);
  const { stdout } = await run('bash', ['-c', script], { env: freshEnvironment() });
  assert.match(stdout, new RegExp(`^ {2}The service is ${url}, the key is dev-key\\. HOLDOVER_URL and `));
  assert.match(stdout, /^Done/m);
});

test('examples/live-update.sh ends with a message where it cannot go on', async (t) => {
  const here = { HOLDOVER_URL: app.url, HOLDOVER_KEY: app.key };
  assert.match(
    await failure({ ...here, HOLDOVER_KEY: 'wrong' }),
    /FAILED: .* no tenant with this key: set HOLDOVER_KEY/,
  );
  const nobody = { ...here, HOLDOVER_URL: 'http://127.0.0.1:1' };
  assert.match(
    await failure(nobody),
    /FAILED: nothing answers at http:\/\/127\.0\.0\.1:1: start .* or set HOLDOVER_URL/,
  );
  assert.match(
    await failure({ ...here, HOLDOVER_URL: await anotherServer(t) }),
    /FAILED: .* is no Holdover.*status 404/,
  );
  for (const [missing, there] of [
    ['jq', 'curl'],
    ['curl', 'jq'],
  ] as const) {
    const PATH = pathWith(t, ['env', 'bash', there]);
    assert.match(await failure({ ...here, PATH }), new RegExp(`FAILED: ${missing} is needed, and not installed`));
  }
});
