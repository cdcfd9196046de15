/** YAML documents with the line of everything in them. */
import { readFile } from 'node:fs/promises';
import { type Document, isMap, isNode, LineCounter, type Pair, parseAllDocuments, type ScalarTag } from 'yaml';
import { fitting, isSize, parseSize } from './values.ts';

export type Path = readonly (string | number)[];

/** One document of a file, and where in it things are. */
export class Source {
  readonly file: string;
  readonly #text: string;
  readonly #document: Document;
  readonly #lines: LineCounter;

  constructor(file: string, text: string, document: Document, lines: LineCounter) {
    this.file = file;
    this.#text = text;
    this.#document = document;
    this.#lines = lines;
  }

  /** The line of what a path leads to, or of what is nearest above it. `key`: of its key, where it has one. */
  line(where: Path, key?: string): number {
    for (let length = where.length; length >= 0; length -= 1) {
      const node = length === 0 ? this.#document.contents : this.#document.getIn(where.slice(0, length), true);
      if (!isNode(node) || !node.range) continue;
      const pair = length === where.length && isMap(node) && key !== undefined ? pairOf(node.items, key) : undefined;
      const start = isNode(pair?.key) && pair.key.range ? pair.key.range[0] : node.range[0];
      return this.#lines.linePos(start).line;
    }
    return 1;
  }

  place(where: Path, key?: string): string {
    return `${this.file}:${this.line(where, key)}`;
  }

  /** Names of all symbols that it speaks of. */
  symbols(): string[] {
    return [...new Set([...this.#text.matchAll(/\$\{?([A-Za-z_]\w*)/g)].map(([, name]) => name!))];
  }

  /** As it is written there. */
  excerpt(where: Path): string {
    const node = this.#document.getIn(where, true);
    if (!isNode(node) || !node.range) return '';
    const lines = this.#text.slice(node.range[0], node.range[1]).trimEnd().split('\n');
    const { col } = this.#lines.linePos(node.range[0]);
    return lines
      .map((line, index) => (index > 0 && /^ *$/.test(line.slice(0, col - 1)) ? line.slice(col - 1) : line))
      .join('\n');
  }
}

const pairOf = (pairs: readonly Pair[], key: string): Pair | undefined =>
  pairs.find((pair) => String(isNode(pair.key) ? pair.key.toString() : pair.key) === key);

/** A file that cannot be used as it is; each problem begins with its place. */
export class Unreadable extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** `64Mi` and the like, unless in quotes. */
const SIZE: ScalarTag = {
  tag: '!size',
  default: true,
  test: /^\d+(?:Ki|Mi|Gi)$/,
  resolve: (text) => (isSize(text) ? parseSize(text) : text),
};

/** The documents of a file, one at least. Throws Unreadable, and what reading it throws. */
export async function readDocuments(file: string): Promise<{ source: Source; value: unknown }[]> {
  const text = await readFile(file, 'utf8');
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, {
    lineCounter: lines,
    intAsBigInt: true,
    customTags: (tags) => [SIZE, ...tags],
  });
  if (!Array.isArray(documents) || documents.length === 0) throw new Unreadable([`${file}:1: there is nothing in it`]);
  const problems = documents.flatMap(({ errors }) =>
    errors.map(
      ({ message, pos }) =>
        `${file}:${lines.linePos(pos[0]).line}: ${message.split('\n')[0]!.replace(/ at line \d+.*$/, '')}`,
    ),
  );
  if (problems.length > 0) throw new Unreadable(problems);
  return documents.map((document) => ({
    source: new Source(file, text, document, lines),
    value: withNumbers(document.toJS()),
  }));
}

/** Whole numbers as the API takes them: what is not safe as hexadecimal. */
function withNumbers(value: unknown): unknown {
  if (typeof value === 'bigint') return fitting(value);
  if (Array.isArray(value)) return value.map(withNumbers);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withNumbers(item)]));
}
