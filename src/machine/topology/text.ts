/**
 * Texts as people paste them, line by line: without colours, quotes and fences, with shell prompts and programs'
 * complaints passed over. Every expression here is linear in the line, and lines have an end.
 */
import { MAX_ERRORS, MAX_FUNCTIONS } from '../../limits.ts';
import type { FunctionSpec } from '../spec.ts';
import { byAddress } from './functions.ts';
import type { SaidConfig } from './lspci-config.ts';

/** A function as a text describes it; null: the text does not say. */
export interface TopologyFunction
  extends Pick<FunctionSpec, 'bdf' | 'group' | 'vendor' | 'device' | 'class' | 'name'>,
    Partial<Pick<FunctionSpec, 'iommu' | 'driver' | 'reset' | 'sriov' | 'physicalFunction' | 'realDmaDevice'>> {
  /** What the text says of its configuration space. */
  said?: SaidConfig;
  readonly line: Line;
}

/** What was passed over in a line, or concluded from it (or from several lines: null). */
export interface TopologyNote {
  line: number | null;
  text: string | null;
  what: string;
}

/** A line that cannot be read, and what is allowed there. */
export interface TopologyError {
  line: Line;
  reason: string;
}

export interface Line {
  /** Number of the line, from 1. */
  number: number;
  /** The line as it is in the text. */
  raw: string;
  /** What it says: blanks are single, and there are none at the ends. */
  text: string;
  /** Columns before it. */
  indent: number;
}

/**
 * What a reader makes of a line: functions, the address of one that is gone, why the line is passed over, why it cannot
 * be read, nothing to speak of (null), or that it does not know such lines (undefined).
 */
export type Reading =
  | TopologyFunction[]
  | { gone: string }
  | { passed: string }
  | { reason: string }
  | null
  | undefined;

export interface Reader {
  /** What it reads, for an error. */
  readonly expected: string;
  read(line: Line): Reading;
  /** A command of the shell, which may say what the lines behind it are of. */
  command?(text: string): void;
}

export interface TextOutcome {
  functions: TopologyFunction[];
  notes: Notes;
  errors: TopologyError[];
}

export const NO_IOMMU = 'this machine has no IOMMU, or it is off: such a host is given as `iommus: []` with `devices`';

/** The longest line that is read: no program writes longer ones. */
const MAX_LINE = 1000;
/** The most lines that are read: more than `lspci -vvv` prints of the largest machines that are known. */
const MAX_LINES = 50_000;
const MAX_NOTES = 200;
const SHOWN = 120;

