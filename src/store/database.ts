/**
 * Opens the data directory: one database file, one connection that writes at a time, any number that read. A lock
 * held for the life of the process (and freed by the system whatever ends it) keeps a second service away, which
 * would answer from state of its own.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { unavailable } from './errors.ts';
import { migrate } from './migrations.ts';

/** `process`: survives any death of the process. `power`: survives a power loss too, and waits for the disk. */
export type Durability = 'process' | 'power';

/** How long a write waits for another program that holds the database, in milliseconds. */
const BUSY_TIMEOUT_MS = 2000;

export interface OpenDatabase {
  database: Database.Database;
  /** Migrations applied at this start. */
  applied: string[];
  close(): void;
}

export function openDatabase(directory: string, durability: Durability): OpenDatabase {
  let lock: Database.Database | undefined;
  let database: Database.Database | undefined;
  try {
    mkdirSync(directory, { recursive: true });
    lock = takeLock(join(directory, 'holdover.lock'));
    database = connectForWriting(directory, durability);
    const applied = migrate(database);
    database.exec('DELETE FROM parts WHERE host_id NOT IN (SELECT id FROM hosts)');
    return { database, applied, close: closeAll(database, lock) };
  } catch (error) {
    database?.close();
    lock?.close();
    throw unavailable(`cannot open the data directory ${directory}`, error);
  }
}

/** A connection that writes, to a directory that is open already. */
export function connectForWriting(directory: string, durability: Durability): Database.Database {
  const database = new Database(file(directory), { timeout: BUSY_TIMEOUT_MS });
  database.pragma('journal_mode = WAL');
  database.pragma(`synchronous = ${durability === 'power' ? 'FULL' : 'NORMAL'}`);
  database.pragma('foreign_keys = ON');
  return database;
}

/** A connection that reads, to a directory that is open already. */
export function connectForReading(directory: string): Database.Database {
  return new Database(file(directory), { readonly: true, timeout: BUSY_TIMEOUT_MS });
}

const file = (directory: string): string => join(directory, 'holdover.db');

function takeLock(path: string): Database.Database {
  const lock = new Database(path, { timeout: BUSY_TIMEOUT_MS });
  try {
    lock.exec('BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock.close();
    if ((error as { code?: string }).code === 'SQLITE_BUSY') throw new Error('another Holdover is using it');
    throw error;
  }
}

function closeAll(database: Database.Database, lock: Database.Database): () => void {
  return () => {
    database.close();
    lock.close();
  };
}
