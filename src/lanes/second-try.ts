/**
 * What fails inside right behind a snapshot may fail because of the snapshot: the host is built once without it, and asked
 * again. If that goes well the host is the other one from then on, and another snapshot is due; if not, the snapshot is
 * acquitted, so that a fault of a command does not have the host built anew each time.
 */
import type { Log } from '../log.ts';
import { HostFault } from './errors.ts';
import type { InMemory } from './in-memory.ts';
import type { LoadedHost } from './replay.ts';

export class SecondTry {
  readonly #hostId: string;
  readonly #memory: InMemory;
  readonly #log: Log;
  #acquitted: number | null = null;

  constructor(hostId: string, memory: InMemory, log: Log) {
    this.#hostId = hostId;
    this.#memory = memory;
    this.#log = log;
  }

  /** Whether there is something to be remembered. */
  get isOpen(): boolean {
    return this.#acquitted !== null;
  }

  /** `work` throws a HostFault where the host fails inside. */
  async run<Host extends LoadedHost, T>(host: Host, work: (host: Host) => T | Promise<T>): Promise<T> {
    const { snapshot, epoch } = host;
    try {
      return await work(host);
    } catch (error) {
      if (!(error instanceof HostFault) || snapshot === null || snapshot === this.#acquitted) throw error;
      const other = await this.#memory.without(epoch, snapshot);
      this.#acquitted = snapshot;
      if (other === null) throw error;
      this.#memory.take(other);
      // It belongs to whom the host belonged.
      const value = await work(other as Host);
      this.#acquitted = null;
      this.#log.warn({ host: this.#hostId, sequence: snapshot }, 'a host failed with a snapshot, not without');
      other.behind.commands = Number.POSITIVE_INFINITY;
      return value;
    }
  }
}
