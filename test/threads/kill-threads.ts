/** Ends threads that do nothing but read compressed bytes, 60 of them, each at another moment. */
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { pack, unpack } from '../../src/store/sqlite/blob.ts';
import { breakShield, carryShield, makeShield, type Shield } from '../../src/threads/shield.ts';

const THREADS = 60;

if (isMainThread) {
  for (let i = 0; i < THREADS; i++) {
    const shield = makeShield();
    const worker = new Worker(new URL(import.meta.url), { workerData: shield });
    for (let passes = 0; passes <= i % 7; passes++) await once(worker, 'message');
    await breakShield(shield);
    await worker.terminate();
  }
} else {
  carryShield(workerData as Shield);
  const packed = pack(new Uint8Array(40_000));
  for (;;) {
    unpack(packed);
    parentPort?.postMessage('pass');
  }
}
