/** Codings of answers: those that are not small are compressed, for clients that say they can read it (Accept-Encoding). */
import zlib from 'node:zlib';
import type { FastifyCompressOptions } from '@fastify/compress';
import { LARGE } from '../limits.ts';
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
