/**
 * The thread of a lane as it begins: its program is loaded at once, and what it is to be is the first thing that it is told. So one
 * can be started before much else is known, or loaded.
 */
import { type ResourceLimits, Worker } from 'node:worker_threads';

/** What is new in a heap is looked through in one pause, of some milliseconds where it is no more than this. */
const YOUNG = { maxYoungGenerationSizeMb: 32 };

export interface LaneWorkerOptions {
  name: string;
  /** For `behind-others.ts`. */
  program?: string | undefined;
  /** For tests: what it may take of memory. */
  resourceLimits?: ResourceLimits | undefined;
}

export function startLaneWorker(file: URL, { name, program, resourceLimits }: LaneWorkerOptions): Worker {
  return new Worker(file, { name, workerData: { program }, resourceLimits: { ...YOUNG, ...resourceLimits } });
}

/** That of a lane which serves HTTP. */
export const startServerWorker = (file: URL): Worker => startLaneWorker(file, { name: 'lane 0' });
