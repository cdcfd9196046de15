/** Looks at what is stored: at once, where that takes no time to speak of, or in a thread of its own. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { breakShield, dropShield, makeShield, type Shield } from '../../threads/shield.ts';
import { threadFile } from '../../threads/thread-file.ts';
import type { FoundDamage } from '../store.ts';
import { DATABASE } from './directory.ts';
import { reason } from './errors.ts';
import { inspect } from './inspection.ts';
import type { InspectionSettings } from './inspection-thread.ts';

/** Up to here, in bytes, it takes some tens of milliseconds. */
const SMALL = 8 << 20;

export class Inspector {
  readonly #directory: string;
  #thread: { worker: Worker; shield: Shield } | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  get isAtWork(): boolean {
    return this.#thread !== undefined;
  }

  async inspect(tell: (damage: FoundDamage) => void): Promise<void> {
    if (this.#size() <= SMALL) return await inspect(this.#directory, tell);
    const shield = makeShield();
    const workerData: InspectionSettings = { directory: this.#directory, shield };
    const worker = new Worker(threadFile(import.meta.url, 'inspection-thread'), { workerData, name: 'inspection' });
    this.#thread = { worker, shield };
    const ended = Promise.withResolvers<void>();
    worker.on('message', tell);
    worker.on('error', (error) => {
      tell({ hostId: null, kind: 'database', what: `the database could not be looked at: ${reason(error)}` });
    });
    worker.on('exit', () => {
      dropShield(shield);
      this.#thread = undefined;
      ended.resolve();
    });
    worker.unref();
    await ended.promise;
  }

  /** Ends it, wherever it is. */
  async close(): Promise<void> {
    if (this.#thread === undefined) return;
    const { worker, shield } = this.#thread;
    await breakShield(shield);
    await worker.terminate();
  }

  #size(): number {
    const sizes = [DATABASE, `${DATABASE}-wal`].map(
      (file) => statSync(join(this.#directory, file), { throwIfNoEntry: false })?.size ?? 0,
    );
    return sizes.reduce((sum, size) => sum + size);
  }
}
