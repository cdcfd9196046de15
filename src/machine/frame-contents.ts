/**
 * The contents of frames. Most frames are never written: their contents follow from how they were allocated (`fill`).
 * Written ones have words of their own; only the first few if `setWord` alone has written.
 */
import { type EntryRun, isUpper, upperOf, writeEntries } from './entry-run.ts';
import { FRAME_SIZE, type FrameOwners, type FrameRun } from './frame-owners.ts';

const WORDS = FRAME_SIZE / 4;

/** The least number of words that is kept of a frame that `setWord` has written. */
const FEW_WORDS = 16;

export class FrameContents {
  private readonly _owners: FrameOwners;
  private readonly _words = new Map<number, Uint32Array>();

  constructor(owners: FrameOwners) {
    this._owners = owners;
  }

  /** The 1024 words (32 bits) of a frame, to be read and written: tables of hardware, which is little endian. */
  words(frame: number): Uint32Array {
    const words = this._words.get(frame);
    return words?.length === WORDS ? words : this._enlarge(frame, words, WORDS);
  }

  /** The words of a frame, only to be read; or the run that its entries follow from, if none was changed. */
  entries(frame: number): Uint32Array | EntryRun {
    const words = this._words.get(frame);
    if (words?.length === WORDS) return words;
    const fill = words ? 'zero' : this._owners.runAt(frame)?.fill;
    return typeof fill === 'object' ? fill : this._enlarge(frame, words, WORDS);
  }

  /** Reads one word of a frame. Frames that only `setWord` writes take room up to their last word. */
  word(frame: number, index: number): number {
    const words = this._words.get(frame);
    if (words) return words[index] ?? 0;
    const fill = this._owners.runAt(frame)?.fill;
    if (typeof fill === 'object') return this.words(frame)[index]!;
    return index === 0 && fill === 'touched' ? 1 : 0;
  }

  setWord(frame: number, index: number, value: number): void {
    let words = this._words.get(frame);
    if (!words || index >= words.length) {
      let room = FEW_WORDS;
      while (index >= room) room *= 2;
      words = this._enlarge(frame, words, room);
    }
    words[index] = value;
  }

  /** Copies bytes out, beginning at a physical address. */
  read(physical: number, target: Uint8Array): void {
    for (let done = 0; done < target.length; ) {
      const frame = Math.floor((physical + done) / FRAME_SIZE);
      const offset = (physical + done) % FRAME_SIZE;
      const length = Math.min(FRAME_SIZE - offset, target.length - done);
      const fill = this._words.has(frame) ? 'zero' : this._owners.runAt(frame)?.fill;
      const words = typeof fill === 'object' ? this.words(frame) : this._words.get(frame);
      target.fill(0, done, done + length);
      if (words) {
        const known = Math.max(0, Math.min(length, words.byteLength - offset));
        if (known > 0) target.set(new Uint8Array(words.buffer, offset, known), done);
      } else {
        if (offset === 0 && fill === 'touched') target[done] = 1;
      }
      done += length;
    }
  }

  /** Stores bytes, beginning at a physical address. */
  write(physical: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const frame = Math.floor((physical + done) / FRAME_SIZE);
      const offset = (physical + done) % FRAME_SIZE;
      const length = Math.min(FRAME_SIZE - offset, bytes.length - done);
      new Uint8Array(this.words(frame).buffer).set(bytes.subarray(done, done + length), offset);
      done += length;
    }
  }

  /** Gives frames the contents of others, which have as many frames and the same `fill`. */
  copy({ start, count }: FrameRun, to: number): void {
    const copyOne = (frame: number): void => {
      const words = this._words.get(frame);
      if (words) this._words.set(to + (frame - start), words.slice());
    };
    if (count <= this._words.size) for (let frame = start; frame < start + count; frame++) copyOne(frame);
    else for (const frame of [...this._words.keys()]) if (frame >= start && frame < start + count) copyOne(frame);
  }

  /** Zeroes a range. */
  clear(run: FrameRun): void {
    this.drop(run);
    for (let frame = run.start; frame < run.start + run.count; ) {
      const owned = this._owners.runAt(frame);
      const end = Math.min(run.start + run.count, owned ? owned.start + owned.count : frame + 1);
      if (owned && owned.fill !== 'zero') for (; frame < end; frame++) this.words(frame).fill(0);
      frame = end;
    }
  }

  /** Forgets the contents of a range. */
  drop(run: FrameRun): void {
    if (run.count <= this._words.size) {
      for (let frame = run.start; frame < run.start + run.count; frame++) this._words.delete(frame);
    } else {
      for (const frame of [...this._words.keys()])
        if (frame >= run.start && frame < run.start + run.count) this._words.delete(frame);
    }
  }

  /** Forgets the contents of all frames that nobody owns. */
  dropFree(): void {
    for (const frame of [...this._words.keys()]) if (!this._owners.runAt(frame)) this._words.delete(frame);
  }

  /** Words of frames up to the last that is not 0, where they are not those that untouched frames have. */
  *canonical(): Generator<unknown> {
    yield this._owners;
    const untouched = new Uint32Array(WORDS);
    for (const frame of Float64Array.from(this._words.keys()).sort()) {
      const words = this._words.get(frame)!;
      const fill = this._owners.runAt(frame)?.fill ?? 'zero';
      let length = words.length;
      while (length > 0 && words[length - 1] === 0) length--;
      if (typeof fill === 'object') {
        writeEntries(fill, frame, untouched);
        if (words.every((word, index) => word === untouched[index])) continue;
      } else if (length === Number(fill === 'touched') && (length === 0 || words[0] === 1)) continue;
      yield [frame, length];
      yield words.subarray(0, length);
    }
  }

  private _enlarge(frame: number, words: Uint32Array | undefined, room: number): Uint32Array {
    const fill = words ? 'zero' : this._owners.runAt(frame)?.fill;
    const larger = new Uint32Array(typeof fill === 'object' ? WORDS : room);
    if (words) larger.set(words);
    else if (typeof fill === 'object') {
      writeEntries(fill, frame, larger);
      this._keepUpper(upperOf(fill, frame));
    } else if (fill === 'touched') larger[0] = 1;
    this._words.set(frame, larger);
    return larger;
  }

  /** Keeps the contents of the table above one that is about to have contents of its own (entry-run.ts). */
  private _keepUpper(frame: number): void {
    const fill = frame < 0 ? undefined : this._owners.runAt(frame)?.fill;
    if (typeof fill === 'object' && isUpper(fill, frame)) this.words(frame);
  }
}
