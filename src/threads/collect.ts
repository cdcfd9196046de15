/** Garbage collection on demand: V8 keeps what nobody needs any more until it needs the room, which may be never. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

type Collect = (options?: { type: 'minor' }) => void;

let known: Collect | undefined;

function gc(): Collect {
  if (known === undefined) {
    setFlagsFromString('--expose-gc');
    known = runInNewContext('gc') as Collect;
  }
  return known;
}

/** Collects all garbage of this thread, and gives what is free back to the system: some milliseconds to a second. */
export const collectInThread = (): void => gc()();

/** Collects what has become garbage soon after it was made: about half a millisecond. */
export const collectYoung = (): void => gc()({ type: 'minor' });
