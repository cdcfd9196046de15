/** What the thread of a lane does, whatever else it does: runs its hosts, with a view of the store that is its own, for whoever asks. */
import { type MessagePort, parentPort } from 'node:worker_threads';
import { openShared } from '../store/sqlite/sharing.ts';
import type { ThreadStore } from '../store/store.ts';
import type { Presence } from '../threads/client.ts';
import { serve } from '../threads/ports.ts';
import { carryShield } from '../threads/shield.ts';
import { makeHost, restoreHost } from './engine.ts';
import { HostMoves } from './errors.ts';
import { Lane, type LaneOptions } from './lane.ts';
import { packedIn } from './large.ts';
import { givenWith, isMoved, type LaneRequest, type LaneSettings, type LaneTold, type LaneWord } from './messages.ts';
import { killProcess } from './service-death.ts';

/** What a lane in a thread makes of what it comes to know. */
export type LaneEars = Pick<LaneOptions, 'log' | 'onDamage' | 'onUse' | 'onMove'>;

export interface LaneThread {
  store: ThreadStore;
  /** As whoever asks in this thread has it. */
  answer(request: LaneRequest, client: Presence): Promise<unknown>;
  /** Whoever has the other end of a port can ask from now on. `more`: answers what is asked of this thread alone. */
  serve(port: MessagePort, more?: (request: LaneRequest) => Promise<unknown>): void;
}

/** Tells the thread that has started this one. */
export function say(word: LaneWord, transfer: MessagePort[] = []): void {
  parentPort?.postMessage(word, transfer);
}

type Told = Exclude<LaneTold, { door: MessagePort }>;

/** What it is told before it is a lane. */
const early: LaneTold[] = [];
let hear = (told: LaneTold): void => void early.push(told);

/** What it is to be: the first that the thread is told. */
export function toldSettings<Settings extends LaneSettings>(): Promise<Settings> {
  return new Promise((resolve) => {
    parentPort?.once('message', (settings: Settings) => {
      parentPort?.on('message', (told: LaneTold) => hear(told));
      resolve(settings);
    });
  });
}

/** Called once. `onTold`: hears what the thread is told that is not for every lane. */
export function startLane(settings: LaneSettings, ears: LaneEars, onTold: (told: Told) => void = () => {}): LaneThread {
  carryShield(settings.shield);
  const { lane: number, allowServiceDeath, memory, mostObjects, check, commandTime, atWork } = settings;
  const store = openShared(settings.store);
  const lane = new Lane({
    store,
    allowServiceDeath,
    memory,
    lane: number,
    ...(mostObjects === undefined ? {} : { mostObjects }),
    check,
    commandTime,
    makeHost,
    restoreHost,
    die: killProcess,
    atWork,
    ...ears,
  });
  const thread: LaneThread = {
    store,
    async answer(request, client) {
      try {
        return await answer(lane, store, request, client);
      } catch (error) {
        if (!(error instanceof HostMoves)) throw error;
        return { moved: request };
      }
    },
    serve(port, more) {
      const handle = (request: LaneRequest, client: Presence): Promise<unknown> =>
        more !== undefined && isOfServer(request) ? more(request) : thread.answer(request, client);
      serve(port, handle, (value) => (isMoved(value) ? givenWith(value.moved) : packedIn(value)));
    },
  };
  hear = (told) => {
    if ('door' in told) thread.serve(told.door);
    else onTold(told);
  };
  early.splice(0).forEach(hear);
  return thread;
}

const isOfServer = ({ ask }: LaneRequest): boolean => ask === 'listen' || ask === 'hangUp';

async function answer(lane: Lane, store: ThreadStore, request: LaneRequest, client: Presence): Promise<unknown> {
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
      await lane.remove(request.hostId);
      // Behind all that has been told of it.
      return say({ removed: request.hostId });
    case 'boot':
      return await lane.boot(request.hostId);
    case 'stop':
      return await lane.stop();
    case 'rest':
      return await lane.close();
    case 'close':
      return await store.close();
    case 'listen':
    case 'hangUp':
      throw new Error('bug: this lane serves nobody but other threads');
  }
}
