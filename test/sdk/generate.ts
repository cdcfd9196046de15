/** Makes clients from openapi/openapi.json in a folder, and compiles the stories that are written against them. */
import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const DOCUMENT = fileURLToPath(new URL('../../openapi/openapi.json', import.meta.url));
const PACKAGES = join(HERE, 'node_modules');

/** What a careful project has: the clients and the stories are held to it alike. */
const TSCONFIG = {
  compilerOptions: {
    target: 'es2024',
    lib: ['es2024', 'dom', 'dom.iterable'],
    module: 'nodenext',
    strict: true,
    noUncheckedIndexedAccess: true,
    outDir: 'made',
    types: [],
  },
  include: ['*.ts', 'hey-api'],
};

const execute = promisify(execFile);

/** Runs a program of the package, with the Node that runs this. */
async function run(program: string, args: string[], cwd: string): Promise<void> {
  try {
    await execute(process.execPath, [join(PACKAGES, program), ...args], { cwd, maxBuffer: 2 ** 26 });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`${program}: ${stdout}${stderr}`);
  }
}

/** The packages of the generators, which are no part of the project, as their own package-lock.json has them. */
export async function install(): Promise<void> {
  const [lock, last] = await Promise.all(
    [join(HERE, 'package-lock.json'), join(PACKAGES, '.package-lock.json')].map((file) => stat(file).catch(() => null)),
  );
  if (last && lock && last.mtimeMs >= lock.mtimeMs) return;
  await execute('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: HERE });
}

/** Returns the folder of the compiled stories. */
export async function generate(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  await symlink(PACKAGES, join(folder, 'node_modules'));
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(TSCONFIG));
  for (const file of await readdir(join(HERE, 'stories'))) await cp(join(HERE, 'stories', file), join(folder, file));
  await Promise.all([
    run('openapi-typescript/bin/cli.js', [DOCUMENT, '-o', 'openapi.d.ts'], folder),
    run('@hey-api/openapi-ts/bin/run.js', ['-i', DOCUMENT, '-o', 'hey-api', '--no-log-file'], folder),
  ]);
  await run('typescript/bin/tsc', ['-p', '.'], folder);
  return join(folder, 'made');
}

export const PRISM = join(PACKAGES, '@stoplight/prism-cli/dist/index.js');
export { DOCUMENT };
