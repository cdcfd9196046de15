/** Codings of answers: those that are not small are compressed, for clients that say they can read it (Accept-Encoding). */
import { Readable } from 'node:stream';
import zlib from 'node:zlib';
import type { FastifyCompressOptions } from '@fastify/compress';
import type { FastifyInstance, FastifyReply, onSendHookHandler } from 'fastify';
import { LARGE } from '../limits.ts';
import type { Packed } from '../threads/packed.ts';
import { unbroken } from '../threads/shield.ts';

/** A smaller answer would be one packet all the same, in bytes. */
const SMALLEST = 1024;

/** JSON and texts; lines and events come one by one, and go so. */
const TYPES =
  /^(?:application\/(?:problem\+)?json|text\/(?:html|css|plain|javascript)|application\/javascript|image\/svg\+xml)\b/;

/** Nobody ends the thread while a stream is made. */
const guarded = Object.fromEntries(
  (
    [
      'createGzip',
      'createBrotliCompress',
      'createZstdCompress',
      'gzipSync',
      'brotliCompressSync',
      'zstdCompressSync',
    ] as const
  ).map((name) => {
    const make = zlib[name] as (...given: unknown[]) => unknown;
    return [name, (...given: unknown[]) => unbroken(() => make(...given))];
  }),
);

/** What is larger than LARGE is compressed piece by piece by other threads, as fast as it is read. */
export const CODINGS: FastifyCompressOptions = {
  encodings: ['zstd', 'br', 'gzip'],
  threshold: SMALLEST,
  syncThreshold: LARGE,
  globalDecompression: false,
  customTypes: TYPES,
  zlib: guarded,
};

/**
 * Leaves answers alone that would not be compressed anyway. The plugin asks of each first whether it is one of `fetch`, and at the first
 * one Node loads all that `fetch` consists of for that: a service that has just started would answer some 30 ms later.
 */
export function compressWhereAsked(app: FastifyInstance): void {
  app.addHook('onRoute', (route) => {
    const hooks = [route.onSend ?? []].flat() as onSendHookHandler[];
    route.onSend = hooks.map((hook): onSendHookHandler => {
      return function (request, reply, payload, done) {
        const isSmall = typeof payload === 'string' && Buffer.byteLength(payload) < SMALLEST;
        if (isSmall || request.headers['accept-encoding'] === undefined) done(null, payload);
        else hook.call(this, request, reply, payload, done);
      };
    });
  });
}

/** Of a large answer that may be compressed. */
const PIECE = 64 << 10;

/** A large answer, for a client that reads codings in pieces: the next one is compressed when this one is read. */
export function inPieces(reply: FastifyReply, answer: Packed<unknown>): Packed<unknown> | Readable {
  if (reply.request.headers['accept-encoding'] === undefined) return answer;
  reply.header('content-length', answer.length);
  return Readable.from(piecesOf(answer), { objectMode: false });
}

function* piecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PIECE) yield bytes.subarray(at, at + PIECE);
}
