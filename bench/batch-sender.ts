/** A thread that sends batches one after another, so that building and sending them does not disturb who measures. */
import { parentPort, workerData } from 'node:worker_threads';
import { Client } from './client.ts';
import { now } from './harness.ts';
import { encodeBatch, sendBatch } from './vmm.ts';

export interface SenderData {
  port: number;
  key: string;
  /** Path of the batches. */
  batch: string;
  /** Bodies that are sent in turn. */
  bodies: { body: Uint8Array; operations: number }[];
}

/** What it says after each round of all bodies: milliseconds of the round. */
export type SenderReport = number;

const { port, key, batch, bodies } = workerData as SenderData;
const client = await Client.open({ port, key });
const requests = bodies.map(({ body, operations }) => ({ request: encodeBatch(client, { batch }, body), operations }));
for (;;) {
  const start = now();
  for (const { request, operations } of requests) await sendBatch(client, request, operations);
  parentPort!.postMessage((now() - start) satisfies SenderReport);
}
