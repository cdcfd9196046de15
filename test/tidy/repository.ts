/** The files of the repository as text, and what the checks ask of them. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseSync } from 'oxc-parser';
import { importsOf } from '../support/import-graph.ts';

const ROOT = path.join(import.meta.dirname, '../..');

/** Folders that hold what people wrote, and what in them is data: recorded, pasted or generated. */
const FOLDERS = ['src', 'test', 'bench', 'scripts', 'docs', 'examples', 'migrations', 'openapi', '.ci'];
const DATA = ['test/conformance/traces/', 'test/fixtures/', 'test/field/cases/', 'bench/fixtures/', 'openapi/'];

/** What a comment, or a page, says in one of its lines. */
export interface Remark {
  /** `path:line`. */
  at: string;
  text: string;
  /** Of a page: it lies in a block of code, which may make the files that it names. */
  code: boolean;
}

/** Text by path from the root, `/` between folders. Files that are data have a path, and no text. */
export class Repository {
  readonly files: ReadonlyMap<string, string>;

  constructor(files: Readonly<Record<string, string>>) {
    this.files = new Map(Object.entries(files));
  }

  /** Paths that begin with one of these and end with one of those, in order. */
  paths(folders: readonly string[], ...endings: string[]): string[] {
    return [...this.files.keys()]
      .filter((file) => folders.some((folder) => file.startsWith(folder)) && endings.some((end) => file.endsWith(end)))
      .sort();
  }

  text(file: string): string {
    return this.files.get(file) ?? '';
  }

  /** Paths of the files that a file imports, types included, as far as they are named relatively. */
  imports(file: string): string[] {
    const names = new Set(importsOf(file, this.text(file)));
    return [...names].map((name) => path.posix.join(path.posix.dirname(file), name));
  }

  /** Packages, and modules of Node, that a file imports. */
  packages(file: string): string[] {
    const { module } = parseSync(file, this.text(file));
    const names = module.staticImports.map(({ moduleRequest }) => moduleRequest.value);
    return names.filter((name) => !name.startsWith('.'));
  }

  /** The comments of a TypeScript file, the lines of any other. */
  remarks(file: string): Remark[] {
    const text = this.text(file);
    if (file.endsWith('.ts'))
      return commentLines(file, text).map(([line, said]) => ({ at: `${file}:${line + 1}`, text: said, code: false }));
    let code = false;
    return text.split('\n').map((said, line) => {
      if (said.startsWith('```')) code = !code;
      return { at: `${file}:${line + 1}`, text: said, code };
    });
  }
}

/** Lines of comments, with the number of the line from 0. */
function commentLines(file: string, text: string): [number, string][] {
  return parseSync(file, text).comments.flatMap(({ value, start }) => {
    const first = text.slice(0, start).split('\n').length - 1;
    return value.split('\n').map((line, index): [number, string] => [first + index, line]);
  });
}

/** Paths of the files of the root, and of all that lies in folders that people write. */
function pathsOnDisk(): string[] {
  const top = readdirSync(ROOT, { withFileTypes: true }).filter((entry) => entry.isFile());
  const below = FOLDERS.flatMap((folder) =>
    readdirSync(path.join(ROOT, folder), { withFileTypes: true, recursive: true }).filter(
      (entry) => !entry.isDirectory(),
    ),
  );
  return [...top, ...below].map((entry) => path.relative(ROOT, path.join(entry.parentPath, entry.name)));
}

/** The repository as it lies on the disk. */
export function readRepository(): Repository {
  const files: Record<string, string> = {};
  for (const file of pathsOnDisk())
    files[file] = DATA.some((folder) => file.startsWith(folder)) ? '' : readFileSync(path.join(ROOT, file), 'utf8');
  return new Repository(files);
}
