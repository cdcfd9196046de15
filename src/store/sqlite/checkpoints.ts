/**
 * Takes what is in the WAL over into the database, in a thread of its own: that waits for the disk, for a tenth of a second
 * and more where it is slow, and whoever commits meanwhile need not.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { breakShield, dropShield, makeShield, type Shield } from '../../threads/shield.ts';
import { threadFile } from '../../threads/thread-file.ts';
import type { CheckpointSettings } from './checkpoint-thread.ts';
import { WAL_BYTES } from './database.ts';
import { DATABASE } from './directory.ts';

/** How often the WAL is looked at, in milliseconds. */
const LOOK_MS = 100;

export class Checkpoints {
  readonly #directory: string;
  readonly #timer: NodeJS.Timeout;
  #thread: { worker: Worker; shield: Shield } | undefined;
  #isAtWork = false;
  /** When what has been taken over was written. */
  #done = 0;

  constructor(directory: string) {
    this.#directory = directory;
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  /** A promise only where there is something to wait for. */
  close(): Promise<unknown> | undefined {
    clearInterval(this.#timer);
    if (this.#thread === undefined) return undefined;
    const { worker, shield } = this.#thread;
    return breakShield(shield).then(() => worker.terminate());
  }

  #look(): void {
    if (this.#isAtWork) return;
    const wal = statSync(join(this.#directory, `${DATABASE}-wal`), { throwIfNoEntry: false });
    if (wal === undefined || wal.size <= WAL_BYTES || wal.mtimeMs === this.#done) return;
    this.#isAtWork = true;
    this.#done = wal.mtimeMs;
    this.#thread ??= this.#start();
    this.#thread.worker.postMessage('checkpoint');
  }

  #start(): { worker: Worker; shield: Shield } {
    const shield = makeShield();
    const workerData: CheckpointSettings = { directory: this.#directory, shield };
    const worker = new Worker(threadFile(import.meta.url, 'checkpoint-thread'), { workerData, name: 'checkpoints' });
    const rest = (): void => {
      this.#isAtWork = false;
    };
    worker.on('message', rest);
    // Those who write do it themselves, when it comes to that.
    worker.on('error', rest);
    worker.on('exit', () => {
      dropShield(shield);
      this.#thread = undefined;
      rest();
    });
    worker.unref();
    return { worker, shield };
  }
}
