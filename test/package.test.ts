/**
 * The package as npm makes it, installed in an empty project by npm: command, server, types and `startHoldover` are there, under
 * the Node that it brings and under the one that runs npm. This needs npm's registry, or its cache.
 */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const run = promisify(execFile);

/** Without what npm and the test runner have set, and without the Node of the project on the PATH. */
const env = {
  ...Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(HOLDOVER_|npm_|NODE_TEST_CONTEXT$)/i.test(name)),
  ),
  PATH: process.env
    .PATH!.split(delimiter)
    .filter((folder) => !folder.includes('node_modules'))
    .join(delimiter),
};

/** Node itself is among what is downloaded where npm's cache has it not, in milliseconds. */
const INSTALL_MS = 600_000;

let project: string;

before(
  async () => {
    project = mkdtempSync(join(tmpdir(), 'holdover-test-'));
    await run('npm', ['pack', '--pack-destination', project], { cwd: ROOT, env });
    const [tarball] = readdirSync(project);
    writeFileSync(join(project, 'package.json'), '{"name": "empty", "version": "1.0.0"}\n');
    const quiet = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'];
    await run('npm', ['install', ...quiet, `./${tarball}`], { cwd: project, env });
  },
  { timeout: INSTALL_MS },
);

after(() => rmSync(project, { recursive: true, force: true }));

const holdover = (): string => join(project, 'node_modules/.bin/holdover');

/** The Node that the package brings, and the one that npm runs with. */
const NODES = {
  'the Node of the package': () => join(project, 'node_modules/.bin/node'),
  'the Node of npm': () => 'node',
};

const SCRIPT = `
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { startHoldover } from 'holdover';
const ask = async ({ url, key }, path, body) => {
  const headers = { authorization: 'Bearer ' + key, 'content-type': 'application/json' };
  return (await fetch(url + path, body && { method: 'POST', headers, body: JSON.stringify(body) })).json();
};
const [first, second] = await Promise.all([startHoldover(), startHoldover({ key: 'mine', dataDir: process.argv[2] })]);
const { id } = await ask(first, '/v1/hosts', { preset: 'vmm-lab' });
assert.equal((await ask(first, '/v1/hosts/' + id + '/kexec', { mode: 'live-update' })).kernel, 2);
await ask({ ...first, key: first.adminKey }, '/v1/admin/tenants', { name: 'other' });
assert.ok((await ask(second, '/v1/hosts', { preset: 'vmm-lab' })).id);
assert.equal((await ask({ ...second, key: first.key }, '/v1/hosts', {})).status, 401);
const page = await (await fetch(first.url + '/console')).text();
for (const [, file] of page.matchAll(/(?:href|src)="(console[^"]+)"/g))
  assert.equal((await fetch(first.url + '/' + file)).status, 200, file);
const port = Number(new URL(second.url).port);
await assert.rejects(startHoldover({ port }), /has that port/);
await first.close();
await second[Symbol.asyncDispose]();
await second.close();
assert.deepEqual(readdirSync(tmpdir()).filter((entry) => entry.startsWith('holdover-')), []);
await assert.rejects(fetch(first.url));
assert.ok(existsSync(process.argv[2] + '/holdover.db'));
process.stdout.write(process.versions.node);
`;

for (const [name, node] of Object.entries(NODES))
  test(`startHoldover serves, and leaves nothing when it is closed: with ${name}`, async () => {
    const temporary = join(project, `temporary of ${name}`);
    const script = join(project, 'script.mjs');
    writeFileSync(script, SCRIPT);
    await run('mkdir', [temporary]);
    // It ends by itself, as a test does: what still runs would keep it from that.
    const ended = await run(node(), [script, join(project, `data of ${name}`)], {
      cwd: project,
      env: { ...env, TMPDIR: temporary },
    });
    assert.match(ended.stdout, /^\d+\.\d+\.\d+$/, ended.stderr);
    assert.equal(ended.stderr, '');
    const left = readdirSync(temporary).filter((entry) => entry.startsWith('holdover-'));
    assert.deepEqual(left, []);
  });

