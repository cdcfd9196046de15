/** Makes snapshots of one host, and knows what has become of them. */
import type { Log } from '../log.ts';
import type { HostStore } from '../store/store.ts';
import type { LoadedHost } from './replay.ts';
import { inSlices, type Pace } from './slices.ts';

const STORED = Promise.resolve();

export class SnapshotMaker {
  readonly #hostId: string;
  readonly #options: { store: HostStore; log: Log };
  readonly #pace: Pace;
  #stored = STORED;
  #size = 0;

  constructor(hostId: string, options: { store: HostStore; log: Log }, pace: Pace) {
    this.#hostId = hostId;
    this.#options = options;
    this.#pace = pace;
  }

  /** Resolves when none is on its way to the store. */
  get stored(): Promise<void> {
    return this.#stored;
  }

  /** Bytes of the newest one. */
  get size(): number {
    return this.#size;
  }

  /** Whether one may be on its way; not, once `forget` has been told that none is. */
  get isAtWork(): boolean {
    return this.#stored !== STORED;
  }

  forget(): void {
    this.#stored = STORED;
  }

  /** Takes one while the host waits; compressing and storing it does not keep the host. `committed`: what it holds is stored. */
  async make(host: LoadedHost & { epoch: number }, committed: Promise<void>): Promise<void> {
    const { store, log } = this.#options;
    const { epoch, sequence } = host;
    host.behind = { commands: 0, bytes: 0 };
    try {
      const { engine, bytes } = await inSlices(host.engine.snapshot!(), this.#pace);
      this.#size = bytes.byteLength;
      this.#stored = Promise.all([this.#stored, committed])
        .then(() => store.snapshots.put({ hostId: this.#hostId, epoch, sequence, engine, bytes }))
        .catch((error) => log.warn({ host: this.#hostId, err: error }, 'a snapshot could not be stored'));
    } catch (error) {
      log.error({ host: this.#hostId, err: error }, 'a snapshot could not be made');
    }
  }
}
