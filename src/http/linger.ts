/**
 * Looks out for the next request for a moment before the thread sleeps. Whoever makes one call after another sends the next one some
 * ten microseconds after an answer. A thread that sleeps by then takes as long to awake as half of a call takes, and finds its caches
 * cold: looking out for it costs less time of the processor than that.
 */
import { availableParallelism } from 'node:os';

/** For so long it looks out, in milliseconds. */
const LINGER_MS = 0.1;
/** What comes so soon after the last answer, though the thread slept, comes from somebody for whom it pays to look out the next time. */
const SOON_MS = 0.15;

export class Linger {
  readonly #hasProcessor: boolean;
  #idleSince = Number.NEGATIVE_INFINITY;
  #pays = false;
  #until = 0;
  #looks = false;

  /** `threads`: so many do this. Where they would keep the processors from who calls, none does. */
  constructor(threads: number, processors = availableParallelism()) {
    this.#hasProcessor = threads < processors;
  }

  /** A request begins, and there was none. */
  busy(): void {
    this.#pays = this.#hasProcessor && performance.now() - this.#idleSince < SOON_MS;
  }

  /** All requests are answered. */
  idle(): void {
    this.#idleSince = performance.now();
    if (!this.#pays) return;
    this.#until = this.#idleSince + LINGER_MS;
    if (this.#looks) return;
    this.#looks = true;
    setImmediate(this.#look);
  }

  /** The event loop does not sleep as long as something is to be done at once. */
  readonly #look = (): void => {
    if (performance.now() < this.#until) setImmediate(this.#look);
    else this.#looks = false;
  };
}
