/**
 * Keys that a request makes. As only the hash of a key is kept, the answer of a request that is sent again cannot be told from the
 * past: the key itself comes from its Idempotency-Key, and what it is the key of is found by it.
 */
import { createHmac } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import type { KeyHolder } from '../store/rows.ts';
import { hashKey, newKey } from '../store/store.ts';
import { keyIn, keyReused, REPLAYED } from './idempotency.ts';
import type { Context } from './route.ts';

interface Making<Made> {
  /** What it is the key of. */
  of: string;
  make(keyHash: string): Promise<Made>;
  /** What the same request has made before; null: the one that has made it was another. */
  again(holder: KeyHolder): Made | null;
}

/** Makes something with a key; the answer shows it. */
export async function withNewKey<Made extends object>(
  context: Context,
  reply: FastifyReply,
  { of, make, again }: Making<Made>,
): Promise<Made & { key: string }> {
  const { tenants } = context.directory;
  const idempotencyKey = keyIn(reply.request.raw);
  if (idempotencyKey === undefined) {
    const key = newKey();
    return { ...(await make(hashKey(key))), key };
  }
  const key = keyFrom(context, of, idempotencyKey);
  const keyHash = hashKey(key);
  let holder = await tenants.findByKeyHash(keyHash);
  if (holder === undefined)
    try {
      return { ...(await make(keyHash)), key };
    } catch (error) {
      // The same request may have made it meanwhile.
      holder = await tenants.findByKeyHash(keyHash);
      if (holder === undefined) throw error;
    }
  const before = again(holder);
  if (before === null) throw keyReused();
  reply.header(REPLAYED, 'true');
  return { ...before, key };
}

/** Nobody can tell it who has not the admin key and that of files. */
function keyFrom({ config, fileKey }: Context, of: string, idempotencyKey: string): string {
  const parts = JSON.stringify([of, config.adminKey, idempotencyKey]);
  return `hk_${createHmac('sha256', fileKey).update(parts).digest('base64url')}`;
}
