/**
 * Reads large bodies in threads of their own, so that nobody else waits while they are parsed and checked. Tenants take
 * turns: one with many bodies waits for itself. Threads are started when there is something to read, and kept.
 */
import { MessageChannel, Worker } from 'node:worker_threads';
import { READERS } from '../../limits.ts';
import { Caller } from '../../threads/ports.ts';
import { threadFileBehindOthers } from '../../threads/thread-file.ts';
import { unavailable } from '../errors.ts';
import { Problem, type ProblemName } from '../problems.ts';

/** What a reader is asked: plain data, but for the bytes, which are given away. */
export interface ReadRequest {
  operationId: string;
  params: unknown;
  query: unknown;
  bytes: Uint8Array<ArrayBuffer>;
}

/** What a handler is given as the body; or the problem of it. */
export type ReadAnswer =
  | { body: unknown }
  | { problem: { kind: ProblemName; detail: string; extras: Problem['extras'] } };

interface Reader {
  caller: Caller<ReadRequest>;
  worker: Worker;
  busy: boolean;
}

type Job = (reader: Reader) => void;

/**
 * V8 would keep 64 MiB for what is new in each, which a body does not need; and what takes more than this, such as very many empty
 * objects, is no body that a route takes. In MiB.
 */
const HEAP = { maxYoungGenerationSizeMb: 24, maxOldGenerationSizeMb: 768 };

export class Readers {
  readonly #most: number;
  readonly #readers: Reader[] = [];
  /** By tenant, those whose turn is next first. */
  readonly #waiting = new Map<string, Job[]>();
  #closed = false;

  /** `threads`: so many share the readers that there are. */
  constructor(threads = 1) {
    this.#most = Math.ceil(READERS / threads);
  }

  /** Returns what `route.ts` makes of the body (`bodyOf`). Rejects with the problem of it. The bytes are no longer the caller's. */
  async read(tenant: string, asked: Omit<ReadRequest, 'bytes'>, bytes: Uint8Array<ArrayBuffer>): Promise<unknown> {
    const reader = await this.#take(tenant);
    try {
      reader.worker.ref();
      const own = bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);
      const answer = await reader.caller.ask<ReadAnswer>({ ...asked, bytes: own }, [own.buffer]);
      if ('body' in answer) return answer.body;
      const { kind, detail, extras } = answer.problem;
      throw new Problem(kind, detail, extras);
    } finally {
      reader.busy = false;
      reader.worker.unref();
      this.#serveNext();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.kill();
  }

  /** Ends the threads in the middle of whatever they do; others take their places. */
  async kill(): Promise<void> {
    await Promise.all(this.#readers.map(({ worker }) => worker.terminate()));
  }

  #take(tenant: string): Promise<Reader> {
    const { promise, resolve } = Promise.withResolvers<Reader>();
    const jobs = this.#waiting.get(tenant);
    if (jobs === undefined) this.#waiting.set(tenant, [resolve]);
    else jobs.push(resolve);
    this.#serveNext();
    return promise;
  }

  #serveNext(): void {
    for (const [tenant, jobs] of this.#waiting) {
      const reader = this.#free();
      if (reader === undefined) return;
      reader.busy = true;
      // Behind all others, if there is more.
      this.#waiting.delete(tenant);
      const job = jobs.shift()!;
      if (jobs.length > 0) this.#waiting.set(tenant, jobs);
      job(reader);
    }
  }

  #free(): Reader | undefined {
    const reader = this.#readers.find(({ busy }) => !busy);
    if (reader !== undefined || this.#readers.length === this.#most || this.#closed) return reader;
    return this.#start();
  }

  #start(): Reader {
    const { port1, port2 } = new MessageChannel();
    const { file, program } = threadFileBehindOthers(import.meta.url, 'reader-thread');
    const workerData = { port: port2, program };
    const worker = new Worker(file, { workerData, transferList: [port2], name: 'reader', resourceLimits: HEAP });
    const caller = new Caller<ReadRequest>(port1, 'any', ({ message }) => new Error(message));
    const reader = { worker, caller, busy: false };
    this.#readers.push(reader);
    // Said by `exit`, which comes behind it.
    worker.on('error', () => {});
    worker.on('exit', () => {
      this.#readers.splice(this.#readers.indexOf(reader), 1);
      caller.fail(unavailable('The thread that read the body ended. Nothing has changed: try again.'));
    });
    // Nothing has to be waited for but what it reads.
    worker.unref();
    port1.unref();
    return reader;
  }
}
