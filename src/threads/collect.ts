/** Garbage collection on demand: V8 keeps what nobody needs any more until it needs the room, which may be never. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * What has been in buffers for a moment is collected when it is so many bytes: all of it is young, which takes half a millisecond.
 * V8 would count these bytes until it collects the whole heap for their sake, objects of hosts and all, for some 20 ms.
 */
const PASSING_BYTES = 16 << 20;

type Collect = (options?: { type: 'minor' }) => void;

let known: Collect | undefined;
let passing = 0;

function gc(): Collect {
  if (known === undefined) {
    setFlagsFromString('--expose-gc');
    known = runInNewContext('gc') as Collect;
  }
  return known;
}

/** Collects all garbage of this thread, and gives what is free back to the system: some milliseconds to a second. */
export const collectInThread = (): void => gc()();

/** Buffers of so many bytes are not needed any more, or will not be in a moment. */
export function notePassing(bytes: number): void {
  passing += bytes;
  if (passing < PASSING_BYTES) return;
  passing = 0;
  gc()({ type: 'minor' });
}
