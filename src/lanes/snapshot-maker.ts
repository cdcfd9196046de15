/** Makes snapshots of one host, and knows what has become of them. */
import type { Log } from '../log.ts';
import type { HostStore } from '../store/store.ts';
import { GivenUp } from './errors.ts';
import { type LoadedHost, NOTHING_BEHIND } from './replay.ts';
import { inSlices, type Pace } from './slices.ts';

const STORED = Promise.resolve();

export class SnapshotMaker {
  readonly #hostId: string;
  readonly #options: { store: HostStore; log: Log };
  #stored = STORED;
  /** Bytes of the newest one, and the milliseconds until it was stored; infinitely many while one is at work. */
  newest = { size: 0, took: 0 };

  constructor(hostId: string, options: { store: HostStore; log: Log }) {
    this.#hostId = hostId;
    this.#options = options;
  }

  /** Resolves when none is on its way to the store. */
  get stored(): Promise<void> {
    return this.#stored;
  }

  /** Whether one may be on its way; not, once `forget` has been told that none is. */
  get isAtWork(): boolean {
    return this.#stored !== STORED;
  }

  forget(): void {
    this.#stored = STORED;
  }

  /**
   * Takes one while the host waits; compressing and storing it does not keep the host. `committed`: what it holds is stored.
   * There is none, and the next one is due as this one was, where the pace gives up.
   */
  async make(host: LoadedHost & { epoch: number }, committed: Promise<void>, pace: Pace): Promise<void> {
    const { store, log } = this.#options;
    const { epoch, sequence, behind } = host;
    const begun = performance.now();
    host.behind = { ...NOTHING_BEHIND };
    try {
      const { engine, bytes } = await inSlices(host.engine.snapshot!(), pace);
      const size = bytes.byteLength;
      // What is worked meanwhile is behind the next one, which is not due before.
      this.newest = { size, took: Number.POSITIVE_INFINITY };
      this.#stored = Promise.all([this.#stored, committed])
        .then(() => store.snapshots.put({ hostId: this.#hostId, epoch, sequence, engine, bytes }))
        .catch((error) => log.warn({ host: this.#hostId, err: error }, 'a snapshot could not be stored'))
        .finally(() => {
          this.newest = { size, took: performance.now() - begun };
        });
    } catch (error) {
      if (error instanceof GivenUp) host.behind = behind;
      else log.error({ host: this.#hostId, err: error }, 'a snapshot could not be made');
    }
  }
}
