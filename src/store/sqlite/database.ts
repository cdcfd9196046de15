/**
 * Opens the data directory: one database file, one connection that writes at a time, any number that read. A second
 * service is kept away, as it would answer from state of its own.
 */
import { join, resolve } from 'node:path';
import Database from 'better-sqlite3';
import { StoreUnavailable } from '../errors.ts';
import { clearDeleted } from './clearing.ts';
import { DATABASE, explain, makeDirectory, makeFiles } from './directory.ts';
import { migrate } from './migrations.ts';
import { InUse, type Owner, own } from './owner.ts';
import { Room } from './room.ts';

/** `process`: survives any death of the process. `power`: survives a power loss too, and waits for the disk. */
export type Durability = 'process' | 'power';

/** How long a write waits for another program that holds the database, in milliseconds. */
const BUSY_TIMEOUT_MS = 2000;

/** What is more of the WAL is taken over into the database, in bytes (checkpoints.ts); and at once where it is so much, in pages of 4 KiB. */
export const WAL_BYTES = 4 << 20;
const MOST_WAL_PAGES = 16_384;

export interface OpenDatabase {
  database: Database.Database;
  /** Migrations applied at this start. */
  applied: string[];
  /** Leaves word for a second service, which cannot have the directory, where this one serves. */
  announce(address: string): void;
  close(): void;
}

export function openDatabase(directory: string, durability: Durability): OpenDatabase {
  let owner: Owner | undefined;
  let database: Database.Database | undefined;
  try {
    makeDirectory(directory);
    owner = own(directory);
    makeFiles(directory);
    database = connectForWriting(directory, durability);
    const applied = migrate(database);
    clearDeleted(database);
    new Room(database).keepSpare();
    return { database, applied, announce: owner.announce, close: closeAll(database, owner) };
  } catch (error) {
    database?.close();
    owner?.close();
    throw cannotOpen(directory, error);
  }
}

export function cannotOpen(directory: string, error: unknown): StoreUnavailable {
  const reason = error instanceof InUse ? error.message : explain(directory, error);
  return new StoreUnavailable(`cannot open the data directory ${resolve(directory)}: ${reason}`, { cause: error });
}

/** A connection that writes, to a directory that is open already. */
export function connectForWriting(directory: string, durability: Durability): Database.Database {
  const database = new Database(file(directory), { timeout: BUSY_TIMEOUT_MS });
  try {
    database.pragma('journal_mode = WAL');
    database.pragma(`synchronous = ${durability === 'power' ? 'FULL' : 'NORMAL'}`);
    database.pragma('foreign_keys = ON');
    database.pragma(`journal_size_limit = ${WAL_BYTES}`);
    database.pragma(`wal_autocheckpoint = ${MOST_WAL_PAGES}`);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** A connection that reads, to a directory that is open already. */
export function connectForReading(directory: string): Database.Database {
  return new Database(file(directory), { readonly: true, timeout: BUSY_TIMEOUT_MS });
}

const file = (directory: string): string => join(directory, DATABASE);

function closeAll(database: Database.Database, owner: Owner): () => void {
  return () => {
    database.close();
    owner.close();
  };
}
