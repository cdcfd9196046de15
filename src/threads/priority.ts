/** How much of a processor a thread gets where there are fewer processors than threads that work. */
import { readlinkSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';
import { basename } from 'node:path';

/** A tenth of what others get (nice). */
const BEHIND_OTHERS = 10;

/**
 * This thread works when others do not, or little: what they do is short, and waited for. Linux knows threads by numbers of
 * their own; elsewhere, and where that is not allowed, nothing changes.
 */
export function workBehindOthers(): void {
  if (process.platform !== 'linux') return;
  try {
    const nice = Math.min(getPriority() + BEHIND_OTHERS, constants.priority.PRIORITY_LOW);
    setPriority(Number(basename(readlinkSync('/proc/thread-self'))), nice);
  } catch {
    // It is only better so.
  }
}
