/**
 * Who waits for what happens to a host. Every command to a host comes through here, so whoever waits is woken when one
 * has been answered, and looks into the store then: nobody asks it over and over.
 */
import { ThreadDied } from '../lanes/errors.ts';
import type { Lanes } from '../lanes/lanes.ts';
import { Turns } from '../lanes/turns.ts';
import type { Common } from './common.ts';
import { RETRY_AFTER } from './errors.ts';
import type { Peers } from './peers.ts';
import { Problem } from './problems.ts';

/** How often a stream that has nothing to tell says that it is there, in seconds. */
export const HEARTBEAT_SECONDS = 15;
/** How long a stream may stand still since nobody reads it, in seconds. Each heartbeat moves it otherwise. */
export const UNREAD_SECONDS = 60;
/** Whoever watches a busy host is woken so often at most, in milliseconds. */
const PAUSE_MS = 20;

/** Why there is nothing to wait for any more: the host was deleted, the service stops, or the client has gone. */
type End = 'deleted' | 'stopping' | 'left';

export class Watcher {
  readonly #onLeave: () => void;
  #woken = false;
  #wake = (): void => {};
  ended: End | null = null;

  constructor(onLeave: () => void) {
    this.#onLeave = onLeave;
  }

  /** Resolves when something has happened since the last time, when it `ended`, or after so many milliseconds. */
  async next(most?: number): Promise<void> {
    if (!this.#woken && this.ended === null) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const timer = most === undefined ? undefined : setTimeout(resolve, most);
      await promise;
      clearTimeout(timer);
    }
    this.#woken = false;
  }

  wake(): void {
    this.#woken = true;
    this.#wake();
  }

  end(why: End): void {
    this.ended ??= why;
    this.wake();
  }

  /** Nobody waits any more; more than once does no harm. */
  leave(): void {
    this.end('left');
    this.#onLeave();
  }
}

interface Watched {
  watchers: Set<Watcher>;
  /** When they were woken last. */
  woken: number;
  waking: boolean;
}

export class Watchers {
  /** All that are woken together read what has happened one after another, and others are answered in between. */
  readonly turns = new Turns();
  readonly #hosts = new Map<string, Watched>();
  readonly #common: Common;
  #stopping = false;

  constructor(common: Common) {
    this.#common = common;
  }

  /** How many requests of the tenant wait. */
  count(tenantId: string): number {
    return this.#common.of('streams', tenantId);
  }

  /** Throws where `most` of the tenant's requests wait already. It must `leave`. */
  watch(tenantId: string, hostId: string, most: number): Watcher {
    const count = this.#common.add('streams', tenantId, 1) - 1;
    if (count >= most) {
      this.#common.add('streams', tenantId, -1);
      const detail = `${count} of your requests wait for events already: let one of them end, or ask without \`wait\`.`;
      throw new Problem('too-many-waiting', detail, {
        quota: { quota: 'streams', limit: most, used: count },
        headers: { 'retry-after': RETRY_AFTER },
      });
    }
    this.#common.watch(hostId, 1);
    const host = this.#hosts.get(hostId) ?? { watchers: new Set(), woken: 0, waking: false };
    this.#hosts.set(hostId, host);
    const watcher = new Watcher(() => {
      if (!host.watchers.delete(watcher)) return;
      if (host.watchers.size === 0) this.#hosts.delete(hostId);
      this.#common.add('streams', tenantId, -1);
      this.#common.watch(hostId, -1);
    });
    host.watchers.add(watcher);
    if (this.#stopping) watcher.end('stopping');
    return watcher;
  }

  /** Something may have happened to the host. */
  wake(hostId: string): void {
    const host = this.#hosts.get(hostId);
    if (host === undefined || host.waking) return;
    host.waking = true;
    const wake = (): void => {
      host.waking = false;
      host.woken = performance.now();
      for (const watcher of host.watchers) watcher.wake();
    };
    const left = host.woken + PAUSE_MS - performance.now();
    if (left <= 0) setImmediate(wake);
    else setTimeout(wake, left).unref();
  }

  /** The host is gone. */
  end(hostId: string): void {
    for (const watcher of this.#hosts.get(hostId)?.watchers ?? []) watcher.end('deleted');
  }

  /** A thread has ended, with what it would have told. */
  wakeAllBehind(lanes: Lanes): void {
    for (const hostId of this.#hosts.keys()) wakeBehind(lanes, hostId, () => this.wake(hostId));
  }

  stop(): void {
    this.#stopping = true;
    for (const { watchers } of this.#hosts.values()) for (const watcher of watchers) watcher.end('stopping');
  }
}

/** The same lanes; watchers of a host are woken when a command to it was answered, here and in other threads. */
export function watchedLanes(lanes: Lanes, watchers: Watchers, peers: Peers): Lanes {
  /** Beside the answer, which must not be later for that. */
  const tell = <T>(hostId: string, answer: Promise<T>): Promise<T> => {
    const wake = (): void => {
      watchers.wake(hostId);
      if (peers.common.isWatchedElsewhere(hostId)) peers.tell({ changed: hostId });
    };
    answer.then(wake, (error) => {
      wake();
      if (error instanceof ThreadDied) wakeBehind(lanes, hostId, wake);
    });
    return answer;
  };
  return {
    newHostId: () => lanes.newHostId(),
    create: (row) => lanes.create(row),
    execute: (hostId, command, client, terms) => tell(hostId, lanes.execute(hostId, command, client, terms)),
    batch: (hostId, command, payload, client, terms) =>
      tell(hostId, lanes.batch(hostId, command, payload, client, terms)),
    query: (hostId, query, client, terms) => lanes.query(hostId, query, client, terms),
    copy: (hostId, row, at, client) => lanes.copy(hostId, row, at, client),
    lookBack: (hostId, query, client) => lanes.lookBack(hostId, query, client),
    restore: (hostId, name, client, terms) => tell(hostId, lanes.restore(hostId, name, client, terms)),
    async remove(hostId, terms) {
      await lanes.remove(hostId, terms);
      watchers.end(hostId);
    },
    use: (hostId) => lanes.use(hostId),
    setAside: (hostId) => lanes.setAside(hostId),
    retry: (hostId) => lanes.retry(hostId),
    stop: () => lanes.stop(),
  };
}

/** What was asked may have happened. A query comes behind all that the lane before has left in the store. */
function wakeBehind(lanes: Lanes, hostId: string, wake: () => void): void {
  lanes.query(hostId, { view: 'faults' }).then(wake, wake);
}
