/** Deletes hosts, and throw-away tenants with all that they have, that have come to their end (`expiresAt`). One thread does so, for all. */
import { setTimeout } from 'node:timers/promises';
import type { Lanes } from './lanes/lanes.ts';
import { removeTenant } from './lanes/removal.ts';
import { DELETED_AT_A_TIME } from './limits.ts';
import type { Log } from './log.ts';
import type { Store } from './store/store.ts';

/** How often it looks, in milliseconds: a host may be there so much longer. */
const LOOK_MS = 1000;
/** Hosts, and tenants, that it looks at in one go; the others are next. */
const MOST = 256;

export interface ExpiryOptions {
  store: Pick<Store, 'tenants' | 'hosts' | 'damage'>;
  lanes: Pick<Lanes, 'remove'>;
  log: Log;
  /** For tests: the time, in milliseconds. */
  now?: () => number;
}

export class Expiry {
  readonly #options: ExpiryOptions;
  readonly #stop = new AbortController();
  #work: Promise<void> = Promise.resolve();
  /** What could not be deleted the last time, of which the log has been told. */
  #failed = new Set<string>();

  constructor(options: ExpiryOptions) {
    this.#options = options;
  }

  /** From now on, until `stop`. */
  start(): void {
    this.#work = this.#lookAgainAndAgain();
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#work;
  }

  async #lookAgainAndAgain(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.look();
      await setTimeout(LOOK_MS, undefined, { ref: false, signal: this.#stop.signal }).catch(() => {});
    }
  }

  /** Deletes those whose time has come. It never rejects. */
  async look(): Promise<void> {
    const { store, log, now = Date.now } = this.#options;
    try {
      const by = new Date(now()).toISOString();
      const found = await store.hosts.expired(by, MOST);
      // When one ends whose row is damaged is not known.
      const ended = found.filter(({ damaged }) => damaged === undefined).map(({ id }) => id);
      const failed = new Set<string>();
      while (ended.length > 0 && !this.#stop.signal.aborted)
        await Promise.all(
          ended.splice(0, DELETED_AT_A_TIME).map((id) => this.#attempt(id, failed, () => this.#remove(id))),
        );
      for (const { id } of await store.tenants.expired(by, MOST)) {
        if (this.#stop.signal.aborted) break;
        await this.#attempt(id, failed, () => removeTenant(store, id, (host) => this.#remove(host)));
      }
      this.#failed = failed;
    } catch (error) {
      log.error({ err: error }, 'what has come to its end cannot be found out');
    }
  }

  async #remove(hostId: string): Promise<void> {
    const { store, lanes } = this.#options;
    await lanes.remove(hostId);
    store.damage.forget(hostId);
  }

  async #attempt(id: string, failed: Set<string>, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      failed.add(id);
      if (this.#failed.has(id) || this.#stop.signal.aborted) return;
      this.#options.log.error({ id, err: error }, 'what has come to its end cannot be deleted yet');
    }
  }
}
