/** The thread of a reader: parses bodies and checks them, as a thread that serves HTTP does with small ones. */

import { getHeapStatistics } from 'node:v8';
import { type MessagePort, workerData } from 'node:worker_threads';
import { collectInThread } from '../../threads/collect.ts';
import { pack } from '../../threads/packed.ts';
import { serve } from '../../threads/ports.ts';
import { Problem } from '../problems.ts';
import { ROUTES } from '../routes.ts';
import { bodyOf } from '../serve-route.ts';
import { checkValues, parseBody } from './json.ts';
import type { ReadAnswer, ReadRequest } from './readers.ts';

/** More than this need not be in memory of a thread that has had nothing to read for a while: bytes, and milliseconds. */
const MOST_AT_REST = 2 ** 26;
const REST_MS = 5000;
let resting: NodeJS.Timeout | undefined;

function restSoon(): void {
  clearTimeout(resting);
  resting = setTimeout(() => {
    const { total_heap_size: heap, external_memory: outside } = getHeapStatistics();
    if (heap + outside > MOST_AT_REST) collectInThread();
  }, REST_MS);
  resting.unref();
}

const routes = new Map(ROUTES.map((entry) => [entry.operationId, entry]));

async function read({ operationId, bytes, ...asked }: ReadRequest): Promise<ReadAnswer> {
  restSoon();
  const entry = routes.get(operationId)!;
  try {
    if (entry.bodyLimit !== undefined) checkValues(bytes);
    const body = bodyOf(entry, asked, parseBody(bytes));
    if (!entry.prepare) return { body };
    const { heavy, light } = body as { heavy: object; light: unknown };
    return { body: { heavy: pack(heavy), light } };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const { kind, message: detail, extras } = error;
    return { problem: { kind, detail, extras } };
  }
}

const { port } = workerData as { port: MessagePort };
serve<ReadRequest>(port, read, (answer) => {
  const heavy = (answer as { body?: { heavy?: unknown } }).body?.heavy;
  return heavy instanceof Uint8Array ? [heavy.buffer as ArrayBuffer] : [];
});
