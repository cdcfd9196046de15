/** The thread of the checkpoints: makes one whenever it is told to, and says when it has. */
import { parentPort, workerData } from 'node:worker_threads';
import { carryShield, type Shield } from '../../threads/shield.ts';
import { connectForWriting } from './database.ts';

export interface CheckpointSettings {
  directory: string;
  shield: Shield;
}

/** Where the WAL has more than these, it is begun anew. */
const MANY_PAGES = 2048;
/** Whoever writes waits so long for that at the most, in milliseconds. */
const PATIENCE_MS = 10;

const { directory, shield } = workerData as CheckpointSettings;
carryShield(shield);
const database = connectForWriting(directory, 'process');
database.pragma(`busy_timeout = ${PATIENCE_MS}`);

interface Checkpoint {
  /** Pages in the WAL, and how many of them the database has. */
  log: number;
  checkpointed: number;
}

/** Of all that nobody reads at the moment: it waits for no one, and no one for it. */
function passive(): Checkpoint {
  return (database.pragma('wal_checkpoint(PASSIVE)') as [Checkpoint])[0];
}

/**
 * Where writes never pause the WAL is never begun anew by itself, but grows until whoever writes has to wait for a checkpoint of
 * its own. So the little that has come since two others is taken over while nobody writes.
 */
function beginAnew(): void {
  const { log, checkpointed } = passive();
  // Otherwise somebody reads what has been replaced since, and would be waited for.
  if (checkpointed === log) database.pragma('wal_checkpoint(RESTART)');
}

parentPort?.on('message', () => {
  try {
    if (passive().log > MANY_PAGES) beginAnew();
  } catch {
    // A full disk, or a damaged one: those who write find that out, too.
  }
  parentPort?.postMessage('done');
});
