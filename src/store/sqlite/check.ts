/** Whether the store can be used: it is read, and something is stored, as only that shows whether there is room. */
import { setTimeout } from 'node:timers/promises';
import type Database from 'better-sqlite3';
import { unavailable } from './errors.ts';
import type { Writer } from './writes.ts';

/** How long what was stored proves that there is room: whoever asks more often writes no more. */
const GOOD_MS = 100;
/** A writer that is busy for longer is taken to be as it was. */
const PATIENCE_MS = 500;

export function openCheck(database: Database.Database, writer: Writer): () => Promise<void> {
  const read = database.prepare('SELECT count(*) FROM migrations').pluck();
  let attempt: Promise<void> | null = null;
  let failure: Error | null = null;
  let goodUntil = 0;

  const write = async (): Promise<void> => {
    try {
      await writer.write({ kind: 'check' });
      failure = null;
      goodUntil = performance.now() + GOOD_MS;
    } catch (error) {
      failure = error as Error;
    } finally {
      attempt = null;
    }
  };

  return async () => {
    try {
      read.get();
    } catch (error) {
      throw unavailable('the database does not answer', error);
    }
    if (failure !== null || performance.now() >= goodUntil) {
      attempt ??= write();
      await Promise.race([attempt, setTimeout(PATIENCE_MS, undefined, { ref: false })]);
    }
    if (failure !== null) throw failure;
  };
}
