/**
 * Physical memory: frames of 4 KiB that are owned in runs and have sparse contents. It is hardware plus the one piece
 * of bookkeeping that every kernel keeps for it (who owns a frame, how often it is held), and it outlives kernels: a
 * kexec frees whatever nobody preserved.
 *
 * Frames are numbers (a frame number is an address shifted by 12, below 2^40), addresses are bytes as JavaScript
 * numbers (below 2^52, exact in a double).
 */
import { agree, continued, type EntryRun, writeEntries } from './entry-run.ts';

export const FRAME_SIZE = 4096;
export const FRAME_SHIFT = 12;
const WORDS = FRAME_SIZE / 4;

export interface FrameRun {
  start: number;
  count: number;
}

/** A run of frames with one owner. `fill` is what untouched contents read as. */
export interface OwnedRun extends FrameRun {
  owner: string;
  /** The owner holds it still; false once only pins do. */
  held: boolean;
  /** `touched`: the first byte of every frame is 1, as the first touch of anonymous memory leaves it. */
  fill: 'zero' | 'touched' | EntryRun;
  /** Frames that belong together: 12 for single pages, 21 for huge ones. */
  folioShift: number;
}

/** What is counted for a frame at the most before its pins go on elsewhere. */
const MANY_PINS = 0xffff;

/** The least that is kept of a frame, where that is all that is in it. */
const FEW_WORDS = 16;

/** Frames of a chunk, whose pins are counted together where they come for all of them. */
const CHUNK = 512;

/** Frames whose pins are counted in one array, and chunks. */
const PINS = 8192;
const CHUNK_PINS = 1024;

const NO_PINS = new Uint16Array(0);

export interface AllocateOptions {
  owner: string;
  /** Entries begin with the first of the frames. */
  fill?: OwnedRun['fill'];
  folioShift?: number;
  /** The first frame shall be congruent to `phase` modulo `align` frames, where one such hole is large enough. */
  align?: number;
  phase?: number;
  /** The lowest frames that are free, whether in one run or not: what is taken one by one does not look farther either. */
  lowest?: boolean;
}

export class PhysicalMemory {
  readonly frames: number;
  /** Allocated runs, ascending, disjoint. */
  private _runs: OwnedRun[] = [];
  /** Pins of single frames, by chunk, and pins of whole chunks. */
  private readonly _framePins: (Uint16Array | null)[] = [];
  private readonly _morePins = new Map<number, number>();
  private readonly _chunkPins: (Uint32Array | null)[] = [];
  /** The pins of the chunk that was asked for last. */
  private _lastPart = -1;
  private _lastPins: Uint16Array = NO_PINS;
  /** How many frames the owner has let go of while they were pinned. */
  private _orphans = 0;
  /** What is in frames: in few words where only `setWord` has written. */
  private _contents = new Map<number, Uint32Array>();
  private _free: number;
  /** No frame below this one is free. Frame 0 is firmware's, so that 0 can mean "no table". */
  private _lowestFree = 1;

  constructor(frames: number) {
    this.frames = frames;
    this._free = frames - 1;
  }

  get freeFrames(): number {
    return this._free;
  }

  /** Frames by owner. */
  owners(): Map<string, number> {
    const owners = new Map<string, number>();
    for (const run of this._runs) owners.set(run.owner, (owners.get(run.owner) ?? 0) + run.count);
    return owners;
  }

  /**
   * Allocates `count` frames for an owner; null if there are not that many. One run if any hole fits, else
   * the lowest holes, in multiples of the folio.
   */
  allocate(count: number, options: AllocateOptions): FrameRun[] | null {
    if (count === 0) return [];
    if (count > this._free) return null;
    const { owner, fill = 'zero', folioShift = FRAME_SHIFT, align = 1, phase = 0, lowest = false } = options;
    const folio = 2 ** (folioShift - FRAME_SHIFT);
    const start = lowest
      ? null
      : (this._findHole(count, Math.max(align, folio), phase) ?? this._findHole(count, folio, 0));
    const pieces = start === null ? this._collect(count, folio) : [{ start, count }];
    if (!pieces) return null;
    let done = 0;
    for (const piece of pieces) {
      this._dropContents(piece);
      const filled = typeof fill === 'object' ? continued(fill, done, piece.start) : fill;
      this._insert({ ...piece, owner, held: true, fill: filled, folioShift });
      done += piece.count;
    }
    this._free -= count;
    return pieces;
  }

