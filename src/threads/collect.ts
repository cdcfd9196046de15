/** Garbage collection on demand: V8 keeps what nobody needs any more until it needs the room, which may be never. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Collects all garbage of this thread, and gives what is free back to the system: some milliseconds to a second. */
export function collectInThread(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}
