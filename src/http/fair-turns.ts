/**
 * Whose request is begun next. Many that arrive together are begun a few in each turn of the event loop, those of each tenant
 * in the order in which they came, and tenants one after the other: who asks once does not wait for another's thousand.
 */

import type { IncomingHttpHeaders } from 'node:http';

/** So many requests are begun before answers are given and others are heard: about two milliseconds' work. */
const AT_A_TIME = 8;
/** Keys that are remembered: a tenant whose key is not has its turns together with all who have none that is right. */
const MOST_KEYS = 10_000;
const NOBODY = '';

const SCHEME = /^bearer +(\S+)$/i;

/** The key that a request comes with, right or wrong. */
export const keyIn = ({ authorization }: IncomingHttpHeaders): string | undefined =>
  SCHEME.exec(authorization ?? '')?.[1];

type Begin = () => void;

export class FairTurns {
  readonly #known = new Set<string>();
  /** Of each key that has some, in the order of their turns. */
  readonly #waiting = new Map<string, Begin[]>();
  #begun = 0;
  #isAwaited = false;

  /** This is the key of a tenant. */
  know(key: string): void {
    if (this.#known.has(key)) return;
    if (this.#known.size >= MOST_KEYS) this.#known.clear();
    this.#known.add(key);
  }

  /** Begins a request, whose key is perhaps none: at once, or when its turn comes. */
  enter(key: string | undefined, begin: Begin): void {
    if (!this.#isAwaited) {
      this.#isAwaited = true;
      setImmediate(this.#next);
    }
    if (this.#begun < AT_A_TIME && this.#waiting.size === 0) {
      this.#begun += 1;
      begin();
      return;
    }
    const who = key !== undefined && this.#known.has(key) ? key : NOBODY;
    const queue = this.#waiting.get(who);
    if (queue === undefined) this.#waiting.set(who, [begin]);
    else queue.push(begin);
  }

  readonly #next = (): void => {
    this.#isAwaited = this.#waiting.size > 0;
    if (this.#isAwaited) setImmediate(this.#next);
    for (this.#begun = 0; this.#begun < AT_A_TIME; this.#begun++) {
      const [next] = this.#waiting;
      if (next === undefined) break;
      const [who, queue] = next;
      this.#waiting.delete(who);
      const begin = queue.shift()!;
      if (queue.length > 0) this.#waiting.set(who, queue);
      begin();
    }
    if (!this.#isAwaited) this.#begun = 0;
  };
}
