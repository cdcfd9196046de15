/**
 * How much is read of bodies before others have their turn. Node reads up to 2 MiB of each connection that has sent so much,
 * and nobody is answered before all of them have been read: a few dozen uploads would keep everybody waiting.
 */
import type { Socket } from 'node:net';

/** So many bytes are read without listening to others: well below a millisecond. */
const DEAF_BYTES = 512 << 10;
/** So many connections go on reading in the next turn. Each reads 64 KiB at least. */
const AT_A_TIME = 8;
/** How long one connection's bytes are thrown away until it is another one's turn, in milliseconds: a few MiB. */
const DRAIN_TURN_MS = 1;

let read = 0;
let isAwaited = false;
const paused: Socket[] = [];
/** Those whose bytes nobody wants, in the order of their turns. */
const draining = new Set<Socket>();

/** So many bytes of a body have come on this connection, which may be paused for a while. */
export function noteRead(socket: Socket, bytes: number): void {
  read += bytes;
  if (read > DEAF_BYTES) {
    socket.pause();
    paused.push(socket);
  }
  awaitTurn();
}

/** What comes on this connection is thrown away, one connection at a time, until `drained`. */
export function drain(socket: Socket): void {
  draining.add(socket);
  if (draining.size === 1) drainNext();
  else socket.pause();
}

export function drained(socket: Socket): void {
  if (draining.delete(socket) && !socket.destroyed) socket.resume();
}

function drainNext(): void {
  const [next] = draining;
  if (next === undefined) return;
  draining.delete(next);
  draining.add(next);
  next.resume();
  setTimeout(() => {
    if (draining.has(next) && draining.size > 1) next.pause();
    drainNext();
  }, DRAIN_TURN_MS).unref();
}

function awaitTurn(): void {
  if (isAwaited) return;
  isAwaited = true;
  setImmediate(nextTurn);
}

function nextTurn(): void {
  isAwaited = false;
  read = 0;
  for (const socket of paused.splice(0, AT_A_TIME)) socket.resume();
  if (paused.length > 0) awaitTurn();
}
