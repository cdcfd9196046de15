/** Bytes as they stand in the store: large ones compressed. */
import { constants, createZstdCompress, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { unbroken } from '../../threads/shield.ts';

/** How bytes are stored. A number that is not here is of a later version. */
const PLAIN = 1;
const ZSTD = 2;

/** Below this compressing takes longer than storing what it saves, in bytes. */
const WORTH_COMPRESSING = 32 * 1024;
/** From here on it is not done in the thread that runs hosts, in bytes. */
const WORTH_WAITING = 128 * 1024;
const OPTIONS = { params: { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 } };

export interface Blob {
  format: number;
  data: Uint8Array;
}

export const isLarge = (bytes: Uint8Array): boolean => bytes.byteLength >= WORTH_WAITING;

export function pack(bytes: Uint8Array): Blob {
  if (bytes.byteLength < WORTH_COMPRESSING) return { format: PLAIN, data: bytes };
  return { format: ZSTD, data: unbroken(() => zstdCompressSync(bytes, OPTIONS)) };
}

/**
 * The same without keeping the thread: for snapshots, and what else `isLarge`. Its data comes in pieces of that many bytes at the most,
 * while the next ones are compressed.
 */
export function packLarge(
  bytes: Uint8Array,
  pieceBytes: number,
): { format: number; pieces: AsyncIterable<Uint8Array> } {
  const options = { ...OPTIONS, chunkSize: pieceBytes, readableHighWaterMark: 2 * pieceBytes };
  const pieces = unbroken(() => createZstdCompress(options));
  pieces.end(bytes);
  return { format: ZSTD, pieces };
}

/** Throws where they cannot be read, saying why. */
export function unpack({ format, data }: Blob): Uint8Array {
  if (format === PLAIN) return data;
  if (format === ZSTD) return unbroken(() => zstdDecompressSync(data));
  throw new Error(`it is stored in format ${format}, which this version does not know`);
}
