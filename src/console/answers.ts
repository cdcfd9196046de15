/** What was asked of the service and is shown: each answer is kept with the version of the host that it is of. */
import { type Client, ofHost } from './client.ts';
import { redraw } from './redraw.ts';

export interface Answer<Value> {
  /** The newest one; null: there is none yet. */
  value: Value | null;
  /** Why there is no newer one. */
  error: Error | null;
  isAsking: boolean;
}

interface Kept extends Answer<unknown> {
  version: string;
  seen: boolean;
}

/** A host as it is, or was: views ask of it what they show. */
export class Answers {
  readonly #client: Client;
  readonly #kept = new Map<string, Kept>();
  readonly host: string;
  /** Where the host is: another one, and what is shown is asked anew. */
  version: string;

  constructor(client: Client, host: string, version: string) {
    this.#client = client;
    this.host = host;
    this.version = version;
  }

  /** What GET answers below the path of the host. */
  get<Value>(below: string): Answer<Value> {
    return this.#ask(below, () => this.#client.ask({ method: 'GET', path: ofHost(this.host, below) })) as Answer<Value>;
  }

  /** The same of a list that comes in pages: all of it. */
  all<Item>(below: string): Answer<Item[]> {
    return this.#ask(below, () => this.#client.all(ofHost(this.host, below))) as Answer<Item[]>;
  }

  /** Of a list that has no pages. */
  whole<Item>(below: string): Answer<Item[]> {
    return this.#ask(below, () => this.#client.whole(ofHost(this.host, below))) as Answer<Item[]>;
  }

  /** Forgets what nobody has asked for since the last time. */
  sweep(): void {
    for (const [below, kept] of this.#kept) {
      if (!kept.seen && !kept.isAsking) this.#kept.delete(below);
      kept.seen = false;
    }
  }

  #ask(below: string, ask: () => Promise<unknown>): Answer<unknown> {
    const { version } = this;
    const kept = this.#kept.get(below) ?? { value: null, error: null, isAsking: false, version: '', seen: true };
    this.#kept.set(below, kept);
    kept.seen = true;
    if (kept.isAsking || kept.version === version) return kept;
    kept.isAsking = true;
    kept.version = version;
    const end = (value: unknown, error: Error | null): void => {
      Object.assign(kept, { value, error, isAsking: false });
      redraw();
    };
    ask().then(
      (value) => end(value, null),
      (error: Error) => end(null, error),
    );
    return kept;
  }
}
