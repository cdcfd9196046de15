/** Reads a large body into a buffer of its own, which can be transferred to another thread. */
import type { Readable } from 'node:stream';

/** The error that Fastify raises where it reads bodies itself. */
function tooLarge(): Error {
  return Object.assign(new Error('the body is too large'), { code: 'FST_ERR_CTP_BODY_TOO_LARGE', statusCode: 413 });
}

/**
 * Reads a body of at most `limit` bytes; more is 413. `length`: Content-Length, if given; the HTTP parser enforces it.
 */
export async function readWhole(source: Readable, length: number | undefined, limit: number): Promise<Uint8Array> {
  if (length !== undefined && length > limit) throw tooLarge();
  let body = new Uint8Array(length ?? 64 * 1024);
  let size = 0;
  for await (const chunk of source as AsyncIterable<Buffer>) {
    const end = size + chunk.length;
    if (end > limit) throw tooLarge();
    if (end > body.length) {
      const larger = new Uint8Array(Math.min(limit, Math.max(end, body.length * 2)));
      larger.set(body.subarray(0, size));
      body = larger;
    }
    body.set(chunk, size);
    size = end;
  }
  return size === body.length ? body : body.slice(0, size);
}
