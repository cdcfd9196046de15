/**
 * What fails inside right behind a snapshot may fail because of the snapshot: the host is built once without it, and asked
 * again. If that goes well the host is the other one from then on, and another snapshot is due; if not, the snapshot is
 * acquitted, so that a fault of a command does not have the host built anew each time.
 */
import type { Log } from '../log.ts';
import { HostFault } from './errors.ts';
import type { LoadedHost } from './replay.ts';

interface Options {
  /** The host without the snapshot of that command; null where it cannot be built. */
  rebuild: (epoch: number | null, snapshot: number) => Promise<LoadedHost | null>;
  /** It takes the place of the one that failed. */
  take: (host: LoadedHost) => void;
  log: Log;
}

export class SecondTry {
  readonly #hostId: string;
  readonly #options: Options;
  #acquitted: number | null = null;

  constructor(hostId: string, options: Options) {
    this.#hostId = hostId;
    this.#options = options;
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
      const other = await this.#options.rebuild(epoch, snapshot);
      this.#acquitted = snapshot;
      if (other === null) throw error;
      this.#options.take(other);
      // It belongs to whom the host belonged.
      const value = await work(other as Host);
      this.#acquitted = null;
      this.#options.log.warn({ host: this.#hostId, sequence: snapshot }, 'a host failed with a snapshot, not without');
      other.behind.commands = Number.POSITIVE_INFINITY;
      return value;
    }
  }
}
