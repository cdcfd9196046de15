/** Makes clients from openapi/openapi.json in a folder, and compiles the stories that are written against them. */
import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const DOCUMENT = fileURLToPath(new URL('../../openapi/openapi.json', import.meta.url));
/** Where its packages are installed: out of the way of tests and tools that look at all of `test`. */
const INSTALLED = fileURLToPath(new URL('../../node_modules/.cache/sdk-tests', import.meta.url));
const PACKAGES = join(INSTALLED, 'node_modules');

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
  const read = (folder: string) => readFile(join(folder, 'package-lock.json'), 'utf8').catch(() => null);
  // npm writes that one last.
  const isWhole = (await stat(join(PACKAGES, '.package-lock.json')).catch(() => null)) !== null;
  if (isWhole && (await read(HERE)) === (await read(INSTALLED))) return;
  await mkdir(INSTALLED, { recursive: true });
  for (const file of ['package.json', 'package-lock.json']) await cp(join(HERE, file), join(INSTALLED, file));
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  await execute('npm', ['ci', ...flags], { cwd: INSTALLED });
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
