import type { Execution } from '../../src/host/command.ts';
import type { LongRun } from '../../src/lanes/work-off.ts';

/** Goes through all steps at once. */
export function finished<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** Works off what takes long, so many items in each step. */
export function inStepsOf(size: number, run: LongRun): { execution: Execution; steps: number } {
  for (let steps = 1; ; steps += 1) {
    let left = size;
    const execution = run.step(() => {
      left -= 1;
      return left === 0;
    });
    if (execution !== null) return { execution, steps };
  }
}
