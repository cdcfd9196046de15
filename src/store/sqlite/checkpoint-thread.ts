/** The thread of the checkpoints: makes one whenever it is told to, and says when it has. */
import { parentPort, workerData } from 'node:worker_threads';
import { carryShield, type Shield } from '../../threads/shield.ts';
import { connectForWriting } from './database.ts';

export interface CheckpointSettings {
  directory: string;
  shield: Shield;
}

const { directory, shield } = workerData as CheckpointSettings;
carryShield(shield);
const database = connectForWriting(directory, 'process');

parentPort?.on('message', () => {
  try {
    // Of all that nobody reads at the moment: it waits for no one, and no one for it.
    database.pragma('wal_checkpoint(PASSIVE)');
  } catch {
    // A full disk, or a damaged one: those who write find that out, too.
  }
  parentPort?.postMessage('done');
});