test('a service ends when the process that has started it is killed', async () => {
  const program = `import('holdover').then(({ startHoldover }) => startHoldover()).then(({ url }) => console.log(url));`;
  const child = spawn('node', ['--eval', program], { cwd: project, env, stdio: ['ignore', 'pipe', 'inherit'] });
  const [url] = (await once(createInterface(child.stdout), 'line')) as [string];
  child.stdout.resume();
  assert.equal((await fetch(`${url}/readyz`)).status, 200);
  child.kill('SIGKILL');
  while (
    await fetch(`${url}/readyz`).then(
      () => true,
      () => false,
    )
  );
});

test('the command serves, is asked, and stops in order', async () => {
  const child = spawn(holdover(), ['serve', '--dev', '--port', '0', '--data-dir', join(project, 'data')], {
    cwd: project,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let url: string | undefined;
  for await (const line of createInterface(child.stdout)) {
    url = /^ *API +(http:\S+)$/.exec(line)?.[1];
    if (url !== undefined) break;
  }
  child.stdout.resume();
  const of = { cwd: project, env: { ...env, HOLDOVER_URL: url } };
  const { stdout: id } = await run(holdover(), ['hosts', 'create'], of);
  const { stdout } = await run(holdover(), ['kexec', id.trim()], of);
  assert.match(stdout, /^kernel 2: running/);
  for (const path of ['/docs', '/docs/static/swagger-ui.css', '/docs/readme', '/openapi.json'])
    assert.equal((await fetch(`${url}${path}`)).status, 200, path);
  assert.equal((await fetch(`${url}/`, { headers: { accept: 'text/html' } })).status, 200);
  const { stdout: findings } = await run(holdover(), ['doctor', '--json'], of);
  const states = (JSON.parse(findings) as { about: string; state: string }[]).map(({ about, state }) => [about, state]);
  assert.deepEqual(Object.fromEntries(states), {
    node: 'ok',
    'better-sqlite3': 'ok',
    'data directory': 'ok',
    port: 'ok',
    service: 'ok',
    key: 'ok',
  });
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  assert.deepEqual(await exit, [0, null]);
});

test('what is exported has types', async () => {
  const file = join(project, 'typed.mts');
  writeFileSync(
    file,
    `import { type Holdover, type HoldoverOptions, startHoldover } from 'holdover';
const options: HoldoverOptions = { port: 0, log: false };
const { url, key, adminKey }: Holdover = await startHoldover(options);
export const all: string[] = [url, key, adminKey];
// @ts-expect-error There is no such option.
await startHoldover({ prot: 1 });
`,
  );
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  const options = [
    '--ignoreConfig',
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'esnext',
    '--types',
    '',
  ];
  await run(process.execPath, [tsc, ...options, file], { cwd: project }).catch((error: { stdout: string }) =>
    assert.fail(error.stdout),
  );
});

test('the first example of docs/testing.md passes', async () => {
  const [, name, code] = /^```js\n\/\/ (\S+)\n(.*?)^```/ms.exec(readFileSync(join(ROOT, 'docs/testing.md'), 'utf8'))!;
  writeFileSync(join(project, name!), code!);
  const { stdout } = await run('node', ['--test', name!], { cwd: project, env });
  assert.match(stdout, /^\S+ pass 1$/m);
});

test('the package holds what it needs, and of the sources those that a browser gets', () => {
  const entries = readdirSync(join(project, 'node_modules/holdover')).sort();
  assert.deepEqual(entries, [
    'LICENSE',
    'README.md',
    'dist',
    'migrations',
    'openapi',
    'package.json',
    'scenarios',
    'src',
  ]);
  assert.deepEqual(readdirSync(join(project, 'node_modules/holdover/src')).sort(), ['console', 'timeline']);
  assert.ok(!existsSync(join(project, 'node_modules/typescript')));
});
