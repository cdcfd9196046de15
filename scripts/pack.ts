/**
 * Makes `dist`, which the published package consists of: JavaScript, as Node strips no types below node_modules, in few files,
 * so that a start loads little; and the types of what `src/index.ts` exports. `npm pack` runs this.
 */
import { execFileSync } from 'node:child_process';
import { chmod, copyFile, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import manifest from '../package.json' with { type: 'json' };

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DIST = `${ROOT}dist`;

/** What the service is made of: each program of a thread is a file of its own, beside all others (`threads/thread-file.ts`). */
const SERVICE = [
  'src/run.ts',
  'src/child.ts',
  'src/in-process.ts',
  'src/server-thread.ts',
  'src/http/bodies/reader-thread.ts',
  'src/lanes/lane-thread.ts',
  'src/store/sqlite/writer-thread.ts',
  'src/store/sqlite/inspection-thread.ts',
  'src/store/sqlite/checkpoint-thread.ts',
  'src/threads/behind-others.ts',
];
/** What any Node from 20 on can read. */
const FOR_ALL = ['src/index.ts', 'src/cli/holdover.ts'];

/** What npm installs beside it; but zod, of many files, is loaded much sooner from within: a tenth of a start. */
const packages = Object.keys(manifest.dependencies).filter((name) => name !== 'zod');

await rm(DIST, { recursive: true, force: true });
await build({
  absWorkingDir: ROOT,
  entryPoints: [...SERVICE, ...FOR_ALL],
  outdir: DIST,
  entryNames: '[name]',
  chunkNames: 'chunk-[hash]',
  bundle: true,
  splitting: true,
  external: [...packages, 'pino-pretty'],
  format: 'esm',
  platform: 'node',
  target: 'node20',
  legalComments: 'none',
  logLevel: 'warning',
});
await rewrite('src/entry/main.cjs', "import('../run.ts')", "import('./run.js')");
await copyFile(`${ROOT}src/entry/memory.cjs`, `${DIST}/memory.cjs`);
await chmod(`${DIST}/holdover.js`, 0o755);
await writeTypes();

/** The entry needs no bundling: only what it names lies elsewhere. */
async function rewrite(file: string, from: string, to: string): Promise<void> {
  const text = await readFile(ROOT + file, 'utf8');
  if (!text.includes(from)) throw new Error(`${file} has no ${from}`);
  await writeFile(`${DIST}/main.cjs`, text.replace(from, to));
}

/** Those of the whole program are made, and the one file of them is kept. */
async function writeTypes(): Promise<void> {
  const all = await mkdtemp(`${DIST}/types-`);
  const options = ['--noEmit', 'false', '--declaration', '--emitDeclarationOnly', '--outDir', all];
  execFileSync(process.execPath, [`${ROOT}node_modules/typescript/bin/tsc`, '-p', ROOT, ...options], {
    stdio: 'inherit',
  });
  await rename(`${all}/src/index.d.ts`, `${DIST}/index.d.ts`);
  await rm(all, { recursive: true });
}
