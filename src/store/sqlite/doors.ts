/** What a thread that writes serves: others speak to it directly, each by a door of its own. */
import type { MessagePort } from 'node:worker_threads';
import { serve } from '../../threads/ports.ts';
import type { GroupWriter } from './writer.ts';
import type { Write } from './writes.ts';

/** What the writer is asked. `attach` gives a thread a new door, and shuts the one it had. */
export type WriterRequest =
  | { ask: 'write'; write: Write }
  | { ask: 'attach'; thread: number; port: MessagePort }
  | { ask: 'close' };

/** `close`: what a close does when all is written. The result shuts all doors. */
export function serveWriter(port: MessagePort, writer: GroupWriter, close: () => void): () => void {
  /** By thread: shuts its door. */
  const doors = new Map<number, () => void>();
  /**
   * What the thread's predecessor sent is stored when this returns, or will never be: the thread builds its hosts from
   * what is stored, and nothing may come after.
   */
  const attach = (thread: number, to: MessagePort): void => {
    doors.get(thread)?.();
    writer.flush();
    doors.set(
      thread,
      serve<Write>(to, (write) => writer.write(write)),
    );
  };
  const shut = serve<WriterRequest>(port, async (request) => {
    switch (request.ask) {
      case 'write':
        return await writer.write(request.write);
      case 'attach':
        return attach(request.thread, request.port);
      case 'close':
        writer.flush();
        return close();
    }
  });
  return () => {
    shut();
    for (const shutDoor of doors.values()) shutDoor();
  };
}