  /** One more pin on each frame; all must be allocated. */
  pin(start: number, count: number): void {
    const end = start + count;
    for (let frame = start; frame < end; ) {
      const chunk = Math.floor(frame / CHUNK);
      const stop = Math.min(end, (chunk + 1) * CHUNK);
      if (stop - frame === CHUNK) this._setChunkPins(chunk, this._pinsOfChunk(chunk) + 1);
      else this.pinEach(frame, stop - frame);
      frame = stop;
    }
  }

  /** The same, counted frame by frame: they will be let go one by one. */
  pinEach(start: number, count: number): void {
    for (let frame = start; frame < start + count; ) {
      if (Math.floor(frame / PINS) !== this._lastPart) this._enterPins(frame);
      const pins = this._lastPins;
      const first = frame & (PINS - 1);
      const end = Math.min(PINS, first + start + count - frame);
      for (let at = first; at < end; at++) {
        if (pins[at] === MANY_PINS) this.pinOne(frame + (at - first));
        else pins[at]!++;
      }
      frame += end - first;
    }
  }

  /** One more pin on one frame. */
  pinOne(frame: number): void {
    if (Math.floor(frame / PINS) !== this._lastPart) this._enterPins(frame);
    const at = frame & (PINS - 1);
    const pins = this._lastPins[at]!;
    if (pins === MANY_PINS) this._morePins.set(frame, (this._morePins.get(frame) ?? 0) + 1);
    else this._lastPins[at] = pins + 1;
  }

  /** One pin less on one frame. */
  unpinOne(frame: number): void {
    if (Math.floor(frame / PINS) !== this._lastPart) this._enterPins(frame);
    const at = frame & (PINS - 1);
    const pins = this._lastPins[at]!;
    if (this._orphans > 0 || pins === 0 || pins === MANY_PINS) this.unpin(frame, 1);
    else this._lastPins[at] = pins - 1;
  }

  /** One pin less on each frame; those that nobody holds any more are free, their contents gone. */
  unpin(start: number, count: number): void {
    const end = start + count;
    for (let frame = start; frame < end; ) {
      const chunk = Math.floor(frame / CHUNK);
      const stop = Math.min(end, (chunk + 1) * CHUNK);
      const whole = stop - frame === CHUNK ? this._pinsOfChunk(chunk) : 0;
      if (whole > 0) this._setChunkPins(chunk, whole - 1);
      else {
        if (Math.floor(frame / PINS) !== this._lastPart) this._enterPins(frame);
        let missing = false;
        for (let at = frame; at < stop; at++) if (this._lastPins[at & (PINS - 1)] === 0) missing = true;
        // A pin of the whole chunk is taken apart where only some of its frames are let go.
        if (missing) {
          const pinned = this._pinsOfChunk(chunk);
          if (pinned === 0) throw new Error(`frames ${frame}-${stop - 1} are not all pinned`);
          this._setChunkPins(chunk, pinned - 1);
          for (let at = chunk * CHUNK; at < (chunk + 1) * CHUNK; at++) this.pinOne(at);
        }
        for (let at = frame; at < stop; at++)
          if (this._morePins.size === 0 || !this._dropMore(at)) this._lastPins[at & (PINS - 1)]!--;
      }
      if (this._orphans > 0) this._freeOrphans(frame, stop - frame);
      frame = stop;
    }
  }

