/** What is to be done with one host: one job after another, each when it is the host's turn. */
import { setImmediate } from 'node:timers/promises';
import type { Pace } from './slices.ts';

/** What a job found, and when it may be told. */
export interface Outcome<T> {
  value: T;
  stored: Promise<void>;
}

/** Of what need not be stored, or is. */
export const now = <T>(value: T): Outcome<T> => ({ value, stored: STORED });

const STORED = Promise.resolve();

/** Resolves when that is stored or never will be. */
export const settled = (stored: Promise<void>): Promise<void> => stored.catch(() => {});

interface Job {
  /** Of the hardware, which does not wait for a kernel. */
  hardware: boolean;
  run: () => Promise<void>;
}

export interface JobsOptions {
  pace: Pace;
  /** Before the next job; the one before has taken so many milliseconds. */
  between: (worked: number) => Promise<void> | undefined;
  /** Nothing is left to do. */
  done: () => void;
}

export class Jobs {
  readonly #options: JobsOptions;
  #waiting: Job[] = [];
  #working = false;
  #count = 0;

  constructor(options: JobsOptions) {
    this.#options = options;
  }

  /** Nothing waits, and nothing is at work. */
  get isIdle(): boolean {
    return !this.#working && this.#waiting.length === 0;
  }

  get isWaitedFor(): boolean {
    return this.#waiting.length > 0;
  }

  /** How many there have been. */
  get count(): number {
    return this.#count;
  }

  add<T>(hardware: boolean, work: () => Promise<Outcome<T>>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const run = async (): Promise<void> => {
      try {
        const { value, stored } = await work();
        stored.then(() => resolve(value), reject);
      } catch (error) {
        reject(error);
      }
    };
    this.#count += 1;
    this.#waiting.push({ hardware, run });
    if (!this.#working) void this.#work();
    return promise;
  }

  /** Runs those of the hardware now; one turn of the event loop lets those in that have just arrived. */
  async hardwareGoesOn(): Promise<void> {
    await setImmediate();
    const jobs = this.#waiting.filter((job) => job.hardware);
    this.#waiting = this.#waiting.filter((job) => !job.hardware);
    for (const job of jobs) {
      this.#options.pace.resume();
      await job.run();
    }
  }

  async #work(): Promise<void> {
    const { pace, between, done } = this.#options;
    this.#working = true;
    while (this.#waiting.length > 0) {
      await pace.pause();
      pace.resume();
      const begun = performance.now();
      await this.#waiting.shift()?.run();
      const wait = between(performance.now() - begun);
      if (wait !== undefined) await wait;
    }
    this.#working = false;
    done();
  }
}
