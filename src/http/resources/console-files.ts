/**
 * What the console consists of: its page, its styles, and the modules that its first one leads to, ours with the types stripped, and those of
 * packages as they are.
 */
import { readdir, readFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { posix } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import manifest from '../../../package.json' with { type: 'json' };
import { packageFile } from '../../package-files.ts';
import { COLOURS, PICTURE_STYLE } from '../../timeline/shapes.ts';
import { escaped } from '../../timeline/text.ts';
import { type PageFile, pageFile } from './pages.ts';

const PAGE = '/console';
const STYLES = `${PAGE}/console/style.css`;
const FIRST = `${PAGE}/console/main.ts`;
const SCRIPT = 'text/javascript; charset=utf-8';

/** Folders of packages by their names: what a browser gets lies there. */
const PACKAGES: Readonly<Record<string, URL>> = {
  'lit-html': new URL('../', import.meta.resolve('lit-html')),
  'eventsource-parser': new URL('./', import.meta.resolve('eventsource-parser')),
};
const MAIN: Readonly<Record<string, string>> = { 'lit-html': 'lit-html.js', 'eventsource-parser': 'index.js' };

/** All files by their paths. `key`: what whoever opens the page is shown to sign in with; null: nothing. */
export async function consoleFiles(key: string | null): Promise<ReadonlyMap<string, PageFile>> {
  const files = new Map<string, PageFile>();
  await addModule(files, FIRST);
  const modules = [...files.keys()];
  files.set(STYLES, pageFile(`${COLOURS}${PICTURE_STYLE}${await styles()}`, 'text/css; charset=utf-8'));
  files.set(PAGE, pageFile(page(modules, key), 'text/html; charset=utf-8'));
  return files;
}

/** All of them, one behind the other. */
async function styles(): Promise<string> {
  const folder = packageFile('src/console/');
  const names = (await readdir(folder)).filter((name) => name.endsWith('.css')).sort();
  const texts = await Promise.all(names.map((name) => readFile(new URL(name, folder), 'utf8')));
  return texts.join('\n');
}

const IMPORT = /(?<![\w./-])(from|import) ?(['"])([\w./-]+)\2/g;

/** Adds a module, and all that it imports, under the path by which they import each other. */
async function addModule(files: Map<string, PageFile>, path: string): Promise<void> {
  if (files.has(path)) return;
  // Its place is taken; what imports in a circle ends there.
  files.set(path, pageFile('', SCRIPT));
  const text = await readFile(sourceOf(path), 'utf8');
  // Between two of them others have their turns.
  await setImmediate();
  const imported: string[] = [];
  const code = (path.endsWith('.ts') ? stripped(text) : text).replaceAll(
    IMPORT,
    (_whole, word: string, quote: string, name: string) => {
      const target = name.startsWith('.') ? posix.join(posix.dirname(path), name) : pathInPackage(name);
      imported.push(target);
      const shown = posix.relative(posix.dirname(path), target);
      return `${word} ${quote}${shown.startsWith('.') ? shown : `./${shown}`}${quote}`;
    },
  );
  files.set(path, pageFile(code, SCRIPT));
  for (const target of imported) await addModule(files, target);
}

const NPM = `${PAGE}/npm/`;

function pathInPackage(name: string): string {
  const [first = '', ...below] = name.split('/');
  return `${NPM}${first}/${below.join('/') || MAIN[first]}`;
}

function sourceOf(path: string): URL {
  if (!path.startsWith(NPM)) return packageFile(`src/${path.slice(PAGE.length + 1)}`);
  const [name = '', ...below] = path.slice(NPM.length).split('/');
  return new URL(below.join('/'), PACKAGES[name]!);
}

/** Blanks at ends of lines, and lines of nothing else: where types stood. */
const LEFT_BEHIND = /[ \t]+$|\n(?=\s*\n)/gm;

/** Node says at the first time that what strips types may change, which is nothing to whoever runs the service. */
function stripped(text: string): string {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return stripTypeScriptTypes(text).replaceAll(LEFT_BEHIND, '');
  } finally {
    process.emitWarning = emitWarning;
  }
}

const ICON = `<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><rect width='16' height='16' rx='3' fill='#0072b2'/><path d='M3 11h4V5h6' stroke='#fff' stroke-width='2' fill='none'/></svg>`;

/** Its links are relative: they are right behind a proxy, too, that puts the service below a path of its own. */
const page = (modules: readonly string[], key: string | null): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Holdover</title>
<link rel="icon" href="data:image/svg+xml,${encodeURIComponent(ICON)}">
<link rel="stylesheet" href="${STYLES.slice(1)}">
${modules.map((path) => `<link rel="modulepreload" href="${path.slice(1)}">`).join('\n')}
<script type="module" src="${FIRST.slice(1)}"></script>
</head>
<body data-version="${escaped(manifest.version)}"${key === null ? '' : ` data-key="${escaped(key)}"`}>
<noscript>The console is a page of JavaScript, which this browser does not run. <a href="docs">The API pages</a> tell what else there is.</noscript>
</body>
</html>
`;