  /** One pin less of those that do not fit where pins are counted; false if there is none. */
  private _dropMore(frame: number): boolean {
    const more = this._morePins.get(frame) ?? 0;
    if (more > 1) this._morePins.set(frame, more - 1);
    else this._morePins.delete(frame);
    return more > 0;
  }

  /** The owner lets go of its frames: what is not pinned is free, the rest with its last pin. */
  release(start: number, count: number): void {
    const [from, to] = this._slice(start, count);
    for (let i = from; i < to; i++) this._runs[i]!.held = false;
    this._orphans += count;
    this._merge(from, to);
    this._freeOrphans(start, count);
  }

  private _enterPins(frame: number): void {
    const part = Math.floor(frame / PINS);
    let pins = this._framePins[part];
    if (!pins) {
      pins = new Uint16Array(PINS);
      while (this._framePins.length < part) this._framePins.push(null);
      this._framePins[part] = pins;
    }
    this._lastPins = pins;
    this._lastPart = part;
  }

  private _pinsOfChunk(chunk: number): number {
    return this._chunkPins[Math.floor(chunk / CHUNK_PINS)]?.[chunk % CHUNK_PINS] ?? 0;
  }

  private _setChunkPins(chunk: number, pins: number): void {
    const part = Math.floor(chunk / CHUNK_PINS);
    while (this._chunkPins.length <= part) this._chunkPins.push(null);
    this._chunkPins[part] ??= new Uint32Array(CHUNK_PINS);
    this._chunkPins[part]![chunk % CHUNK_PINS] = pins;
  }

  /** Frees what nobody holds or pins in a range. */
  private _freeOrphans(start: number, count: number): void {
    const end = start + count;
    for (let frame = start; frame < end; ) {
      const run = this.runAt(frame);
      const stop = run ? Math.min(end, run.start + run.count) : frame + 1;
      if (run && !run.held) this._freeUnpinned(frame, stop);
      frame = stop;
    }
  }

  /** The same in a run that its owner has let go of: what lies between pinned frames is freed in one go. */
  private _freeUnpinned(start: number, end: number): void {
    let first = start;
    const pinned = (from: number, to: number): void => {
      if (from > first) this._freeRange(first, from - first);
      first = to;
    };
    for (let at = start; at < end; ) {
      const chunk = Math.floor(at / CHUNK);
      const stop = Math.min(end, (chunk + 1) * CHUNK);
      const pins = this._framePins[Math.floor(at / PINS)];
      if (this._pinsOfChunk(chunk) > 0) pinned(at, stop);
      else if (pins) for (; at < stop; at++) if (pins[at & (PINS - 1)] !== 0) pinned(at, at + 1);
      at = stop;
    }
    pinned(end, end);
  }

  private _freeRange(start: number, count: number): void {
    const [from, to] = this._slice(start, count);
    this._runs.splice(from, to - from);
    this._orphans -= count;
    this._free += count;
    this._lowestFree = Math.min(this._lowestFree, start);
    this._dropContents({ start, count });
  }

  /** Gives frames to another owner; references stay. */
  setOwner(start: number, count: number, owner: string): void {
    const [from, to] = this._slice(start, count);
    for (let i = from; i < to; i++) this._runs[i]!.owner = owner;
    this._merge(from, to);
  }

  /** The run that holds this frame, or null if the frame is free. */
  runAt(frame: number): Readonly<OwnedRun> | null {
    const run = this._runs[this._indexAt(frame)];
    return run && run.start <= frame ? run : null;
  }

  /** The parts of a range that nobody owns, ascending. */
  freeWithin(start: number, count: number): FrameRun[] {
    const end = start + count;
    const free: FrameRun[] = [];
    let cursor = start;
    const first = this._indexAt(start);
    for (let i = first < 0 ? this._lowerBound(start) : first; cursor < end; i++) {
      const run = this._runs[i];
      const stop = run ? Math.min(end, run.start) : end;
      if (stop > cursor) free.push({ start: cursor, count: stop - cursor });
      cursor = run ? run.start + run.count : end;
    }
    return free;
  }

