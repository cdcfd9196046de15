/** The thread that writes for all others. What arrives while a commit runs goes into the next one. */
import { type MessagePort, workerData } from 'node:worker_threads';
import { carryShield, type Shield } from '../../threads/shield.ts';
import { connectForWriting, type Durability } from './database.ts';
import { serveWriter } from './doors.ts';
import { GroupWriter } from './writer.ts';

export interface WriterSettings {
  directory: string;
  durability: Durability;
  port: MessagePort;
  shield: Shield;
}

const { directory, durability, port, shield } = workerData as WriterSettings;
carryShield(shield);
const database = connectForWriting(directory, durability);
serveWriter(port, new GroupWriter(database), () => database.close());
