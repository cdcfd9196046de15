/**
 * Buffers of large bodies. Those that are done with are kept for the next ones: the system would have to clear new memory, page by
 * page, and take it back.
 */
import { collectYoung } from '../../threads/collect.ts';

/** A smaller one is made anew, and so is one that would be less than half full. */
const LEAST_BYTES = 128 << 10;
/** So many are kept, and none that is larger. */
const MOST_KEPT = 2;
const MOST_BYTES = 8 << 20;

/**
 * The pieces in which bodies come are buffers, too, and garbage at once. They are collected when they are so many bytes: V8 itself would
 * collect the whole heap for their sake, objects of hosts and all, for some 20 ms.
 */
const COLLECT_BYTES = 8 << 20;

const kept: ArrayBuffer[] = [];
/** What has come in pieces since these were collected. */
let pieces = 0;

/** So many bytes, which may be anything: all of them are to be written. */
export function takeBuffer(bytes: number): Buffer<ArrayBuffer> {
  if (bytes < LEAST_BYTES) return Buffer.allocUnsafeSlow(bytes);
  pieces += bytes;
  if (pieces >= COLLECT_BYTES) {
    pieces = 0;
    collectYoung();
  }
  const found = kept.findIndex(({ byteLength }) => byteLength >= bytes && byteLength <= 2 * bytes);
  return found < 0 ? Buffer.allocUnsafeSlow(bytes) : Buffer.from(kept.splice(found, 1)[0]!, 0, bytes);
}

/** Nobody looks at it any more. Of one that has gone to another thread there is nothing left. */
export function giveBack({ buffer, byteLength }: Uint8Array<ArrayBuffer>): void {
  if (byteLength < LEAST_BYTES || buffer.byteLength > MOST_BYTES) return;
  if (kept.length === MOST_KEPT) kept.shift();
  kept.push(buffer);
}