  /** What a kexec does: every frame outside `kept` is free, those inside belong to `owner`; pins are gone. */
  retain(kept: readonly FrameRun[], owner: string): void {
    const sorted = [...kept].sort((a, b) => a.start - b.start);
    const runs: OwnedRun[] = [];
    let cursor = 0;
    for (const { start, count } of sorted) {
      const end = start + count;
      while (cursor < this._runs.length && this._runs[cursor]!.start + this._runs[cursor]!.count <= start) cursor++;
      for (let i = cursor; i < this._runs.length && this._runs[i]!.start < end; i++) {
        const run = this._runs[i]!;
        const first = Math.max(start, run.start);
        runs.push({ ...run, start: first, count: Math.min(end, run.start + run.count) - first, owner, held: true });
      }
    }
    this._runs = runs;
    this._framePins.length = 0;
    this._morePins.clear();
    this._lastPart = -1;
    this._chunkPins.length = 0;
    this._orphans = 0;
    this._merge(0, runs.length);
    this._free = this.frames - 1 - this._runs.reduce((sum, run) => sum + run.count, 0);
    this._lowestFree = 1;
    for (const frame of [...this._contents.keys()]) if (!this.runAt(frame)) this._contents.delete(frame);
  }

  /** The 1024 words of a frame, for tables that hardware reads. Little endian, as the hardware is. */
  words(frame: number): Uint32Array {
    const words = this._contents.get(frame);
    return words?.length === WORDS ? words : this._enlarge(frame, words, WORDS);
  }

  /** The same for who only reads a table; or what its entries follow from, as long as none was changed. */
  entries(frame: number): Uint32Array | EntryRun {
    const words = this._contents.get(frame);
    if (words?.length === WORDS) return words;
    const fill = words ? 'zero' : this.runAt(frame)?.fill;
    return typeof fill === 'object' ? fill : this._enlarge(frame, words, WORDS);
  }

  /** One word of a frame that is nearly empty: what is behind its last one takes no room. */
  word(frame: number, index: number): number {
    const words = this._contents.get(frame);
    if (words) return words[index] ?? 0;
    const fill = this.runAt(frame)?.fill;
    if (typeof fill === 'object') return this.words(frame)[index]!;
    return index === 0 && fill === 'touched' ? 1 : 0;
  }

  setWord(frame: number, index: number, value: number): void {
    let words = this._contents.get(frame);
    if (!words || index >= words.length) {
      let room = FEW_WORDS;
      while (index >= room) room *= 2;
      words = this._enlarge(frame, words, room);
    }
    words[index] = value;
  }

  private _enlarge(frame: number, words: Uint32Array | undefined, room: number): Uint32Array {
    const fill = words ? 'zero' : this.runAt(frame)?.fill;
    const larger = new Uint32Array(typeof fill === 'object' ? WORDS : room);
    if (words) larger.set(words);
    else if (typeof fill === 'object') writeEntries(fill, frame, larger);
    else if (fill === 'touched') larger[0] = 1;
    this._contents.set(frame, larger);
    return larger;
  }

  /** Copies bytes out, beginning at a physical address. */
  read(physical: number, target: Uint8Array): void {
    for (let done = 0; done < target.length; ) {
      const frame = Math.floor((physical + done) / FRAME_SIZE);
      const offset = (physical + done) % FRAME_SIZE;
      const length = Math.min(FRAME_SIZE - offset, target.length - done);
      const fill = this._contents.has(frame) ? 'zero' : this.runAt(frame)?.fill;
      const words = typeof fill === 'object' ? this.words(frame) : this._contents.get(frame);
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

  /** Index of the last run that begins at or before the frame; -1 if none does, or if it ends before (see runAt). */
  private _indexAt(frame: number): number {
    let low = 0;
    let high = this._runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this._runs[middle]!.start <= frame) low = middle + 1;
      else high = middle;
    }
    const run = this._runs[low - 1];
    return run && frame < run.start + run.count ? low - 1 : -1;
  }

