/**
 * Requests that may be sent again: one with the header Idempotency-Key is carried out once, whatever becomes of the connection or the
 * service, and is answered as it was the first time. What it has led to says so itself, as its key is stored with that; its answer
 * is made again of the past of the host.
 */
import { createHash, hash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import type { FastifyRequest } from 'fastify';
import type { Answer } from '../host/command.ts';
import type { Lanes } from '../lanes/lanes.ts';
import type { Directory, RequestKey, Tenant } from '../store/store.ts';
import { isTwice } from './head.ts';
import { Problem } from './problems.ts';

const HEADER = 'idempotency-key';
/** Said by the answer of a request that has not been carried out again. */
export const REPLAYED = 'idempotency-replayed';

/** The longest key, in characters. */
export const MOST_KEY = 255;
export const KEY = new RegExp(`^[ -~]{1,${MOST_KEY}}$`);

/** The key of a request; undefined: it has none. Throws a problem where it is none that may be. */
export function keyIn({ headers, rawHeaders }: IncomingMessage): string | undefined {
  const key = headers[HEADER];
  if (key === undefined) return undefined;
  if (isTwice(rawHeaders, HEADER)) throw badKey('it is there twice');
  if (typeof key === 'string' && KEY.test(key)) return key;
  throw badKey(`expected 1 to ${MOST_KEY} printable ASCII characters`);
}

const badKey = (why: string): Problem => new Problem('invalid-request', `header Idempotency-Key: ${why}`);

export function keyReused(): Problem {
  const detail =
    'Another request has been carried out with this Idempotency-Key, and nothing has changed. Give each request a key of its own, and send it again only as it was.';
  return new Problem('key-reused', detail);
}

const HEAVY = 1 << 20;

/** What a request with a key is known by. A body that is a stream is not in the fingerprint: see `partOf`. */
export async function requestKey(
  { method, url, body }: FastifyRequest,
  tenant: Tenant,
  key: string,
): Promise<RequestKey> {
  const asked = createHash('sha256').update(`${method} ${url}\n`);
  if (body instanceof Uint8Array)
    for (let at = 0; at < body.length; at += HEAVY) {
      // Others have their turns.
      if (at > 0) await setImmediate();
      asked.update(body.subarray(at, at + HEAVY));
    }
  return { tenantId: tenant.id, key: hash('sha256', key, 'base64url'), fingerprint: asked.digest('base64url') };
}

/** The same of a part of a request that is carried out in parts, each by itself. */
export function partOf({ tenantId, key, fingerprint }: RequestKey, index: number, part: Uint8Array): RequestKey {
  return {
    tenantId,
    key: hash('sha256', `${key} ${index}`, 'base64url'),
    fingerprint: createHash('sha256').update(`${fingerprint} `).update(part).digest('base64url'),
  };
}

/** What a request has led to that was carried out before. */
export interface Before {
  hostId: string;
  /** Of the lane; of one that has made the host, what that was then, with its `devices`. */
  answer: Answer;
}

interface Asked {
  lanes: Lanes;
  directory: Pick<Directory, 'hosts'>;
  key: RequestKey;
  /** It makes a host, and is not asked of one. */
  makes: boolean;
}

/** Undefined: it has led to nothing. Throws a problem where the key is that of another request, or its answer is not kept. */
async function find({ lanes, directory, key, makes }: Asked): Promise<Before | undefined> {
  const known = await directory.hosts.requested(key);
  if (known === undefined) return undefined;
  const { hostId, sequence, fingerprint } = known;
  if (fingerprint !== key.fingerprint) throw keyReused();
  const answer = await lanes.lookBack(hostId, { of: makes ? 'beginning' : 'answer', sequence });
  if (answer.kind !== 'not-found') return { hostId, answer };
  throw new Problem(
    'answer-gone',
    `The request has been carried out, as command ${sequence} of host ${hostId}, and is not again; but there is no ${answer.what}.`,
  );
}

/**
 * Carries a request out, or lets it be answered as before. `attempt` rejects where it has not been carried out, unless `isDone` says
 * so: then the same one may have been, at the same time.
 */
export async function once<T>(
  asked: Asked,
  attempt: (before?: Before) => Promise<T>,
  isDone = (): boolean => false,
): Promise<T> {
  const before = await find(asked);
  if (before !== undefined) return await attempt(before);
  try {
    return await attempt();
  } catch (error) {
    if (isDone()) throw error;
    const meanwhile = await find(asked);
    if (meanwhile === undefined) throw error;
    return await attempt(meanwhile);
  }
}
