/** What the thread of a lane does, whatever else it does: runs its hosts, with a view of the store that is its own, for whoever asks. */
import { type MessagePort, parentPort } from 'node:worker_threads';
import type { Log } from '../log.ts';
import { openShared } from '../store/sqlite/sharing.ts';
import type { ThreadStore } from '../store/store.ts';
import type { Presence } from '../threads/client.ts';
import { isPacked } from '../threads/packed.ts';
import { serve } from '../threads/ports.ts';
import { carryShield } from '../threads/shield.ts';
import type { Aside } from './aside.ts';
import { makeHost, restoreHost } from './engine.ts';
import { HostMoves } from './errors.ts';
import { Lane, type LaneOptions } from './lane.ts';
import type { HostOfFile, NewHost } from './lanes.ts';
import { packedIn } from './large.ts';
import {
  givenWith,
  isMoved,
  type LaneNews,
  type LaneRequest,
  type LaneSettings,
  type LaneTold,
  type LaneWord,
  packedOf,
} from './messages.ts';
import { killProcess } from './service-death.ts';

/** What a thread does besides. */
export interface LaneBesides {
  log: Log;
  /** Who runs a host is who must know that it is not to be run. */
  aside: Aside;
  onDamage: LaneOptions['onDamage'];
  /** Hears what the lane has come to know of its hosts, which is for others, too. */
  onNews: (news: LaneNews) => void;
  /** Hears what the thread is told. */
  onTold?: (told: Told) => void;
}

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

export type Told = Exclude<LaneTold, { door: MessagePort }>;

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

/** Called once. */
export function startLane(
  settings: LaneSettings,
  { aside, onNews, onTold = () => {}, ...besides }: LaneBesides,
): LaneThread {
  carryShield(settings.shield);
  const { lane: number, allowServiceDeath, memory, mostObjects, check, commandTime, atWork } = settings;
  const isOfLarge = mostObjects === undefined;
  const store = openShared(settings.store);
  const lane = new Lane({
    store,
    allowServiceDeath,
    memory,
    lane: number,
    ...(isOfLarge ? {} : { mostObjects, moved: settings.large }),
    check,
    commandTime,
    makeHost,
    restoreHost,
    die: killProcess,
    atWork,
    ...besides,
    onUse: (hostId, use) => onNews({ hostId, use, inLarge: isOfLarge }),
    onMove: (moved) => onNews({ moved }),
  });
  const note = (news: LaneNews): void => {
    aside.hear(news);
    if ('removed' in news) lane.forget(news.removed);
  };

  async function answer(request: LaneRequest, client: Presence): Promise<unknown> {
    if ('hostId' in request && isRun(request)) aside.check(request.hostId);
    switch (request.ask) {
      case 'create':
        if (!isOfLarge && isOfLargeHost(request.row)) return lane.giveUp(request.row.id);
        return await lane.create(request.row);
      case 'execute':
        return await lane.execute(request.hostId, request.command, client, request.terms);
      case 'batch':
        return await lane.batch(request.hostId, request.command, request.payload, client, request.terms);
      case 'query':
        return await lane.query(request.hostId, request.query, client, request.terms);
      case 'copy':
        return await lane.copy(request.hostId, request.row, request.at, client);
      case 'lookBack':
        return await lane.lookBack(request.hostId, request.query, client);
      case 'restore':
        return await lane.restore(request.hostId, request.name, client, request.terms);
      case 'boot':
        return await lane.boot(request.hostId);
      case 'remove': {
        await lane.remove(request.hostId, request.terms);
        const news = { removed: request.hostId };
        note(news);
        // Behind all that has been told of it.
        return onNews(news);
      }
      case 'retry': {
        const left = aside.retry(request.hostId);
        if (left === 0) onNews({ retried: request.hostId });
        return left;
      }
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

  const thread: LaneThread = {
    store,
    async answer(request, client) {
      try {
        return await answer(request, client);
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
    if ('door' in told) return thread.serve(told.door);
    if (!('died' in told)) note(told);
    onTold(told);
  };
  early.splice(0).forEach(hear);
  return thread;
}

/** A file of more than this takes a while to read, in bytes. */
const LARGE_FILE = 4 << 20;

/** A description that is packed is of thousands of functions. */
function isOfLargeHost(row: NewHost | HostOfFile): boolean {
  const packed = packedOf(row);
  return isPacked(packed) && packed.length > ('spec' in row ? 0 : LARGE_FILE);
}

/** What a host is run for. */
const RUNNING = new Set<LaneRequest['ask']>(['execute', 'batch', 'query', 'copy', 'lookBack', 'restore', 'boot']);

/** One that is removed is run only to see where it is. */
const isRun = (request: LaneRequest): boolean =>
  RUNNING.has(request.ask) || (request.ask === 'remove' && request.terms?.expected !== undefined);

const isOfServer = ({ ask }: LaneRequest): boolean => ask === 'listen' || ask === 'hangUp';
