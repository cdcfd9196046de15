/**
 * The contents of frames. Most frames are never written: their contents follow from how they were allocated (`fill`).
 * Of those of which little was written only these chunks are kept; others, and tables of hardware, have words of their own:
 * only the first few if `setWord` alone has written.
 */
import { ByteChunks, CHUNK_SIZE } from './byte-chunks.ts';
import { type EntryRun, isUpper, upperOf, writeEntries } from './entry-run.ts';
import { FRAME_SIZE, type FrameOwners, type FrameRun } from './frame-owners.ts';
import { SortedList } from './sorted-list.ts';

const WORDS = FRAME_SIZE / 4;
/** Chunks of a frame, and how many of them are kept one by one. */
const CHUNKS = FRAME_SIZE / CHUNK_SIZE;
const FEW_CHUNKS = 16;

/** The least number of words that is kept of a frame that `setWord` has written. */
const FEW_WORDS = 16;

/**
 * The words that several frames may have in common, each by a view of its own, until one of them is written. It is no state:
 * a host that is restored has none in common. Most threads never have any, and need not look.
 */
const common = new WeakSet<ArrayBufferLike>();
let isAnyCommon = false;

export class FrameContents {
  private readonly _owners: FrameOwners;
  private readonly _words = new Map<number, Uint32Array>();
  private readonly _chunks = new ByteChunks();
  /**
   * By number of the chunk (its physical address by its size) its place; of a frame with words of its own, by number of its
   * first chunk, -1 less the frame.
   */
  private readonly _places = new SortedList<number>();

  constructor(owners: FrameOwners) {
    this._owners = owners;
  }

  /** The 1024 words (32 bits) of a frame, to be read and written: tables of hardware, which is little endian. */
  words(frame: number): Uint32Array {
    const words = this._ownWords(frame);
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
    if (typeof fill === 'object' || this._hasChunks(frame)) return this.words(frame)[index]!;
    return index === 0 && fill === 'touched' ? 1 : 0;
  }

  setWord(frame: number, index: number, value: number): void {
    let words = this._ownWords(frame);
    if (!words || index >= words.length) {
      let room = FEW_WORDS;
      while (index >= room) room *= 2;
      words = this._enlarge(frame, words, this._hasChunks(frame) ? WORDS : room);
    }
    words[index] = value;
  }

  /** Copies bytes out, beginning at a physical address. */
  read(physical: number, target: Uint8Array): void {
    target.fill(0);
    for (let done = 0; done < target.length; ) {
      const frame = Math.floor((physical + done) / FRAME_SIZE);
      const offset = (physical + done) % FRAME_SIZE;
      const length = Math.min(FRAME_SIZE - offset, target.length - done);
      const fill = this._words.has(frame) ? 'zero' : this._owners.runAt(frame)?.fill;
      const words = typeof fill === 'object' ? this.words(frame) : this._words.get(frame);
      if (words) {
        const known = Math.max(0, Math.min(length, words.byteLength - offset));
        if (known > 0) target.set(new Uint8Array(words.buffer, offset, known), done);
      } else {
        if (offset === 0 && fill === 'touched') target[done] = 1;
        this._readChunks(physical + done, target.subarray(done, done + length));
      }
      done += length;
    }
  }

  /** Copies chunks of one frame out. */
  private _readChunks(physical: number, target: Uint8Array): void {
    const last = Math.floor((physical + target.length - 1) / CHUNK_SIZE);
    for (const place of this._places.within(Math.floor(physical / CHUNK_SIZE), last)) {
      const at = this._chunks.numberOf(place) * CHUNK_SIZE - physical;
      const bytes = this._chunks.at(place);
      target.set(bytes.subarray(Math.max(0, -at), Math.min(CHUNK_SIZE, target.length - at)), Math.max(0, at));
    }
  }

