/** The image has all that the service needs: what the Dockerfile copies is let through by .dockerignore, and is enough to serve. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readFileSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryDirectory } from './support/service.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const linesOf = (name: string): string[] => readFileSync(join(ROOT, name), 'utf8').split('\n');

/** Of the project, not of another stage. */
const copied = linesOf('Dockerfile')
  .filter((line) => line.startsWith('COPY ') && !line.includes('--from'))
  .flatMap((line) => line.split(' ').slice(1, -1));

test('what is copied into the image is let through', () => {
  const through = linesOf('.dockerignore').filter((line) => line.startsWith('!'));
  assert.ok(copied.includes('src'));
  assert.deepEqual([...new Set(copied)].sort(), through.map((line) => line.slice(1)).sort());
});

test('memory is kept as everywhere, so that the service need not begin anew', () => {
  const memory: Record<string, string> = createRequire(import.meta.url)('../src/entry/memory.cjs');
  const set = linesOf('Dockerfile').map((line) => line.replace(/ \\$/, '').trim());
  for (const [name, value] of Object.entries(memory)) assert.ok(set.includes(`${name}=${value}`), name);
});

test('it is enough to serve, pages and document included', async (t) => {
  const directory = temporaryDirectory(t);
  for (const name of copied)
    cpSync(join(ROOT, name), join(directory, name), { recursive: true, verbatimSymlinks: true });
  symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
  const env = {
    ...process.env,
    HOLDOVER_DATA_DIR: join(directory, 'data'),
    HOLDOVER_PORT: '0',
    HOLDOVER_TENANTS: 'image:key-of-the-image',
  };
  const child = spawn(process.execPath, ['src/main.ts'], { cwd: directory, env, stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  let address = '';
  for await (const line of createInterface(child.stdout)) {
    address = /"address":"([^"]+)"/.exec(line)?.[1] ?? '';
    if (address !== '') break;
  }
  for (const path of ['/openapi.json', '/docs', '/docs/static/swagger-ui.css', '/docs/readme', '/readyz'])
    assert.equal((await fetch(address + path)).status, 200, path);
  child.stdout.resume();
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  assert.deepEqual(await exit, [0, null]);
});
