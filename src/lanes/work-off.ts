/** Works commands off in slices, between which others have their turns. What they result in does not depend on where slices end. */
import type { BatchOutcome } from '../host/batch/batch.ts';
import type { Answer, Command, Execution, Query } from '../host/command.ts';
import { digest, digesting } from './digest.ts';
import { isLarge } from './large.ts';
import { type Effort, inSlices, type Pace, SLICE_MS } from './slices.ts';

/** A batch at work: `step` goes on for about so many operations, and answers true when there is an outcome. */
export interface BatchRun {
  step(operations: number): boolean;
  readonly outcome: BatchOutcome | null;
}

/** A command of several parts at work: `step` goes on until all are done, or, behind any of them, `isOver` says so: then null. */
export interface LongRun {
  /** About how many characters the answer has so far. */
  readonly answerSize: number;
  step(isOver: () => boolean): Execution | null;
}

/** What executes commands, and answers queries. Until one that it has begun is done it is asked for nothing else. */
export interface Executing {
  /** Where there may be very much to be found it is in steps. */
  query(query: Query): Answer | Generator<void, Answer>;
  execute(command: Command): Execution;
  /** Begins one of several parts; undefined: it is none. */
  begin?(command: Command): LongRun | undefined;
}

/** What a command has led to, and what its replay is compared by. */
export interface Executed extends Execution {
  /** Of the answer. */
  digest: string;
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

/**
 * Executes a command: several parts in slices, all else at once. A promise where it, or the digest of its answer, takes more than
 * a slice; it rejects with what the effort throws.
 */
export function execute(host: Executing, command: Command, effort: Effort): Executed | Promise<Executed> {
  effort.resume();
  const run = host.begin?.(command);
  if (run === undefined) return withDigest(host.execute(command), effort);
  const execution = run.step(() => effort.isOver);
  return execution === null ? goOn(run, effort) : withDigest(execution, effort);
}

async function goOn(run: LongRun, effort: Effort): Promise<Executed> {
  for (;;) {
    await effort.pause(run.answerSize);
    effort.resume();
    const execution = run.step(() => effort.isOver);
    if (execution !== null) return await withDigest(execution, effort);
  }
}

function withDigest(execution: Execution, effort: Effort): Executed | Promise<Executed> {
  const { answer, records, events } = execution;
  if (!isLarge(answer)) return { answer, records, events, digest: digest(answer) };
  return inSlices(digesting(answer), effort).then((digest) => ({ answer, records, events, digest }));
}

/** Asks a host, in slices where the answer is found in steps. */
export function look(host: Executing, query: Query, pace: Pace): Answer | Promise<Answer> {
  const found = host.query(query);
  return 'kind' in found ? found : inSlices(found, pace);
}
