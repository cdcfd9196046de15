/** Long work in steps, between which others have their turns. */

/** A slice shall take about so long, in milliseconds. */
export const SLICE_MS = 1;

/** How long work makes room for others. */
export interface Pace {
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
