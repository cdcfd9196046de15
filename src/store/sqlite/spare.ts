/**
 * Room that is kept for deleting hosts, as that takes some before it gives any: a file beside the database, which is given
 * up where the disk is full, so that all that waits in the WAL gets into the database and the WAL begins anew.
 */
import { randomFillSync } from 'node:crypto';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type Database from 'better-sqlite3';

const SPARE = 'holdover.spare';
/** As large as the WAL grows until SQLite takes what is in it over into the database, and a little more. */
const BYTES = 5 << 20;
const MODE = 0o600;

/** Makes it where it is not there, and there is room; `before` is done before that, if it is not there. */
export function keepSpare(directory: string, before = (): void => {}): void {
  const path = join(directory, SPARE);
  try {
    if (statSync(path, { throwIfNoEntry: false })?.size === BYTES) return;
    before();
    // Nothing that a file system could make smaller.
    writeFileSync(path, randomFillSync(Buffer.allocUnsafe(BYTES)), { mode: MODE });
  } catch {
    rmSync(path, { force: true });
  }
}

/** Makes room for a write of this connection; false where there is nothing to be given up. */
export function giveUpSpare(database: Database.Database, directory: string): boolean {
  const path = join(directory, SPARE);
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return false;
  rmSync(path, { force: true });
  try {
    beginWalAnew(database);
  } catch {
    // It was not enough. There is some, all the same.
  }
  return true;
}

/** What is in the WAL gets into the database, and its file is empty. */
export function beginWalAnew(database: Database.Database): void {
  database.pragma('wal_checkpoint(TRUNCATE)');
}
