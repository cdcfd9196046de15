/**
 * Tables whose entries point to memory in a row, as a large map makes them by the thousand. The contents of such a frame
 * are not kept, but computed from where its first entry points, until they are changed for the first time.
 *
 * A run that is GROUPED has the tables above them in it, too, each right before the ENTRIES tables that it points to. A lower
 * table has contents of its own only if the one above it has, so that who meets an upper one need not look below it.
 */
import { PAGE_SIZE, WORD } from './address.ts';

/** How many entries a table has, of 64 bits each. */
export const ENTRIES = 512;
/** Bits of an entry. */
export const READ = 1;
export const WRITE = 2;
/** A bit of the `flags` of a run, and of no entry. */
export const GROUPED = 1 << 10;
/** Frames of a group: a table and those below it. */
export const GROUP = ENTRIES + 1;

export interface EntryRun {
  /** The first frame of the run, and the physical address (bytes) to which its first entry, or the first one below it, points. */
  readonly frame: number;
  readonly physical: number;
  /** The bits of an entry below its address; GROUPED. */
  readonly flags: number;
  /** Bytes from one address to the next, and how many entries in a row have the same address; powers of two. */
  readonly step: number;
  readonly repeat: number;
}

/** Whether a frame of the run is a table that points to the ENTRIES frames behind it. */
export function isUpper(run: EntryRun, frame: number): boolean {
  return (run.flags & GROUPED) !== 0 && (frame - run.frame) % GROUP === 0;
}

/** The frame of the table above one of the run, if that is in the run; else -1. */
export function upperOf(run: EntryRun, frame: number): number {
  return (run.flags & GROUPED) === 0 || isUpper(run, frame) ? -1 : frame - ((frame - run.frame) % GROUP);
}

/** The physical address, in bytes, to which entry `index` of a frame of the run leads; of an upper table, its first leaf. */
export function addressAt(run: EntryRun, frame: number, index: number): number {
  const at = frame - run.frame;
  let entry = at * ENTRIES + index;
  if (run.flags & GROUPED) {
    const group = Math.floor(at / GROUP);
    const below = at % GROUP;
    entry = group * ENTRIES * ENTRIES + (below === 0 ? index * ENTRIES : (below - 1) * ENTRIES + index);
  }
  return run.physical + Math.floor(entry / run.repeat) * run.step;
}

/** The run that goes on in another frame: `frame` takes the place of the one `after` frames behind the first. */
export function continued(run: EntryRun, after: number, frame: number): EntryRun {
  const within = run.flags & GROUPED ? after % GROUP : 0;
  return { ...run, frame: frame - within, physical: addressAt(run, run.frame + after - within, 0) };
}

/** Whether run `a`, if it went on to the first frame of `b`, would say the same as `b`. */
export function agree(a: EntryRun, b: EntryRun): boolean {
  if (a.flags !== b.flags || a.step !== b.step || a.repeat !== b.repeat) return false;
  if (a.flags & GROUPED && (b.frame - a.frame) % GROUP !== 0) return false;
  return addressAt(a, b.frame, 0) === b.physical;
}

/** Writes the entries of a frame of the run into its words. */
export function writeEntries(run: EntryRun, frame: number, words: Uint32Array): void {
  const upper = isUpper(run, frame);
  const flags = upper ? READ | WRITE : run.flags & ~GROUPED;
  for (let index = 0; index < ENTRIES; index++) {
    const address = upper ? (frame + 1 + index) * PAGE_SIZE : addressAt(run, frame, index);
    // A bitwise operation takes the low 32 bits of a double.
    words[index * 2] = address | flags;
    words[index * 2 + 1] = address / WORD;
  }
}