/** Terminal sequences: links and titles, colours, character sets; and colours whose escape character got lost. */
const SEQUENCES =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /(?:\u001b\]|\u009d)[^\u0007\u001b]*(?:\u0007|\u001b\\)?|(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|\u001b[ -/]*[0-~]?|(?:\\(?:e|033|x1b|u001b)|\^\[)\[[0-9;]*[a-z]|\[m\[K|\[\d{1,3}(?:;\d{1,3}){0,5}m(?:\[K)?/gi;
/** Control characters, and characters without a width. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const INVISIBLE = /[\u0000-\u0008\u000e-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff]/g;
const TAGS =
  /\[\/?(?:code|quote|spoiler|pre|tt)(?:[= ][^[\]]{0,60})?\]|\*\*|<\/?(?:pre|code|br|p|details|summary|blockquote|kbd)\b[^<>]{0,60}>/gi;
/** Markdown's backslashes, and what HTML has for these characters. */
const ESCAPES = /\\(?=[[\]()*#`<>|~-])|&(?:gt|lt|amp|quot|nbsp|#39|#x27|#x200b|#160);/gi;
const UNESCAPED: Readonly<Record<string, string>> = {
  '&gt;': '>',
  '&lt;': '<',
  '&amp;': '&',
  '&quot;': '"',
  '&nbsp;': ' ',
  '&#160;': ' ',
  '&#39;': "'",
  '&#x27;': "'",
};
/** What stands before a line in quotes, lists, trees and tables, and behind it. */
const BEFORE = '>|│┃├└┌╰╭─━┬`*•·◦▪‣○●→–—+#~=_-“„«‘ ';
const BEHIND = '`*|│┃─━=_~”»’\\ ';

/** Strips a line of what decorates it; `indent` counts the columns before what is left. */
function clean(raw: string): { text: string; indent: number } {
  const plain = raw
    .replace(SEQUENCES, '')
    .replace(INVISIBLE, '')
    .replace(ESCAPES, (found) => UNESCAPED[found.toLowerCase()] ?? '')
    .replace(TAGS, '');
  let indent = 0;
  let from = 0;
  for (; from < plain.length; from++) {
    const character = plain[from]!;
    if (character === '\t') indent += 8 - (indent % 8);
    else if (BEFORE.includes(character) || character.trim() === '') indent++;
    else break;
  }
  let to = plain.length;
  while (to > from && (BEHIND.includes(plain[to - 1]!) || plain[to - 1]!.trim() === '')) to--;
  return { text: plain.slice(from, to).replace(/\s+/g, ' '), indent };
}

/** A line as errors and notes quote it: without control characters, and short. */
export function quoted(raw: string): string {
  const text = raw
    .slice(0, 4 * SHOWN)
    .replace(SEQUENCES, '')
    .replace(INVISIBLE, '')
    .replace(/\s+/g, ' ')
    .trim();
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}

/** Collects notes. Of several that say the same, the first line stands for all. */
export class Notes {
  private readonly _byKind = new Map<string, { note: TopologyNote; more: number }>();
  private _left = 0;

  add(what: string, line: Line | null): void {
    const known = this._byKind.get(what);
    if (known) known.more++;
    else if (this._byKind.size === MAX_NOTES) this._left++;
    else
      this._byKind.set(what, { note: { line: line?.number ?? null, text: line && quoted(line.raw), what }, more: 0 });
  }

  list(): TopologyNote[] {
    const notes = [...this._byKind.values()].map(({ note, more }) =>
      more === 0 ? note : { ...note, what: `${note.what} (and ${more} more such ${more === 1 ? 'line' : 'lines'})` },
    );
    if (this._left === 0) return notes;
    return [...notes, { line: null, text: null, what: `${this._left} more lines were passed over` }];
  }
}

const COMMAND_PASSED = { passed: 'a command of the shell: passed over' };
const FENCE = /^[> \t]*(?:```|~~~)[^\s`~]*\s*$/;
const SAYS = /[\p{L}\p{N}!*]/u;
const PROMPT = /^(?:[$%❯➜λ»]|PS [A-Z]:|#!)/;
const COMMAND =
  /^(?:sudo|find|ls|lspci|lsiommu|cat|for|do|done|while|if|then|else|fi|case|esac|function|shopt|set|echo|printf|readlink|tree|dmesg|journalctl|grep|sort|cd|bash|sh|zsh|chmod|export|local|compgen|xargs|awk|sed|exit|return|uname|\.\/\S+|\/\S+\.sh|\w+\.sh|\w+\(\)|[a-z_]\w*=\S*|[{}()]|;;|-name|EOF)(?=$|[\s;({])/i;
const COMPLAINT = /^(?:pcilib|lspci|find|ls|cat|tree|bash|zsh|sh|sudo|grep|readlink|warning|-bash|\S{1,60}\.sh): /i;

/** Prompts such as `user@host:~$ find …` and `[root@host ~]# find …`. */
function isPrompt(text: string): boolean {
  if (PROMPT.test(text)) return true;
  const at = text.indexOf('@');
  if (at < 1 || at > 40 || text.slice(0, at).includes(' ')) return false;
  const rest = text.slice(at, at + 120);
  return /[$#%❯]/.test(rest);
}

/** Joins two readings of one function: the later one, with what only the first line says. */
function merge(fn: TopologyFunction, first: TopologyFunction): TopologyFunction {
  const said = Object.entries(fn).filter(([, value]) => value != null);
  return Object.assign(fn, first, Object.fromEntries(said));
}

/** An address, a class or ids in brackets, a path: a line with one has something to say, and has to be understood. */
export const TELLING = /[0-9a-f]:[0-9a-f]{1,8}\.[0-9a-f]|\[[0-9a-f]{4}(?::[0-9a-f]{4})?\]|iommu_groups\/|\/devices\//i;
/** The header of a group has something to say, too; that of a table has not. */
const GROUP = /^(?:iommu[ _-]?)?group\b(?! ?\|\D*$)/i;
/** A word or two and a number: the header of a group in words that no reader knows. */
const HEADER = /^(?!cpu|single)[\p{L}][\p{L} _-]{0,30}[ :#=-]{0,3}\d{1,10}[ :)\]]{0,3}$/iu;

/**
 * Says what a line is that no reader knows, but shells and programs print, or people write; null: it is none of these.
 */
function noiseOf({ text, raw }: Line): string | null {
  if (COMPLAINT.test(text)) return 'a complaint of a program: passed over';
  if (COMMAND.test(text)) return COMMAND_PASSED.passed;
  if (/^\s*#/.test(raw)) return 'a comment: passed over';
  return TELLING.test(text) || GROUP.test(text) || HEADER.test(text)
    ? null
    : 'says nothing of a group or a function: passed over';
}

/** Reads a text line by line. The first word on a function counts; a second one that says otherwise is an error. */
export function readText(text: string, reader: Reader): TextOutcome {
  const found = new Map<string, TopologyFunction>();
  const notes = new Notes();
  const errors: TopologyError[] = [];
  const refuse = (line: Line, reason: string) => errors.push({ line, reason });
  const add = (fn: TopologyFunction): void => {
    const first = found.get(fn.bdf);
    if (first && fn.group !== null && first.group !== null && first.group !== fn.group)
      refuse(fn.line, `${fn.bdf} is already in line ${first.line.number}, in another group: each function once`);
    else if (first) {
      notes.add('a function that is in the text already: what either line says counts', fn.line);
      found.set(fn.bdf, merge(fn, first));
    } else if (found.size === MAX_FUNCTIONS) refuse(fn.line, `a host has at most ${MAX_FUNCTIONS} functions`);
    else found.set(fn.bdf, fn);
  };
  const take = (line: Line): void => {
    if (line.raw.length > MAX_LINE) {
      refuse(line, `longer than ${MAX_LINE} characters`);
      return;
    }
    if (line.text.includes('iommu_groups') && /No such file or directory/i.test(line.text)) {
      refuse(line, NO_IOMMU);
      return;
    }
    const reading = isPrompt(line.text) ? COMMAND_PASSED : reader.read(line);
    if (reading === COMMAND_PASSED || (reading === undefined && COMMAND.test(line.text))) reader.command?.(line.text);
    if (reading === null) return;
    if (reading === undefined) {
      const noise = noiseOf(line);
      if (noise) notes.add(noise, line);
      else refuse(line, `expected ${reader.expected}`);
    } else if ('reason' in reading) refuse(line, reading.reason);
    else if ('passed' in reading) notes.add(reading.passed, line);
    else if ('gone' in reading) found.delete(reading.gone);
    else for (const fn of reading) add(fn);
  };
  eachLine(text, (line, count) => {
    if (count > MAX_LINES) refuse(line, `a text has at most ${MAX_LINES} lines`);
    else take(line);
    return errors.length < MAX_ERRORS && count <= MAX_LINES;
  });
  return { functions: [...found.values()].sort(byAddress), notes, errors };
}

/**
 * The lines that say anything, until told to stop. Texts may be millions of line ends, so nothing is made of these.
 * `count`: how many lines there were that are not empty.
 */
export function eachLine(text: string, take: (line: Line, count: number) => boolean): void {
  let count = 0;
  for (let at = 0, number = 1; at < text.length; number++) {
    let end = at;
    for (; end < text.length; end++) {
      const code = text.charCodeAt(end);
      if (code === 10 || code === 13) break;
    }
    if (end > at) {
      count++;
      const raw = text.slice(at, end);
      // Code fences may name a language.
      const said = FENCE.test(raw) ? { text: '', indent: 0 } : clean(raw.slice(0, MAX_LINE));
      if ((SAYS.test(said.text) || count > MAX_LINES) && !take({ number, raw, ...said }, count)) return;
    }
    at = text.charCodeAt(end) === 13 && text.charCodeAt(end + 1) === 10 ? end + 2 : end + 1;
  }
}
