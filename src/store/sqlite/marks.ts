/**
 * How far each host is known to be stored, in a file beside the database, so that a database that has lost something is
 * found out: behind each commit a line is added for each host that it concerns. The file is not synced: it may know less
 * than the database, which does no harm, and never knows more, unless the database has lost it.
 *
 * A line: CRC-32 of the rest in 8 hexadecimal digits, the sequence of the newest command (0: it is made; `deleted`;
 * `tenant`), and the id. The last one about an id counts; one that does not match its checksum does not.
 */
import { closeSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { codeOf } from './errors.ts';

export const MARKS = 'holdover.marks';
/** It is written anew when so many bytes, and four times what is in it, have been added. */
const MOST_ADDED = 1 << 20;
/** Deletions that are remembered: they matter until they are in the database file itself. */
const MOST_DELETED = 1000;
const MODE = 0o600;

export type Mark = number | 'deleted' | 'tenant';

export interface ReadMarks {
  marks: Map<string, Mark>;
  /** Lines, but for a last one that was not finished, that do not match their checksum. */
  damaged: number;
}

export class Marks {
  readonly #directory: string;
  #marks: Map<string, Mark> | undefined;
  #deleted: Set<string> = new Set();
  #file: number | undefined;
  #added = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** The newest command of a host that is known to be stored; 0: none is. */
  endOf(hostId: string): number {
    const mark = this.#known().get(hostId);
    return typeof mark === 'number' ? mark : 0;
  }

  /** What a commit has stored. It never fails: the file is a help, and the disk may be full. */
  note(changes: ReadonlyMap<string, Mark>): void {
    if (changes.size === 0) return;
    const marks = this.#known();
    let text = '';
    for (const [id, mark] of changes) {
      this.#set(marks, id, mark);
      text += lineOf(id, mark);
    }
    try {
      if (this.#file === undefined) this.#begin(marks);
      else this.#add(this.#file, text, marks);
    } catch {
      // Perhaps half a line is there: it is written anew behind the next commit.
      this.close();
      this.#marks = marks;
    }
  }

  /** Somebody else may write it from now on. */
  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
    this.#marks = undefined;
  }

  #known(): Map<string, Mark> {
    if (this.#marks !== undefined) return this.#marks;
    this.#marks = readMarks(this.#directory).marks;
    this.#deleted = new Set([...this.#marks].filter(([, mark]) => mark === 'deleted').map(([id]) => id));
    return this.#marks;
  }

  #set(marks: Map<string, Mark>, id: string, mark: Mark): void {
    marks.set(id, mark);
    if (mark !== 'deleted') {
      this.#deleted.delete(id);
      return;
    }
    this.#deleted.add(id);
    if (this.#deleted.size <= MOST_DELETED) return;
    const [oldest] = this.#deleted;
    this.#deleted.delete(oldest!);
    marks.delete(oldest!);
  }

  #add(file: number, text: string, marks: Map<string, Mark>): void {
    const bytes = Buffer.from(text);
    if (writeSync(file, bytes) < bytes.byteLength) throw new Error('not all of it could be written');
    this.#added += bytes.byteLength;
    // About 40 bytes a line.
    if (this.#added > MOST_ADDED && this.#added > 160 * marks.size) this.#begin(marks);
  }

  /** Writes all of them into a new file, which takes the place of the old one. */
  #begin(marks: Map<string, Mark>): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
    const path = join(this.#directory, MARKS);
    let text = '';
    for (const [id, mark] of marks) text += lineOf(id, mark);
    writeFileSync(`${path}.new`, text, { mode: MODE });
    renameSync(`${path}.new`, path);
    this.#file = openSync(path, 'a', MODE);
    this.#added = 0;
  }
}

/** None where there is no file. Throws what reading it throws. */
export function readMarks(directory: string): ReadMarks {
  const marks = new Map<string, Mark>();
  let damaged = 0;
  const lines = textOf(join(directory, MARKS)).split('\n');
  // What is behind the last line break is nothing, or was not finished.
  lines.pop();
  for (const line of lines) {
    const mark = markOf(line);
    if (mark === undefined) damaged += 1;
    else marks.set(...mark);
  }
  return { marks, damaged };
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return '';
    throw error;
  }
}

function lineOf(id: string, mark: Mark): string {
  const rest = `${mark} ${id}`;
  return `${crc32(rest).toString(16).padStart(8, '0')} ${rest}\n`;
}

const LINE = /^([0-9a-f]{8}) ((\d+|deleted|tenant) (.+))$/;

function markOf(line: string): [string, Mark] | undefined {
  const [, checksum, rest, mark, id] = LINE.exec(line) ?? [];
  if (rest === undefined || crc32(rest) !== Number.parseInt(checksum!, 16)) return undefined;
  return [id!, mark === 'deleted' || mark === 'tenant' ? mark : Number(mark)];
}
