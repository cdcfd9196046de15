/** What pages for people share: what a browser may load for them and has already, and the key that they show. */
import { hash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { WELL_KNOWN_KEY } from '../../config.ts';
import type { Context } from '../route.ts';

/** A Content Security Policy: nothing is loaded or done but what it names. */
export const policy = (allowed: Readonly<Record<string, string>>): string =>
  Object.entries({
    'default-src': "'none'",
    ...allowed,
    'base-uri': "'none'",
    'form-action': "'none'",
    'frame-ancestors': "'none'",
  })
    .map(([what, from]) => `${what} ${from}`)
    .join('; ');

/**
 * Where keys come from. `known`: the key of the development mode, as long as it is the one that everybody knows: one that
 * somebody has chosen is not told to whoever asks for a page.
 */
export type KeySource = 'known' | 'chosen' | 'configured';

export function keySource({ dev, config }: Pick<Context, 'dev' | 'config'>): KeySource {
  if (!dev) return 'configured';
  return config.devKey === WELL_KNOWN_KEY ? 'known' : 'chosen';
}

/** What is the same for as long as the service runs. */
export interface PageFile {
  readonly bytes: Buffer;
  readonly type: string;
  readonly tag: string;
}

export function pageFile(text: string, type: string): PageFile {
  const bytes = Buffer.from(text);
  return { bytes, type, tag: `"${hash('sha256', bytes, 'base64url')}"` };
}

/** Sends it, or 304 to a client that has it (If-None-Match). */
export function sendFile({ bytes, type, tag }: PageFile, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  reply.headers({ etag: tag, 'cache-control': 'no-cache' });
  const known = request.headers['if-none-match']?.split(',').map((one) => one.trim().replace(/^W\//, '')) ?? [];
  // A 304 to HEAD is given the bytes for its Content-Length, which would be 0 without them.
  const none = request.method === 'HEAD' ? bytes : undefined;
  if (known.includes(tag) || known.includes('*')) return reply.code(304).send(none);
  return reply.type(type).send(bytes);
}
