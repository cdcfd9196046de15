/**
 * Whose turn it is in a lane. Hosts take turns: however many commands one of them has, the others wait for one of
 * these at most. In between the lane hears what has arrived, so that a host without work yet gets into the round.
 */

/** How long turns are given without listening, in milliseconds. What happens in that time is one commit. */
const DEAF_MS = 1;

export class Turns {
  /** The lane is stopping: who comes for a turn has to give up. */
  areOver = false;
  readonly #waiting: (() => void)[] = [];
  /** When the lane last listened; null: nothing has run since. */
  #heard: number | null = null;

  /**
   * Resolves when the caller may keep the thread: for one command, or one slice of a long one. A host asks for its
   * next turn when it has had this one.
   */
  readonly take = (): Promise<void> | undefined => {
    if (this.#heard === null) {
      this.#heard = performance.now();
      setImmediate(this.#listened);
    }
    if (this.#waiting.length === 0 && !this.#isDeaf()) return undefined;
    return new Promise((resolve) => this.#waiting.push(resolve));
  };

  #isDeaf(): boolean {
    return this.#heard !== null && performance.now() - this.#heard >= DEAF_MS;
  }

  readonly #listened = (): void => {
    if (this.#waiting.length === 0) {
      this.#heard = null;
      return;
    }
    this.#heard = performance.now();
    setImmediate(this.#listened);
    this.#give();
  };

  readonly #give = (): void => {
    this.#waiting.shift()?.();
    queueMicrotask(() => process.nextTick(this.#giveMore));
  };

  /** Ticks come after all microtasks: who had the turn has done all that it can do now. */
  readonly #giveMore = (): void => {
    if (this.#waiting.length > 0 && !this.#isDeaf()) this.#give();
  };
}
