/** The writer's thread as others see it: it is asked, and replaced when it dies. */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { ThreadDied } from '../../threads/errors.ts';
import { Caller } from '../../threads/ports.ts';
import { breakShield, dropShield, makeShield, type Shield } from '../../threads/shield.ts';
import { threadFile } from '../../threads/thread-file.ts';
import { makeStoreError, StoreUnavailable } from '../errors.ts';
import type { WriterRequest } from './doors.ts';
import type { WriterSettings } from './writer-thread.ts';
import type { Write, Writer } from './writes.ts';

export interface WriterOptions extends Omit<WriterSettings, 'port' | 'shield'> {
  /** What was sent to it is lost, or stored and not acknowledged. */
  onDeath: (cause: unknown) => void;
}

export class WriterHandle implements Writer {
  readonly #options: WriterOptions;
  #caller: Caller<WriterRequest>;
  #worker!: Worker;
  #shield!: Shield;
  #stopped = false;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#caller = this.#start();
  }

  write(write: Write): Promise<number> {
    return this.#caller.ask<number>({ ask: 'write', write });
  }

  /** A door for a thread. When it resolves, all that came by the thread's former door is stored, or never will be. */
  async attach(thread: number): Promise<MessagePort> {
    const { port1, port2 } = new MessageChannel();
    await this.#caller.ask({ ask: 'attach', thread, port: port1 }, [port1]);
    return port2;
  }

  async kill(): Promise<void> {
    await breakShield(this.#shield);
    await this.#worker.terminate();
  }

  /** Rejects where it does not stop in order; it has ended then, too. */
  async close(): Promise<void> {
    try {
      await this.#caller.ask({ ask: 'close' });
    } finally {
      this.#stopped = true;
      await this.kill();
      this.#caller.fail(new StoreUnavailable('the service has stopped'));
    }
  }

  #start(): Caller<WriterRequest> {
    const { directory, durability } = this.#options;
    const { port1, port2 } = new MessageChannel();
    const shield = makeShield();
    this.#shield = shield;
    const workerData: WriterSettings = { directory, durability, port: port2, shield };
    const file = threadFile(import.meta.url, 'writer-thread');
    this.#worker = new Worker(file, { workerData, transferList: [port2], name: 'writer' });
    let failure: unknown = null;
    this.#worker.on('error', (error) => {
      failure = error;
    });
    this.#worker.on('exit', () => {
      dropShield(shield);
      this.#died(failure);
    });
    return new Caller<WriterRequest>(port1, 'any', makeStoreError);
  }

  #died(error: unknown): void {
    if (this.#stopped) return;
    const died = this.#caller;
    this.#caller = this.#start();
    died.fail(new ThreadDied('the writer ended', { cause: error }));
    this.#options.onDeath(error);
  }
}
