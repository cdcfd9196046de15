/** The thread of a lane: runs the hosts that it owns, with a view of the store that is its own. */
import { parentPort, workerData } from 'node:worker_threads';
import type { Log } from '../log.ts';
import { openShared } from '../store/sqlite/sharing.ts';
import type { Presence } from '../threads/client.ts';
import { serve } from '../threads/ports.ts';
import { carryShield } from '../threads/shield.ts';
import { makeHost, restoreHost } from './engine.ts';
import { HostMoves } from './errors.ts';
import { Lane } from './lane.ts';
import { packedIn } from './large.ts';
import { givenWith, isMoved, type LaneRequest, type LaneSettings, type LaneWord, type LogLine } from './messages.ts';
import { killProcess } from './service-death.ts';

const settings = workerData as LaneSettings;
carryShield(settings.shield);

/** Errors do not get to another thread as they are. */
function plain(details: object): object {
  const { err, ...rest } = details as { err?: unknown };
  if (!(err instanceof Error)) return details;
  return { ...rest, err: { type: err.name, message: err.message, stack: err.stack } };
}

const say = (word: LaneWord): void => parentPort?.postMessage(word);

function logAt(level: LogLine['level']): Log['info'] {
  return (details, message) => say({ level, details: plain(details), message });
}

const store = openShared(settings.store);
const lane = new Lane({
  store,
  log: { info: logAt('info'), warn: logAt('warn'), error: logAt('error') },
  allowServiceDeath: settings.allowServiceDeath,
  memory: settings.memory,
  lane: settings.lane,
  ...(settings.mostObjects === undefined ? {} : { mostObjects: settings.mostObjects }),
  check: settings.check,
  commandTime: settings.commandTime,
  makeHost,
  restoreHost,
  die: killProcess,
  atWork: settings.atWork,
  onDamage: (damage) => say({ damage }),
  onUse: (hostId, use) => say({ hostId, use }),
  onMove: (hostId) => say({ moved: hostId }),
});

async function handle(request: LaneRequest, client: Presence): Promise<unknown> {
  try {
    return await answer(request, client);
  } catch (error) {
    if (!(error instanceof HostMoves)) throw error;
    return { moved: request };
  }
}

async function answer(request: LaneRequest, client: Presence): Promise<unknown> {
  switch (request.ask) {
    case 'create':
      return await lane.create(request.row);
    case 'execute':
      return await lane.execute(request.hostId, request.command, client);
    case 'batch':
      return await lane.batch(request.hostId, request.command, request.payload, client);
    case 'query':
      return await lane.query(request.hostId, request.query, client);
    case 'remove':
      return await lane.remove(request.hostId);
    case 'boot':
      return await lane.boot(request.hostId);
    case 'stop':
      return await lane.stop();
    case 'rest':
      return await lane.close();
    case 'close':
      return await store.close();
  }
}

serve(settings.port, handle, (value) => (isMoved(value) ? givenWith(value.moved) : packedIn(value)));
say('ready');
