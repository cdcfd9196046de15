/**
 * Whose request is begun next, and of whose connection more is read. What arrives together is worked off a little in each turn of
 * the event loop, that of each tenant in the order in which it came, and tenants one after the other: who asks once does not wait
 * for another's thousand.
 */

import type { IncomingHttpHeaders } from 'node:http';
import { hashKey } from '../store/keys.ts';

/** When so much time of a turn has been spent, in milliseconds, no more is begun in it: answers are given, and others are heard. */
const TURN_MS = 2;
/** Keys that are remembered: a tenant whose key is not has its turns together with all who have none that is right. */
const MOST_KEYS = 10_000;
const NOBODY = '';

const SCHEME = /^bearer +(\S+)$/i;

/** The key that a request comes with, right or wrong. */
export const keyIn = ({ authorization }: IncomingHttpHeaders): string | undefined =>
  SCHEME.exec(authorization ?? '')?.[1];

type Begin = () => void;

/** The keys of tenants, as far as they have been used. */
export class KnownKeys {
  /** With the hash of each, which takes longer to make than to find. */
  readonly #known = new Map<string, string>();

  know(key: string): void {
    if (this.#known.has(key)) return;
    if (this.#known.size >= MOST_KEYS) this.#known.clear();
    this.#known.set(key, hashKey(key));
  }

  hashOf(key: string): string {
    return this.#known.get(key) ?? hashKey(key);
  }

  has(key: string): boolean {
    return this.#known.has(key);
  }
}

export class FairTurns {
  readonly #keys: KnownKeys;
  readonly #atATime: number;
  /** Of each key that has some, in the order of their turns. */
  readonly #waiting = new Map<string, Begin[]>();
  #begun = 0;
  #spent = 0;
  #isAwaited = false;
  #turn = 0;

  /** `atATime`: so many are begun in a turn at most. */
  constructor(keys: KnownKeys, atATime: number) {
    this.#keys = keys;
    this.#atATime = atATime;
  }

  /** Begins a request, whose key is perhaps none: at once, or when its turn comes. */
  enter(key: string | undefined, begin: Begin): void {
    if (this.takes()) begin();
    else this.queue(key, begin);
  }

  /** The number of this turn, which lasts until the event loop has heard others. */
  get turn(): number {
    this.#await();
    return this.#turn;
  }

  /**
   * Whether one may be begun at once, which counts as begun then: the turn is not over, and nobody waits who comes before it.
   * `hasWaited`: nobody does.
   */
  takes(hasWaited = false): boolean {
    this.#await();
    if ((this.#waiting.size > 0 && !hasWaited) || this.#isOver()) return false;
    this.#begun += 1;
    return true;
  }

  /** Begins it when its turn comes. */
  queue(key: string | undefined, begin: Begin): void {
    this.#await();
    const who = key !== undefined && this.#keys.has(key) ? key : NOBODY;
    const queue = this.#waiting.get(who);
    if (queue === undefined) this.#waiting.set(who, [begin]);
    else queue.push(begin);
  }

  /** What was begun has taken so many milliseconds. What is more than there is in this turn, the next ones have less. */
  spend(milliseconds: number): void {
    this.#spent += milliseconds;
  }

  #await(): void {
    if (this.#isAwaited) return;
    this.#isAwaited = true;
    setImmediate(this.#next);
  }

  #isOver(): boolean {
    return this.#begun >= this.#atATime || this.#spent > TURN_MS;
  }

  readonly #next = (): void => {
    this.#isAwaited = false;
    this.#turn += 1;
    this.#begun = 0;
    this.#spent = Math.max(0, this.#spent - TURN_MS);
    if (this.#waiting.size > 0) this.#await();
    for (; !this.#isOver(); this.#begun++) {
      const [next] = this.#waiting;
      if (next === undefined) return;
      const [who, queue] = next;
      this.#waiting.delete(who);
      const begin = queue.shift()!;
      if (queue.length > 0) this.#waiting.set(who, queue);
      begin();
    }
  };
}
