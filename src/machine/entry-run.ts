/**
 * Tables whose entries point to memory in a row, as a large map makes them by the thousand. The contents of such a frame
 * are not kept, but computed from where its first entry points, until they are changed for the first time.
 */
import { WORD } from './address.ts';

/** How many entries a table has, of 64 bits each. */
export const ENTRIES = 512;

export interface EntryRun {
  /** The first frame of the run, and the physical address (bytes) to which its first entry points. */
  readonly frame: number;
  readonly physical: number;
  /** The bits of an entry below its address. */
  readonly flags: number;
  /** Bytes from one address to the next, and how many entries in a row have the same address; powers of two. */
  readonly step: number;
  readonly repeat: number;
}

/** The physical address, in bytes, to which entry `index` of a frame of the run points. */
export function addressAt(run: EntryRun, frame: number, index: number): number {
  return run.physical + Math.floor(((frame - run.frame) * ENTRIES + index) / run.repeat) * run.step;
}

/** The run that goes on in another frame: `frame` takes the place of the one `after` frames behind the first. */
export function continued(run: EntryRun, after: number, frame: number): EntryRun {
  return { ...run, frame, physical: addressAt(run, run.frame + after, 0) };
}

/** Whether run `a`, if it went on to the first frame of `b`, would say the same as `b`. */
export function agree(a: EntryRun, b: EntryRun): boolean {
  return a.flags === b.flags && a.step === b.step && a.repeat === b.repeat && addressAt(a, b.frame, 0) === b.physical;
}

/** Writes the entries of a frame of the run into its words. */
export function writeEntries(run: EntryRun, frame: number, words: Uint32Array): void {
  for (let index = 0; index < ENTRIES; index++) {
    const address = addressAt(run, frame, index);
    // A bitwise operation takes the low 32 bits of a double.
    words[index * 2] = address | run.flags;
    words[index * 2 + 1] = address / WORD;
  }
}
