/** What may become of bytes: in the files of a database, or in what it keeps of hosts. */
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { Random } from '../random.ts';

export const INJURIES = ['database', 'wal', 'snapshot', 'handover', 'journal', 'marks'] as const;

export type Injury = (typeof INJURIES)[number];

const PAGE = 4096;
const SECTOR = 512;

/** Hurts a data directory that nobody has opened. What was done, in a few words. */
export function injure(directory: string, injury: Injury, random: Random): string {
  switch (injury) {
    case 'database':
      return injureFile(join(directory, 'holdover.db'), random);
    case 'wal':
      return injureFile(join(directory, 'holdover.db-wal'), random);
    case 'marks':
      return injureFile(join(directory, 'holdover.marks'), random);
    case 'snapshot':
      return injureRow(directory, 'snapshots', ['data'], random);
    case 'handover':
      return injureRow(directory, 'handovers', ['data', 'checksum'], random);
    case 'journal':
      return injureRow(directory, 'journal', ['command', 'digest', 'payload'], random);
  }
}

function injureFile(path: string, random: Random): string {
  const file = openSync(path, 'r+');
  try {
    const { size } = fstatSync(file);
    return random.weighted<(file: number, size: number, random: Random) => string>([
      [5, flip],
      [3, overwrite],
      [2, lose],
      [1, swap],
      [1, cut],
    ])(file, size, random);
  } finally {
    closeSync(file);
  }
}

/** One bit, or a few of some bytes in a row. */
function flip(file: number, size: number, random: Random): string {
  const [at, length] = [random.below(size), random.between(1, 4)];
  const bytes = readAt(file, at, length);
  for (let index = 0; index < bytes.length; index += 1) bytes[index]! ^= 1 << random.below(8);
  writeSync(file, bytes, 0, bytes.length, at);
  return `${bytes.length} bits flipped from ${at} on`;
}

/** A sector with other bytes, as of another file. */
function overwrite(file: number, size: number, random: Random): string {
  const at = SECTOR * random.below(Math.ceil(size / SECTOR));
  const bytes = Buffer.from(Array.from({ length: Math.min(SECTOR, size - at) }, () => random.below(256)));
  writeSync(file, bytes, 0, bytes.length, at);
  return `a sector overwritten at ${at}`;
}

/** Some sectors of nothing. */
function lose(file: number, size: number, random: Random): string {
  const at = SECTOR * random.below(Math.ceil(size / SECTOR));
  const length = Math.min(SECTOR * random.between(1, 16), size - at);
  writeSync(file, Buffer.alloc(length, random.pick([0, 0xff])), 0, length, at);
  return `${length} bytes lost at ${at}`;
}

/** A page where another one was: a write that went to the wrong place, or never happened. */
function swap(file: number, size: number, random: Random): string {
  const pages = Math.ceil(size / PAGE);
  const [from, to] = [random.below(pages), random.below(pages)];
  const bytes = readAt(file, from * PAGE, PAGE);
  writeSync(file, bytes, 0, bytes.length, to * PAGE);
  return `page ${to} is page ${from}`;
}

function cut(file: number, size: number, random: Random): string {
  const length = random.below(size);
  ftruncateSync(file, length);
  return `cut to ${length} of ${size} bytes`;
}

function readAt(file: number, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, readSync(file, bytes, 0, length, at));
}

/** A value of one row has other bytes: the database itself is whole. */
function injureRow(directory: string, table: string, columns: string[], random: Random): string {
  const database = new Database(join(directory, 'holdover.db'));
  try {
    const column = random.pick(columns)!;
    const [host, from] = table === 'journal' ? ['id', 'journal JOIN hosts USING (serial)'] : ['host_id', table];
    const rows = database
      .prepare<[], { id: string; row: number; sequence: number; value: Buffer }>(
        `SELECT ${host} AS id, ${table}.rowid AS row, sequence, CAST(${column} AS BLOB) AS value
         FROM ${from} WHERE length(${column}) > 0`,
      )
      .all();
    const { id, row, sequence, value } = random.pick(rows)!;
    const bytes = Buffer.from(value);
    const at = random.below(bytes.length);
    for (const index of [at, ...(random.chance(0.3) ? [random.below(bytes.length)] : [])])
      bytes[index]! ^= 1 << random.below(7);
    const type = column === 'data' || column === 'payload' ? 'BLOB' : 'TEXT';
    database.prepare(`UPDATE ${table} SET ${column} = CAST(? AS ${type}) WHERE rowid = ?`).run(bytes, row);
    return `byte ${at} of ${column} of command ${sequence} of ${id}`;
  } finally {
    database.close();
  }
}
