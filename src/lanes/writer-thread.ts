/**
 * The thread that writes for all lanes. They speak to it directly. What arrives while a commit runs goes into the
 * next one.
 */
import { type MessagePort, workerData } from 'node:worker_threads';
import { connectForWriting } from '../store/sqlite/database.ts';
import { GroupWriter } from '../store/sqlite/writer.ts';
import { serve, type WriteRequest, type WriterRequest, type WriterSettings } from './messages.ts';

const { directory, durability, port } = workerData as WriterSettings;
const database = connectForWriting(directory, durability);
const writer = new GroupWriter(database);
/** By lane: shuts its door. */
const doors = new Map<number, () => void>();

/**
 * What the lane's predecessor sent is stored when this returns, or will never be: the lane builds its hosts from
 * what is stored, and nothing may come after.
 */
function attach(lane: number, to: MessagePort): void {
  doors.get(lane)?.();
  writer.flush();
  doors.set(
    lane,
    serve<WriteRequest>(to, ({ write }) => writer.write(write)),
  );
}

serve<WriterRequest>(port, async (request) => {
  switch (request.ask) {
    case 'write':
      return await writer.write(request.write);
    case 'attach':
      return attach(request.lane, request.port);
    case 'close':
      writer.flush();
      return database.close();
  }
});
