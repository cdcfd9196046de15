/**
 * What threads keep in memory of rows that other threads may change: each such change is counted in memory that all of them share,
 * and what was kept before it is read anew. So whoever is answered after a change never sees what was before, whichever thread answers.
 */
import { hashOf } from '../../threads/hash.ts';

/** Rows share counters, so that now and then one is read anew that has not changed. */
const COUNTERS = 1024;

export class Changes {
  readonly #counters: Int32Array;

  constructor(memory = new SharedArrayBuffer(COUNTERS * Int32Array.BYTES_PER_ELEMENT)) {
    this.#counters = new Int32Array(memory);
  }

  /** For the same in another thread. */
  get memory(): SharedArrayBuffer {
    return this.#counters.buffer as SharedArrayBuffer;
  }

  /** A row of that key has changed. */
  note(key: string): void {
    Atomics.add(this.#counters, counterOf(key), 1);
  }

  /** Keeps rows by their keys, `most` at a time. */
  cache<Row>(most: number): Cache<Row> {
    return new Cache(this.#counters, most);
  }
}

interface Kept<Row> {
  row: Row;
  counter: number;
  count: number;
}

class Cache<Row> {
  readonly #counters: Int32Array;
  readonly #most: number;
  readonly #kept = new Map<string, Kept<Row>>();

  constructor(counters: Int32Array, most: number) {
    this.#counters = counters;
    this.#most = most;
  }

  /**
   * From memory, or read; undefined, where there is none, is not kept. `changesAs`: the key under which its changes are noted.
   */
  get(key: string, read: () => Row | undefined, changesAs = key): Row | undefined {
    const kept = this.#kept.get(key);
    if (kept !== undefined && Atomics.load(this.#counters, kept.counter) === kept.count) return kept.row;
    const counter = counterOf(changesAs);
    // Before it is read: what changes meanwhile is read anew.
    const count = Atomics.load(this.#counters, counter);
    const row = read();
    if (row === undefined) {
      this.#kept.delete(key);
      return undefined;
    }
    if (this.#kept.size >= this.#most) this.#kept.clear();
    this.#kept.set(key, { row, counter, count });
    return row;
  }
}

const counterOf = (key: string): number => hashOf(key) % COUNTERS;
