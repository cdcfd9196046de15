/** Works commands off in slices, between which others have their turns. What they result in does not depend on where slices end. */
import type { BatchOutcome } from '../host/batch/batch.ts';
import type { CallsCommand, Command, Execution } from '../host/command.ts';
import { type Effort, type Pace, SLICE_MS } from './slices.ts';

/** A batch at work: `step` goes on for about so many operations, and answers true when there is an outcome. */
export interface BatchRun {
  step(operations: number): boolean;
  readonly outcome: BatchOutcome | null;
}

/** Calls at work: `step` goes on until all are done, or, behind any of them, `isOver` says so: then null. */
export interface CallsRun {
  /** About how many characters the answer has so far. */
  readonly answerSize: number;
  step(isOver: () => boolean): Execution | null;
}

/** What executes commands. Until one that it has begun is done it is asked for nothing else. */
export interface Executing {
  execute(command: Command): Execution;
  calls?(command: CallsCommand): CallsRun;
}

/** Operations of the first slice of a batch. */
const FIRST_SLICE = 1024;
const LARGEST_SLICE = 8192;

/** What one operation takes differs by a hundred times. Throws what the pace throws. */
export async function workOff(run: BatchRun, pace: Pace): Promise<BatchOutcome> {
  for (let size = FIRST_SLICE; ; ) {
    pace.resume();
    const begun = performance.now();
    if (run.step(size)) return run.outcome!;
    const took = performance.now() - begun;
    if (took < SLICE_MS / 2) size = Math.min(size * 2, LARGEST_SLICE);
    else if (took > SLICE_MS * 2) size = Math.ceil((size * SLICE_MS) / took);
    await pace.pause();
  }
}

/** Executes a command: several calls in slices, all else at once. A promise where it takes more than a slice; it rejects with what the effort throws. */
export function execute(host: Executing, command: Command, effort: Effort): Execution | Promise<Execution> {
  effort.resume();
  const run = command.op === 'calls' && command.calls.length > 1 ? host.calls?.(command) : undefined;
  if (run === undefined) return host.execute(command);
  return run.step(() => effort.isOver) ?? goOn(run, effort);
}

async function goOn(run: CallsRun, effort: Effort): Promise<Execution> {
  for (;;) {
    await effort.pause(run.answerSize);
    effort.resume();
    const execution = run.step(() => effort.isOver);
    if (execution !== null) return execution;
  }
}
