/**
 * Room on a full disk. What waits in the WAL gets into the database, where pages may be free, and the WAL begins anew. That
 * takes some room itself where none is, and so does a deletion, before it gives any: for that some is kept in a file beside
 * the database, which is given up then.
 */
import { randomFillSync } from 'node:crypto';
import { closeSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type Database from 'better-sqlite3';
import type { Write } from './writes.ts';

const SPARE = 'holdover.spare';
/** As large as the WAL grows until what is in it is taken over into the database, and a little more. */
const BYTES = 5 << 20;
/** Of other bytes than those before, so that a file system that compresses cannot make it smaller. */
const PIECE = 1 << 19;
const MODE = 0o600;
/** Where it was of no use it is not tried again before this, in milliseconds. */
const PAUSE_MS = 1000;

export class Room {
  readonly #database: Database.Database;
  readonly #spare: string;
  #uselessUntil = 0;

  constructor(database: Database.Database) {
    this.#database = database;
    this.#spare = join(dirname(database.name), SPARE);
  }

  /** Makes room for a write that there was none for, `again` if not enough; false where it is not worth trying again. */
  makeFor(write: Write, again: boolean): boolean {
    if (!again && performance.now() >= this.#uselessUntil) {
      if (this.#beginWalAnew()) return true;
      this.#uselessUntil = performance.now() + PAUSE_MS;
    }
    if (!givesRoom(write) || statSync(this.#spare, { throwIfNoEntry: false }) === undefined) return false;
    rmSync(this.#spare, { force: true });
    this.#beginWalAnew();
    return true;
  }

  /** Keeps some, where it is not kept and there is any. */
  keepSpare(): void {
    try {
      if (statSync(this.#spare, { throwIfNoEntry: false })?.size === BYTES) return;
      this.#beginWalAnew();
      writePieces(this.#spare);
    } catch {
      rmSync(this.#spare, { force: true });
    }
  }

  /** False where there is not even room for what is in it. */
  #beginWalAnew(): boolean {
    try {
      this.#database.pragma('wal_checkpoint(TRUNCATE)');
      this.#uselessUntil = 0;
      return true;
    } catch {
      return false;
    }
  }
}

/** The same piece again and again: memory for all of it would take longer to come by than the file to write. */
function writePieces(path: string): void {
  const piece = randomFillSync(Buffer.allocUnsafe(PIECE));
  const file = openSync(path, 'w', MODE);
  try {
    for (let at = 0; at < BYTES; at += PIECE)
      if (writeSync(file, piece) < PIECE) throw new Error('there is no room for all of it');
  } finally {
    closeSync(file);
  }
}

/** Whether there is more room behind it than before. */
const givesRoom = (write: Write): boolean =>
  write.kind === 'host.delete' || write.kind === 'host.clear' || (write.kind === 'host.own' && write.use === 'delete');
