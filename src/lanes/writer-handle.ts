/** The writer's thread as the main thread sees it. */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { Log } from '../log.ts';
import { StoreUnavailable } from '../store/errors.ts';
import { ThreadDied } from './errors.ts';
import { Caller, type WriterRequest, type WriterSettings } from './messages.ts';
import { threadFile } from './thread-file.ts';

export interface WriterOptions extends Omit<WriterSettings, 'port'> {
  log: Log;
  /** What was sent to it is lost, or stored and not acknowledged: lanes must begin anew from what is stored. */
  onDeath: () => void;
}

export class WriterHandle {
  readonly #options: WriterOptions;
  #caller: Caller<WriterRequest>;
  #worker!: Worker;
  #stopped = false;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#caller = this.#start();
  }

  ask<Value>(request: WriterRequest, transfer?: readonly MessagePort[]): Promise<Value> {
    return this.#caller.ask<Value>(request, transfer);
  }

  /** A door for a lane. When it resolves, all that came by the lane's former door is stored, or never will be. */
  async attach(lane: number): Promise<MessagePort> {
    const { port1, port2 } = new MessageChannel();
    await this.ask({ ask: 'attach', lane, port: port1 }, [port1]);
    return port2;
  }

  async kill(): Promise<void> {
    await this.#worker.terminate();
  }

  async close(): Promise<void> {
    await this.ask({ ask: 'close' }).catch((error) => {
      this.#options.log.error({ err: error }, 'the writer did not stop in order');
    });
    this.#stopped = true;
    await this.kill();
    this.#caller.fail(new StoreUnavailable('the service has stopped'));
  }

  #start(): Caller<WriterRequest> {
    const { directory, durability } = this.#options;
    const { port1, port2 } = new MessageChannel();
    const workerData: WriterSettings = { directory, durability, port: port2 };
    this.#worker = new Worker(threadFile('writer-thread'), { workerData, transferList: [port2], name: 'writer' });
    let failure: unknown = null;
    this.#worker.on('error', (error) => {
      failure = error;
    });
    this.#worker.on('exit', () => this.#died(failure));
    return new Caller<WriterRequest>(port1, 'any');
  }

  #died(error: unknown): void {
    if (this.#stopped) return;
    const { log, onDeath } = this.#options;
    log.error({ err: error }, 'the writer died: another one takes its place');
    const died = this.#caller;
    this.#caller = this.#start();
    died.fail(new ThreadDied('the writer ended', { cause: error }));
    onDeath();
  }
}
