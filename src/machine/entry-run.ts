/**
 * Tables full of entries that point to memory in a row, as a large map makes them by the thousand. Such a frame is not
 * kept: what is in it follows from where the first entry points. With its first change it becomes a frame like any other.
 */

/** Entries of a table, of 64 bits each. */
export const ENTRIES = 512;

export interface EntryRun {
  /** The frame that the run begins with, and where the first entry of it points (bytes). */
  readonly frame: number;
  readonly physical: number;
  /** What an entry has below its address. */
  readonly flags: number;
  /** Bytes from one address to the next, and how many entries in a row have the same; powers of two. */
  readonly step: number;
  readonly repeat: number;
}

/** Where an entry points. */
export function addressAt(run: EntryRun, frame: number, index: number): number {
  return run.physical + Math.floor(((frame - run.frame) * ENTRIES + index) / run.repeat) * run.step;
}

/** A run that goes on in other frames, behind so many of its own. */
export function continued(run: EntryRun, after: number, frame: number): EntryRun {
  return { ...run, frame, physical: addressAt(run, run.frame + after, 0) };
}

/** Whether both say the same of a frame. */
export function agree(a: EntryRun, b: EntryRun): boolean {
  return a.flags === b.flags && a.step === b.step && a.repeat === b.repeat && addressAt(a, b.frame, 0) === b.physical;
}

export function writeEntries(run: EntryRun, frame: number, words: Uint32Array): void {
  for (let index = 0; index < ENTRIES; index++) {
    const address = addressAt(run, frame, index);
    // A bitwise operation takes the low 32 bits of a double.
    words[index * 2] = address | run.flags;
    words[index * 2 + 1] = address / 2 ** 32;
  }
}