  /** Stores bytes, beginning at a physical address. */
  write(physical: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const frame = Math.floor((physical + done) / FRAME_SIZE);
      const offset = (physical + done) % FRAME_SIZE;
      const piece = bytes.subarray(done, done + Math.min(FRAME_SIZE - offset, bytes.length - done));
      if (this._words.has(frame) || !this._writeChunks(frame, offset, piece))
        new Uint8Array(this.words(frame).buffer).set(piece, offset);
      done += piece.length;
    }
  }

  /** Stores bytes in a frame without words of its own. Zeroes take no room. False: all of them belong into words of its own. */
  private _writeChunks(frame: number, offset: number, bytes: Uint8Array): boolean {
    const fill = this._owners.runAt(frame)?.fill;
    if (typeof fill === 'object') return false;
    if (bytes.length > FEW_CHUNKS * CHUNK_SIZE && !isMostlyZero(bytes)) return false;
    const first = frame * CHUNKS;
    const pieces: [number: number, from: number, to: number][] = [];
    for (let from = 0; from < bytes.length; ) {
      const number = first + Math.floor((offset + from) / CHUNK_SIZE);
      const to = Math.min(bytes.length, (number - first + 1) * CHUNK_SIZE - offset);
      const isTouched = number === first && fill === 'touched';
      if (isTouched || this._places.exact(number) !== undefined || !isZero(bytes, from, to))
        pieces.push([number, from, to]);
      from = to;
    }
    if (pieces.length > FEW_CHUNKS) return false;
    const room = FEW_CHUNKS - this._places.countWithin(first, first + CHUNKS - 1);
    if (pieces.length > room) {
      const added = pieces.filter(([number]) => this._places.exact(number) === undefined);
      if (added.length > room) return false;
    }
    for (const [number, from, to] of pieces) {
      const place = this._places.exact(number) ?? this._addChunk(number, fill);
      this._chunks.at(place).set(bytes.subarray(from, to), offset + from - (number - first) * CHUNK_SIZE);
    }
    return true;
  }

  private _addChunk(number: number, fill: 'zero' | 'touched' | undefined): number {
    const place = this._chunks.add(number);
    this._places.add(number, place);
    if (fill === 'touched' && number % CHUNKS === 0) this._chunks.at(place)[0] = 1;
    return place;
  }

  /** Gives frames the contents of others, which have as many frames and the same `fill`. */
  copy({ start, count }: FrameRun, to: number): void {
    for (const place of this._places.within(start * CHUNKS, (start + count) * CHUNKS - 1)) {
      if (place < 0) this._setWords(-1 - place - start + to, share(this._words.get(-1 - place)!));
      else {
        const number = this._chunks.numberOf(place) + (to - start) * CHUNKS;
        const copy = this._chunks.add(number);
        this._chunks.at(copy).set(this._chunks.at(place));
        this._places.add(number, copy);
      }
    }
  }

  /** Zeroes a range. */
  clear(run: FrameRun): void {
    this.drop(run);
    for (let frame = run.start; frame < run.start + run.count; ) {
      const owned = this._owners.runAt(frame);
      const end = Math.min(run.start + run.count, owned ? owned.start + owned.count : frame + 1);
      if (owned && owned.fill !== 'zero')
        for (; frame < end; frame++)
          if (owned.fill === 'touched') this._addChunk(frame * CHUNKS, 'zero');
          else this.words(frame).fill(0);
      frame = end;
    }
  }

  /** Forgets the contents of a range. */
  drop({ start, count }: FrameRun): void {
    const places = this._places.take(start * CHUNKS, (start + count) * CHUNKS - 1);
    // From the last place on, so that what comes into its place is none of those that go.
    if (places.length > 1) places.sort((a, b) => b - a);
    for (const place of places) {
      if (place < 0) this._words.delete(-1 - place);
      else this._removeChunk(place);
    }
  }

  private _removeChunk(place: number): void {
    const moved = this._chunks.remove(place);
    if (moved >= 0) this._places.replace(moved, place);
  }

  /** Forgets the contents of all frames that nobody owns. */
  dropFree(): void {
    for (const run of this._owners.freeWithin(0, this._owners.frames)) this.drop(run);
  }

  /** Words of frames up to the last that is not 0, where they are not those that untouched frames have. */
  *canonical(): Generator<unknown> {
    yield this._owners;
    const untouched = new Uint32Array(WORDS);
    const gathered = new Uint32Array(WORDS);
    let before = -1;
    for (const place of this._places) {
      const frame = place < 0 ? -1 - place : Math.floor(this._chunks.numberOf(place) / CHUNKS);
      if (frame === before) continue;
      before = frame;
      const words = this._words.get(frame) ?? gathered;
      if (words === gathered) this.read(frame * FRAME_SIZE, new Uint8Array(gathered.buffer));
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

  /** The words of a frame that no other frame has. */
  private _ownWords(frame: number): Uint32Array | undefined {
    const words = this._words.get(frame);
    if (!isAnyCommon || words === undefined || !common.has(words.buffer)) return words;
    const own = words.slice();
    this._words.set(frame, own);
    return own;
  }

  private _hasChunks(frame: number): boolean {
    return this._places.countWithin(frame * CHUNKS, (frame + 1) * CHUNKS - 1) > 0 && !this._words.has(frame);
  }

  /** Gives a frame `room` words of its own, which hold what is in it. */
  private _enlarge(frame: number, words: Uint32Array | undefined, room: number): Uint32Array {
    const fill = words ? 'zero' : this._owners.runAt(frame)?.fill;
    const larger = new Uint32Array(typeof fill === 'object' ? WORDS : room);
    if (words) larger.set(words);
    else if (typeof fill === 'object') {
      writeEntries(fill, frame, larger);
      this._keepUpper(upperOf(fill, frame));
    } else if (this._hasChunks(frame)) {
      this.read(frame * FRAME_SIZE, new Uint8Array(larger.buffer));
      this.drop({ start: frame, count: 1 });
    } else if (fill === 'touched') larger[0] = 1;
    this._setWords(frame, larger);
    return larger;
  }

  /** Keeps the contents of the table above one that is about to have contents of its own (entry-run.ts). */
  private _keepUpper(frame: number): void {
    const fill = frame < 0 ? undefined : this._owners.runAt(frame)?.fill;
    if (typeof fill === 'object' && isUpper(fill, frame)) this.words(frame);
  }

  private _setWords(frame: number, words: Uint32Array): void {
    if (!this._words.has(frame)) this._places.add(frame * CHUNKS, -1 - frame);
    this._words.set(frame, words);
  }
}

/** Another view of the same words, which belong to both from now on. */
function share(words: Uint32Array): Uint32Array {
  isAnyCommon = true;
  common.add(words.buffer);
  return words.subarray();
}

/** Whether so little of at most a frame is not zero that it goes into chunks. */
function isMostlyZero(bytes: Uint8Array): boolean {
  let chunks = 0;
  for (let from = 0; from < bytes.length; from += CHUNK_SIZE)
    if (!isZero(bytes, from, Math.min(bytes.length, from + CHUNK_SIZE)) && ++chunks > FEW_CHUNKS) return false;
  return true;
}

function isZero(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (bytes[at] !== 0) return false;
  return true;
}
