/** Reads a large body into memory of its own, which can be given to another thread. */
import type { Readable } from 'node:stream';

/** As Fastify names it where it reads bodies by itself. */
function tooLarge(): Error {
  return Object.assign(new Error('the body is too large'), { code: 'FST_ERR_CTP_BODY_TOO_LARGE', statusCode: 413 });
}

/** `length`: what Content-Length says, if anything; the HTTP parser holds the client to it. */
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
