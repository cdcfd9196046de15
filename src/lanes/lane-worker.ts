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
  /** Variables that it has besides those of the process. */
  variables?: Readonly<Record<string, string>> | undefined;
  /** For tests: what it may take of memory. */
  resourceLimits?: ResourceLimits | undefined;
}

export function startLaneWorker(file: URL, options: LaneWorkerOptions): Worker {
  const { name, program, variables, resourceLimits } = options;
  return new Worker(file, {
    name,
    workerData: { program },
    env: { ...process.env, ...variables },
    resourceLimits: { ...YOUNG, ...resourceLimits },
  });
}

/** Threads of lanes that serve HTTP. The program of the first one is loaded while whoever starts it does other things. */
export class ServerWorkers {
  readonly #file: URL;
  readonly #variables: Readonly<Record<string, string>> | undefined;
  #first: Worker | undefined;

  constructor(file: URL, variables?: Readonly<Record<string, string>>) {
    this.#file = file;
    this.#variables = variables;
    this.#first = this.#start();
  }

  /** The one that has been started, and further ones where that dies. */
  readonly take = (): Worker => {
    const worker = this.#first ?? this.#start();
    this.#first = undefined;
    return worker;
  };

  /** Ends the one that nobody has taken. */
  async drop(): Promise<void> {
    await this.#first?.terminate();
  }

  #start(): Worker {
    return startLaneWorker(this.#file, { name: 'lane 0', variables: this.#variables });
  }
}
