/** What of one host is in memory, and how far what it has done has come on its way to the store. */
import { type HostStore, type JournalEntry, KeyTaken, type RequestKey, StoreUnavailable } from '../store/store.ts';
import { settled } from './jobs.ts';
import { type LoadedHost, type Rebuilding, rebuild, rebuildWithout } from './replay.ts';

export type OwnedHost = LoadedHost & { epoch: number };

const isOwned = (host: LoadedHost): host is OwnedHost => host.epoch !== null;

const STORED = Promise.resolve();

export class InMemory {
  readonly #hostId: string;
  readonly #store: HostStore;
  readonly #rebuilding: () => Rebuilding;
  /** A host was built from the store. */
  readonly #onLoad: (host: LoadedHost) => Promise<void>;
  #loaded: LoadedHost | undefined;
  #stored = STORED;
  /** Keys of requests whose commands are on their way to the journal. */
  readonly #keys = new Set<string>();

  /** `rebuilding`: asked for what a rebuild needs, by each of them. */
  constructor(
    hostId: string,
    store: HostStore,
    rebuilding: () => Rebuilding,
    onLoad: (host: LoadedHost) => Promise<void>,
  ) {
    this.#hostId = hostId;
    this.#store = store;
    this.#rebuilding = rebuilding;
    this.#onLoad = onLoad;
  }

  /** Undefined before first use and after a failure: then it is built from the store. */
  get loaded(): LoadedHost | undefined {
    return this.#loaded;
  }

  /** The same, if it is ours. */
  get owned(): OwnedHost | undefined {
    const host = this.#loaded;
    return host !== undefined && isOwned(host) ? host : undefined;
  }

  /** The newest commit: what is in memory is stored when it has resolved. */
  get stored(): Promise<void> {
    return this.#stored;
  }

  /** Nothing is in memory, and nothing on its way to the store. */
  get isEmpty(): boolean {
    return this.#loaded === undefined && this.#stored === STORED;
  }

  take(host: LoadedHost): void {
    this.#loaded = host;
  }

  /** What is in memory is not what is stored, or not wanted. */
  drop(): void {
    this.#loaded = undefined;
  }

  commit(host: LoadedHost, entry: JournalEntry): Promise<void> {
    const stored = this.#store.journal.append(entry);
    this.#stored = stored;
    stored.catch(() => {
      if (this.#loaded === host) this.#loaded = undefined;
    });
    if (entry.request !== undefined) this.#note(entry.request, stored);
    return stored;
  }

  #note({ key }: RequestKey, stored: Promise<void>): void {
    this.#keys.add(key);
    void settled(stored).then(() => this.#keys.delete(key));
  }

  /** Throws KeyTaken where a request of that key has been carried out. */
  async mustBeNew(request: RequestKey): Promise<void> {
    if (this.#keys.has(request.key)) await settled(this.#stored);
    if ((await this.#store.hosts.requested(request)) !== undefined) throw new KeyTaken();
  }

  /** What is on its way to the journal either arrives there or does not, but it is part of what is read. */
  async arrived(): Promise<void> {
    await this.#stored.catch(() => {});
    this.#stored = STORED;
  }

  /** What is in memory, or else the host is made ours, and built from what is stored; undefined: it is not stored. */
  async own(): Promise<OwnedHost | undefined> {
    return this.owned ?? (await this.#own());
  }

  /** The same to look at it, which is possible where nothing can be stored, as on a full disk. */
  async look(): Promise<LoadedHost | undefined> {
    try {
      return await this.own();
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      this.#loaded ??= await rebuild(this.#hostId, null, this.#rebuilding());
      return this.#loaded;
    }
  }

  /** The host without that snapshot; null where it cannot be built. */
  without(epoch: number | null, snapshot: number): Promise<LoadedHost | null> {
    return rebuildWithout(this.#hostId, epoch, this.#rebuilding(), snapshot);
  }

  async #own(): Promise<OwnedHost | undefined> {
    await this.arrived();
    const epoch = await this.#store.hosts.own(this.#hostId);
    this.#loaded = undefined;
    if (epoch !== undefined) this.#loaded = await rebuild(this.#hostId, epoch, this.#rebuilding());
    if (this.#loaded !== undefined) await this.#onLoad(this.#loaded);
    return this.owned;
  }
}
