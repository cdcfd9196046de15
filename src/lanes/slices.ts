/** Long work in steps, between which others have their turns. */

/** A slice shall take about so long, in milliseconds. */
export const SLICE_MS = 1;

/** Goes through all steps, and pauses when it has not for about a slice's time. */
export async function inSlices<T>(steps: Generator<void, T>, pause: () => Promise<void> | undefined): Promise<T> {
  for (let begun = performance.now(); ; ) {
    const { done, value } = steps.next();
    if (done) return value;
    if (performance.now() - begun < SLICE_MS) continue;
    await pause();
    begun = performance.now();
  }
}
