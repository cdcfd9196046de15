/**
 * How much is read of bodies before others have their turn. Node reads up to 2 MiB of each connection that has sent so much,
 * and nobody is answered before all of them have been read: a few hundred uploads would keep everybody waiting.
 */
import type { Socket } from 'node:net';

/** So many bytes are read without listening to others: well below a millisecond. */
const DEAF_BYTES = 512 << 10;
/** So many connections go on reading in the next turn. Each reads 64 KiB at least. */
const AT_A_TIME = 8;

let read = 0;
let isWaiting = false;
const paused: Socket[] = [];

/** So many bytes of a body have come on this connection, which may be paused for a while. */
export function noteRead(socket: Socket, bytes: number): void {
  read += bytes;
  if (read > DEAF_BYTES) {
    socket.pause();
    paused.push(socket);
  }
  if (isWaiting) return;
  isWaiting = true;
  setImmediate(next);
}

function next(): void {
  read = 0;
  for (const socket of paused.splice(0, AT_A_TIME)) socket.resume();
  isWaiting = paused.length > 0;
  if (isWaiting) setImmediate(next);
}