  /** Index of the first run that begins at or after the frame. */
  private _lowerBound(frame: number): number {
    let low = 0;
    let high = this._runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this._runs[middle]!.start < frame) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private *_holes(): Generator<FrameRun> {
    let cursor = this._lowestFree;
    for (let i = this._lowerBound(cursor); i < this._runs.length; i++) {
      const run = this._runs[i]!;
      if (run.start > cursor) yield { start: cursor, count: run.start - cursor };
      cursor = run.start + run.count;
    }
    if (cursor < this.frames) yield { start: cursor, count: this.frames - cursor };
  }

  private _findHole(count: number, align: number, phase: number): number | null {
    for (const hole of this._holes()) {
      const start = hole.start + ((((phase - hole.start) % align) + align) % align);
      if (start + count <= hole.start + hole.count) return start;
    }
    return null;
  }

  private _collect(count: number, folio: number): FrameRun[] | null {
    const pieces: FrameRun[] = [];
    let left = count;
    for (const hole of this._holes()) {
      const start = Math.ceil(hole.start / folio) * folio;
      const room = Math.floor((hole.start + hole.count - start) / folio) * folio;
      if (room <= 0) continue;
      const take = Math.min(room, left);
      pieces.push({ start, count: take });
      left -= take;
      if (left === 0) return pieces;
    }
    return null;
  }

  private _insert(run: OwnedRun): void {
    const index = this._lowerBound(run.start);
    this._runs.splice(index, 0, run);
    const merged = this._merge(index, index + 1);
    if (run.start === this._lowestFree) {
      const at = this._runs[merged]!;
      this._lowestFree = at.start + at.count;
      for (let i = merged + 1; i < this._runs.length && this._runs[i]!.start === this._lowestFree; i++)
        this._lowestFree += this._runs[i]!.count;
    }
  }

  /** Cuts runs at both ends of the range and returns the indexes of those inside: [from, to). */
  private _slice(start: number, count: number): [number, number] {
    this._splitAt(start);
    this._splitAt(start + count);
    const from = this._lowerBound(start);
    let to = from;
    let covered = 0;
    while (to < this._runs.length && this._runs[to]!.start < start + count) covered += this._runs[to++]!.count;
    if (covered !== count) throw new Error(`frames ${start}+${count} are not all allocated`);
    return [from, to];
  }

  private _splitAt(frame: number): void {
    const index = this._indexAt(frame);
    const run = this._runs[index];
    if (!run || run.start === frame) return;
    const head = frame - run.start;
    this._runs.splice(index + 1, 0, { ...run, start: frame, count: run.count - head });
    run.count = head;
  }

  private _dropContents(run: FrameRun): void {
    if (run.count <= this._contents.size) {
      for (let frame = run.start; frame < run.start + run.count; frame++) this._contents.delete(frame);
    } else {
      for (const frame of [...this._contents.keys()])
        if (frame >= run.start && frame < run.start + run.count) this._contents.delete(frame);
    }
  }

  /** Joins equal neighbours around [from, to); returns the index where the run at `from` is now. */
  private _merge(from: number, to: number): number {
    const first = Math.max(from, 1);
    const last = Math.min(to, this._runs.length - 1);
    let write = first - 1;
    let at = from;
    for (let read = first; read <= last; read++) {
      const left = this._runs[write]!;
      const right = this._runs[read]!;
      if (
        left.start + left.count === right.start &&
        left.owner === right.owner &&
        left.held === right.held &&
        sameFill(left.fill, right.fill) &&
        left.folioShift === right.folioShift
      )
        left.count += right.count;
      else this._runs[++write] = right;
      if (read === from) at = write;
    }
    if (last >= first && write < last) this._runs.splice(write + 1, last - write);
    return at;
  }
}

function sameFill(a: OwnedRun['fill'], b: OwnedRun['fill']): boolean {
  return a === b || (typeof a === 'object' && typeof b === 'object' && agree(a, b));
}
