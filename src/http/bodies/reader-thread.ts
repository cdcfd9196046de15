/** The thread of a reader: parses bodies and checks them, as the thread that serves HTTP does with small ones. */
import { type MessagePort, workerData } from 'node:worker_threads';
import { pack } from '../../threads/packed.ts';
import { serve } from '../../threads/ports.ts';
import { Problem } from '../problems.ts';
import { bodyOf } from '../route.ts';
import { ROUTES } from '../routes.ts';
import { parseBody } from './json.ts';
import type { ReadAnswer, ReadRequest } from './readers.ts';

const routes = new Map(ROUTES.map((entry) => [entry.operationId, entry]));

async function read({ operationId, bytes, ...asked }: ReadRequest): Promise<ReadAnswer> {
  const entry = routes.get(operationId)!;
  try {
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
