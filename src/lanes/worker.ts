/** The thread of a lane: runs the hosts that it owns, reads what is stored by itself, and has one writer write. */

import { parentPort, workerData } from 'node:worker_threads';
import type { Log } from '../log.ts';
import { connectForWriting } from '../store/sqlite/database.ts';
import { GroupWriter } from '../store/sqlite/writer.ts';
import type { Write, Writer } from '../store/sqlite/writes.ts';
import { openHostStore } from '../store/store.ts';
import { makeHost, restoreHost } from './engine.ts';
import { Lane } from './lane.ts';
import { Caller, type LaneRequest, type LaneSettings, type LogLine, serve, type WriteRequest } from './messages.ts';
import { laneOf } from './owner.ts';
import { killProcess } from './service-death.ts';

const settings = workerData as LaneSettings;

/** Errors do not get to another thread as they are. */
function plain(details: object): object {
  const { err, ...rest } = details as { err?: unknown };
  if (!(err instanceof Error)) return details;
  return { ...rest, err: { type: err.name, message: err.message, stack: err.stack } };
}

function logAt(level: LogLine['level']): Log['info'] {
  return (details, message) => parentPort?.postMessage({ level, details: plain(details), message } satisfies LogLine);
}

function writerOf({ writer, directory, durability }: LaneSettings): Writer & { close(): void } {
  if (writer === null) {
    const database = connectForWriting(directory, durability);
    const own = new GroupWriter(database);
    return {
      write: (write) => own.write(write),
      close() {
        own.flush();
        database.close();
      },
    };
  }
  const caller = new Caller<WriteRequest>(writer, 'any');
  return { write: (write: Write) => caller.ask<number>({ ask: 'write', write }), close: () => writer.close() };
}

const writer = writerOf(settings);
const store = openHostStore(settings.directory, writer);
const lane = new Lane({
  store,
  log: { info: logAt('info'), warn: logAt('warn'), error: logAt('error') },
  allowServiceDeath: settings.allowServiceDeath,
  makeHost,
  restoreHost,
  die: killProcess,
  owns: (hostId) => laneOf(hostId, settings.lanes) === settings.lane,
});

async function handle(request: LaneRequest): Promise<unknown> {
  switch (request.ask) {
    case 'create':
      return await lane.create(request.row);
    case 'execute':
      return await lane.execute(request.hostId, request.command);
    case 'batch':
      return await lane.batch(request.hostId, request.command, request.payload);
    case 'query':
      return await lane.query(request.hostId, request.query);
    case 'remove':
      return await lane.remove(request.hostId);
    case 'recover':
      return await lane.recover();
    case 'write':
      return await writer.write(request.write);
    case 'close':
      await lane.close();
      store.close();
      return writer.close();
  }
}

serve(settings.port, handle);
parentPort?.postMessage('ready');
