/** Long work in steps, between which others have their turns. */

/** A slice shall take about so long, in milliseconds. */
export const SLICE_MS = 1;

/** How long work makes room for others. */
export interface Pace {
  /** Throws GivenUp where the work is not to go on. */
  pause(): Promise<void> | undefined;
  /** Called before each step: from here on it is this work again that the thread does. */
  resume(): void;
}

/** Goes through all steps, and pauses when it has not for about a slice's time. */
export async function inSlices<T>(steps: Generator<void, T>, pace: Pace): Promise<T> {
  pace.resume();
  for (let begun = performance.now(); ; ) {
    const { done, value } = steps.next();
    if (done) return value;
    if (performance.now() - begun < SLICE_MS) continue;
    await pace.pause();
    pace.resume();
    begun = performance.now();
  }
}

/** Goes through all steps at once. */
export function atOnce<T>(steps: Generator<void, T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** The pace of one piece of work, which counts how long the lane has been at it: the time of others' turns is not in that. */
export class Effort implements Pace {
  readonly #pace: Pace;
  readonly #mayGoOn: (worked: number, answerSize: number) => void;
  #worked = 0;
  /** When this slice began; null: others have their turns. */
  #begun: number | null;

  /**
   * It begins now. `mayGoOn` is called between two slices, with the milliseconds and about how many characters of an answer
   * there are so far, and throws GivenUp where that is the end.
   */
  constructor(pace: Pace, mayGoOn: (worked: number, answerSize: number) => void) {
    this.#pace = pace;
    this.#mayGoOn = mayGoOn;
    this.#begun = performance.now();
  }

  /** Milliseconds of work so far. */
  get worked(): number {
    return this.#worked + this.#slice;
  }

  /** Whether it is time to pause. */
  get isOver(): boolean {
    return this.#slice >= SLICE_MS;
  }

  get #slice(): number {
    return this.#begun === null ? 0 : performance.now() - this.#begun;
  }

  pause(answerSize = 0): Promise<void> | undefined {
    this.#worked = this.worked;
    this.#begun = null;
    this.#mayGoOn(this.#worked, answerSize);
    return this.#pace.pause();
  }

  resume(): void {
    this.#pace.resume();
    this.#begun ??= performance.now();
  }
}
