/**
 * The image has all that the service needs: what the Dockerfile copies is let through by .dockerignore, and is enough to pack the
 * program and to serve. That program is compiled once, when the image is made.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryDirectory } from './support/service.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const linesOf = (name: string): string[] => readFileSync(join(ROOT, name), 'utf8').split('\n');

/** The instructions of each stage. */
const [packages, packed, image] = readFileSync(join(ROOT, 'Dockerfile'), 'utf8')
  .split(/^FROM .*$/m)
  .slice(1)
  .map((stage) => stage.replaceAll('\\\n', ' ').split('\n'));

/** What a stage copies of the project, not of another stage. */
const copiedBy = (stage: readonly string[]): string[] =>
  stage
    .filter((line) => line.startsWith('COPY ') && !line.includes('--from'))
    .flatMap((line) => line.split(' ').slice(1, -1));

test('what is copied into the image is let through, and nothing else', () => {
  const through = linesOf('.dockerignore')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1));
  const copied = [packages, packed, image].flatMap((stage) => copiedBy(stage!));
  for (const name of copied)
    assert.ok(
      through.some((path) => `${name}/`.startsWith(`${path}/`)),
      name,
    );
  for (const path of through) assert.ok(copied.includes(path), path);
});

test('memory is kept as everywhere, so that the service need not begin anew', () => {
  const memory: Record<string, string> = createRequire(import.meta.url)('../src/entry/memory.cjs');
  const set = linesOf('Dockerfile').map((line) => line.replace(/ \\$/, '').trim());
  for (const [name, value] of Object.entries(memory)) assert.ok(set.includes(`${name}=${value}`), name);
});

/** As much of the project as a stage copies, with what npm installs. */
function copyOf(stage: readonly string[], t: TestContext): string {
  const directory = temporaryDirectory(t);
  for (const name of copiedBy(stage))
    cpSync(join(ROOT, name), join(directory, name), { recursive: true, verbatimSymlinks: true });
  symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
  return directory;
}

/** The image without its system: its directory /app. */
function makeImage(t: TestContext): string {
  const program = copyOf(packed!, t);
  assert.ok(packed!.includes('RUN node scripts/pack.ts'));
  execFileSync(process.execPath, ['scripts/pack.ts'], { cwd: program });
  const app = copyOf(image!, t);
  assert.ok(image!.includes('COPY --from=packed /app/dist ./dist'));
  cpSync(join(program, 'dist'), join(app, 'dist'), { recursive: true });
  return app;
}

/** Runs what a container runs, as long as `work` takes, which gets its address; it ends in order. */
async function serve(app: string, work: (address: string) => Promise<void>): Promise<void> {
  const [node, ...args] = JSON.parse(image!.find((line) => line.startsWith('CMD '))!.slice('CMD '.length)) as string[];
  assert.equal(node, 'node');
  const env = {
    ...process.env,
    NODE_COMPILE_CACHE: join(app, 'cache'),
    HOLDOVER_DATA_DIR: join(app, 'data'),
    HOLDOVER_PORT: '0',
    HOLDOVER_TENANTS: 'image:key-of-the-image',
  };
  const child = spawn(process.execPath, args, { cwd: app, env, stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    let address = '';
    for await (const line of createInterface(child.stdout)) {
      address = /"address":"([^"]+)"/.exec(line)?.[1] ?? '';
      if (address !== '') break;
    }
    await work(address);
    child.stdout.resume();
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    assert.deepEqual(await exit, [0, null]);
  } finally {
    child.kill('SIGKILL');
  }
}

test('it is enough to serve, pages and document included, and a container finds the program compiled', async (t) => {
  const app = makeImage(t);
  const compiled = (): string[] => readdirSync(join(app, 'cache'), { recursive: true, encoding: 'utf8' }).sort();
  await serve(app, async () => {});
  const first = compiled();
  assert.ok(first.length > readdirSync(join(app, 'dist')).length, `${first.length} files are compiled`);
  await serve(app, async () => {});
  assert.deepEqual(compiled(), first);
  await serve(app, async (address) => {
    const page = await (await fetch(`${address}/console`)).text();
    const files = [...page.matchAll(/(?:href|src)="(console[^"]+)"/g)].map(([, file]) => `/${file}`);
    assert.ok(files.length > 1);
    const others = ['/openapi.json', '/docs', '/docs/static/swagger-ui.css', '/docs/readme', '/readyz'];
    for (const path of [...files, ...others]) assert.equal((await fetch(address + path)).status, 200, path);
  });
});
