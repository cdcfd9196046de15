/** How much of a processor a thread gets where there are fewer processors than threads that work. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';
import { basename } from 'node:path';

/** A tenth of what others get (nice), and a third: for V8's own threads are waited for at the end of a collection. */
const BEHIND_OTHERS = 10;
const HELPER_BEHIND = 5;

/**
 * This thread works when others do not, or little: what they do is short, and waited for. Linux knows threads by numbers of
 * their own; elsewhere, and where that is not allowed, nothing changes.
 */
export function workBehindOthers(): void {
  putBehind(BEHIND_OTHERS, () => [basename(readlinkSync('/proc/thread-self'))]);
}

/**
 * The same for the threads with which V8 marks and sweeps the heaps of all others: under load they take a third of two processors,
 * mostly for the heaps of those who send much.
 */
export function collectBehindOthers(): void {
  putBehind(HELPER_BEHIND, () => {
    const isHelper = (thread: string): boolean => readFileSync(`${THREADS}/${thread}/comm`, 'utf8').includes(HELPER);
    return readdirSync(THREADS).filter(isHelper);
  });
}

const THREADS = '/proc/self/task';
/** In the names of those threads. */
const HELPER = 'V8Worker';

function putBehind(by: number, threads: () => string[]): void {
  if (process.platform !== 'linux') return;
  try {
    const nice = Math.min(getPriority() + by, constants.priority.PRIORITY_LOW);
    for (const thread of threads()) setPriority(Number(thread), nice);
  } catch {
    // It is only better so.
  }
}
