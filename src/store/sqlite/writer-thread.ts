/**
 * The thread that writes for all others. They speak to it directly. What arrives while a commit runs goes into the
 * next one.
 */
import { type MessagePort, workerData } from 'node:worker_threads';
import { serve } from '../../threads/ports.ts';
import { carryShield, type Shield } from '../../threads/shield.ts';
import { connectForWriting, type Durability } from './database.ts';
import { GroupWriter } from './writer.ts';
import type { Write } from './writes.ts';

/** What the writer is asked. `attach` gives a thread a new door, and shuts the one it had. */
export type WriterRequest =
  | { ask: 'write'; write: Write }
  | { ask: 'attach'; thread: number; port: MessagePort }
  | { ask: 'close' };

export interface WriterSettings {
  directory: string;
  durability: Durability;
  port: MessagePort;
  shield: Shield;
}

const { directory, durability, port, shield } = workerData as WriterSettings;
carryShield(shield);
const database = connectForWriting(directory, durability);
const writer = new GroupWriter(database);
/** By thread: shuts its door. */
const doors = new Map<number, () => void>();

/**
 * What the thread's predecessor sent is stored when this returns, or will never be: the thread builds its hosts from
 * what is stored, and nothing may come after.
 */
function attach(thread: number, to: MessagePort): void {
  doors.get(thread)?.();
  writer.flush();
  doors.set(
    thread,
    serve<Write>(to, (write) => writer.write(write)),
  );
}

serve<WriterRequest>(port, async (request) => {
  switch (request.ask) {
    case 'write':
      return await writer.write(request.write);
    case 'attach':
      return attach(request.thread, request.port);
    case 'close':
      writer.flush();
      return database.close();
  }
});
