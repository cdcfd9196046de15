/**
 * Who has the data directory. The lock, held for the life of the process and freed by the system whatever ends it,
 * decides; a note beside it tells a person whom it keeps away where the other one is.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { LOCK } from './directory.ts';

const NOTE = 'holdover.json';
/** One that is just ending is waited for, in milliseconds. */
const PATIENCE_MS = 1000;

/** Another Holdover has the directory; the message says which one, and what to do. */
export class InUse extends Error {
  override readonly name = 'InUse';
}

export interface Owner {
  /** Says where it serves. */
  announce(address: string): void;
  close(): void;
}

/** Throws InUse. */
export function own(directory: string): Owner {
  const lock = new Database(join(directory, LOCK), { timeout: PATIENCE_MS });
  try {
    lock.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    lock.close();
    if ((error as { code?: string }).code === 'SQLITE_BUSY') throw new InUse(inUse(directory));
    throw error;
  }
  leaveNote(directory, {});
  return {
    announce: (address) => leaveNote(directory, { address }),
    close: () => lock.close(),
  };
}

interface Note {
  pid: number;
  machine: string;
  address?: string;
}

function leaveNote(directory: string, { address }: Pick<Note, 'address'>): void {
  const file = join(directory, NOTE);
  const note: Note = { pid: process.pid, machine: hostname(), ...(address === undefined ? {} : { address }) };
  try {
    writeFileSync(file, `${JSON.stringify(note)}\n`);
  } catch {
    // A service can do without, also on a full disk. But one of an earlier service would name the wrong process.
    rmSync(file, { force: true });
  }
}

function readNote(directory: string): Note | undefined {
  try {
    return JSON.parse(readFileSync(join(directory, NOTE), 'utf8')) as Note;
  } catch {
    // It is being written, or could not be.
    return undefined;
  }
}

function inUse(directory: string): string {
  const another = 'start this one with another HOLDOVER_DATA_DIR and another HOLDOVER_PORT';
  const note = readNote(directory);
  if (note === undefined) return `another Holdover is using it: stop that one, or ${another}.`;
  const { pid, machine, address } = note;
  const here = machine === hostname();
  const where = here ? '' : ` of the machine or container ${machine}`;
  const serves = address === undefined ? 'is starting' : `serves ${address}`;
  const end = here ? `stop it (kill ${pid})` : 'stop it there';
  return `another Holdover, process ${pid}${where}, is using it and ${serves}. Use that one, ${end}, or ${another}.`;
}
