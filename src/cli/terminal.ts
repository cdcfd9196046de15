/** What a command writes: tables for people, or JSON; colours where somebody sees them; progress while something takes long. */
import { isatty } from 'node:tty';
import { printable } from '../timeline/text.ts';

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;
export type Style = keyof typeof CODES;

/** Colours are for terminals, unless NO_COLOR says no (https://no-color.org). `fd`: where the text goes; default: standard output. */
export function styled(style: Style, text: string, fd = 1): string {
  const hasColours = isatty(fd) && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
  return hasColours ? `\u001b[${CODES[style]}m${text}\u001b[0m` : text;
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** To standard error: what is not the answer. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

type Cell = string | number | boolean | null | undefined;

/** Columns as wide as what is in them. Nothing is shown as `-`. */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[]): void {
  const cells = rows.map((row) => row.map((cell) => printable(String(cell ?? '-'))));
  const widths = head.map((title, column) => Math.max(title.length, ...cells.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd();
  say(styled('bold', line(head)));
  for (const row of cells) say(line(row));
}

export interface Output {
  /** `--json`. */
  json: boolean;
}

/** Shows an answer: as it is, or as people read it. */
export function show<Value>({ json }: Output, value: Value, forPeople: (value: Value) => void): void {
  if (json) say(JSON.stringify(value, null, 2));
  else forPeople(value);
}

/** What takes longer than this is told of, in milliseconds, and how often. */
const LONG_MS = 500;

/** Tells on standard error, if that is a terminal, for how long something has been under way, and how far `tell` says it is. */
export async function withProgress<Value>(
  what: string,
  work: (tell: (far: string) => void) => Promise<Value>,
): Promise<Value> {
  const begun = performance.now();
  let far = '';
  let shown = false;
  const timer = setInterval(() => {
    shown = true;
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    process.stderr.write(`\r\u001b[K${what} ${far} ${seconds} s`);
  }, LONG_MS);
  if (!isatty(2)) clearInterval(timer);
  try {
    return await work((now) => {
      far = now;
    });
  } finally {
    clearInterval(timer);
    if (shown) process.stderr.write('\r\u001b[K');
  }
}
