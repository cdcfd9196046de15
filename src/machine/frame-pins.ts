/**
 * How often each frame is pinned. A pin keeps a frame for DMA, even if its owner has released it. Pins that are made of
 * a whole chunk at once are counted for the chunk, others frame by frame.
 */
import type { FrameRun } from './frame-owners.ts';

/** The most pins of a frame that `_framePins` counts; `_morePins` counts those beyond. */
const MANY_PINS = 0xffff;

/** How many frames a chunk has. */
const CHUNK = 512;

/** How many frames, and how many chunks, one array counts pins of. */
const PINS = 8192;
const CHUNK_PINS = 1024;

const NO_PINS = new Uint16Array(0);

export class FramePins {
  /** These depend on the frame that was asked for last, not on any pin. */
  static readonly caches = { _lastPart: () => -1, _lastPins: () => NO_PINS };

  /**
   * Pins of single frames, in arrays of PINS; pins beyond MANY_PINS; pins of whole chunks, in arrays of CHUNK_PINS, or one
   * number, above 0, where all chunks of an array would have as many.
   */
  private readonly _framePins: (Uint16Array | null)[] = [];
  private readonly _morePins = new Map<number, number>();
  private readonly _chunkPins: (Uint32Array | number | null)[] = [];
  /** Number of the array of `_framePins` that was used last; `_lastPins` is that array. */
  private _lastPart = -1;
  private _lastPins: Uint16Array = NO_PINS;

  /** Pins each frame once more. */
  pin(start: number, count: number): void {
    const end = start + count;
    for (let frame = start; frame < end; ) {
      const chunk = Math.floor(frame / CHUNK);
      if (frame % CHUNK === 0 && frame + CHUNK <= end) {
        const first = chunk % CHUNK_PINS;
        const chunks = Math.min(CHUNK_PINS - first, Math.floor((end - frame) / CHUNK));
        if (chunks < CHUNK_PINS || !this._pinPart(chunk, 1)) {
          const pins = this._chunkPart(chunk);
          for (let at = first; at < first + chunks; at++) pins[at]!++;
        }
        frame += chunks * CHUNK;
        continue;
      }
      const stop = Math.min(end, (chunk + 1) * CHUNK);
      this.pinEach(frame, stop - frame);
      frame = stop;
    }
  }

  /** Does what `pin` does, counted frame by frame, as these frames will be unpinned one by one. */
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

  /** Pins one frame once more. */
  pinOne(frame: number): void {
    if (Math.floor(frame / PINS) !== this._lastPart) this._enterPins(frame);
    const at = frame & (PINS - 1);
    const pins = this._lastPins[at]!;
    if (pins === MANY_PINS) this._morePins.set(frame, (this._morePins.get(frame) ?? 0) + 1);
    else this._lastPins[at] = pins + 1;
  }

  /** Unpins one frame once; it must be pinned. */
  unpinOne(frame: number): void {
    if (Math.floor(frame / PINS) !== this._lastPart) this._enterPins(frame);
    const at = frame & (PINS - 1);
    const pins = this._lastPins[at]!;
    if (pins === 0 || pins === MANY_PINS) this.unpin(frame, 1);
    else this._lastPins[at] = pins - 1;
  }

  /** Unpins each frame once; all must be pinned. */
  unpin(start: number, count: number): void {
    const end = start + count;
    for (let frame = start; frame < end; ) {
      const chunk = Math.floor(frame / CHUNK);
      const stop = Math.min(end, (chunk + 1) * CHUNK);
      const first = chunk % CHUNK_PINS;
      const most = Math.min(CHUNK_PINS, first + Math.floor((end - frame) / CHUNK));
      if (frame % CHUNK === 0 && this._chunkPins[Math.floor(chunk / CHUNK_PINS)] && most > first) {
        if (most - first === CHUNK_PINS && this._pinPart(chunk, -1)) {
          frame += CHUNK_PINS * CHUNK;
          continue;
        }
        // Chunks in a row that are pinned as a whole.
        const part = this._chunkPart(chunk);
        let at = first;
        while (at < most && part[at]! > 0) part[at++]!--;
        if (at > first) {
          frame += (at - first) * CHUNK;
          continue;
        }
      }
      this._unpinEach(chunk, frame, stop);
      frame = stop;
    }
  }

  /** Unpins the frames of [frame, stop), which lie in one chunk, one by one. */
  private _unpinEach(chunk: number, frame: number, stop: number): void {
    if (Math.floor(frame / PINS) !== this._lastPart) this._enterPins(frame);
    const pins = this._lastPins;
    const first = frame & (PINS - 1);
    const last = first + stop - frame;
    let missing = false;
    for (let at = first; at < last; at++) if (pins[at] === 0) missing = true;
    // A pin of the whole chunk becomes pins of its frames, as only some of them are unpinned.
    if (missing) {
      const pinned = this._pinsOfChunk(chunk);
      if (pinned === 0) throw new Error(`frames ${frame}-${stop - 1} are not all pinned`);
      this._setChunkPins(chunk, pinned - 1);
      for (let at = chunk * CHUNK; at < (chunk + 1) * CHUNK; at++) this.pinOne(at);
    }
    if (this._morePins.size === 0) for (let at = first; at < last; at++) pins[at]!--;
    else for (let at = frame; at < stop; at++) if (!this._dropMore(at)) pins[at & (PINS - 1)]!--;
  }

  /** How often a frame is pinned. */
  count(frame: number): number {
    const single = this._framePins[Math.floor(frame / PINS)]?.[frame & (PINS - 1)] ?? 0;
    return single + (this._morePins.get(frame) ?? 0) + this._pinsOfChunk(Math.floor(frame / CHUNK));
  }

  /** Frames in a row that have as many pins each, ascending, without those that have none. */
  *runs(): Generator<FrameRun & { pins: number }> {
    const end = Math.max(this._framePins.length * PINS, this._chunkPins.length * CHUNK_PINS * CHUNK);
    for (let start = 0; start < end; ) {
      const pins = this.count(start);
      const behind = this._behind(start, end, pins);
      if (pins > 0) yield { start, count: behind - start, pins };
      start = behind;
    }
  }

  /** The first frame from one on, before another one, that has not so many pins. */
  private _behind(start: number, end: number, pins: number): number {
    for (let frame = start; frame < end; ) {
      const chunk = Math.floor(frame / CHUNK);
      const stop = (chunk + 1) * CHUNK;
      const few = pins - this._pinsOfChunk(chunk);
      const single = this._framePins[Math.floor(frame / PINS)];
      if (few >= MANY_PINS) {
        for (; frame < stop; frame++) if (this.count(frame) !== pins) return frame;
      } else if (single) {
        for (; frame < stop; frame++) if (single[frame & (PINS - 1)] !== few) return frame;
      } else if (few !== 0) return frame;
      frame = stop;
    }
    return end;
  }

  /** Whether anybody has pinned a frame of [start, end). */
  isPinned(start: number, end: number): boolean {
    return this._firstPinned(start, end) < end;
  }

  /** The parts of [start, end) that nobody has pinned, ascending. */
  unpinnedWithin(start: number, end: number): FrameRun[] {
    const unpinned: FrameRun[] = [];
    for (let at = start; at < end; ) {
      const pinned = this._firstPinned(at, end);
      if (pinned > at) unpinned.push({ start: at, count: pinned - at });
      at = this._pinnedUntil(pinned, end);
    }
    return unpinned;
  }

  /** The first pinned frame of [start, end); `end`: there is none. */
  private _firstPinned(start: number, end: number): number {
    for (let at = start; at < end; ) {
      const pins = this._framePins[Math.floor(at / PINS)];
      const chunks = this._chunkPins[Math.floor(at / (CHUNK * CHUNK_PINS))];
      // Nothing is counted there, or no chunk as a whole.
      if (!pins && !chunks) at = (Math.floor(at / PINS) + 1) * PINS;
      else {
        const stop = Math.min(end, (Math.floor(at / CHUNK) + 1) * CHUNK);
        if (this._pinsOfChunk(Math.floor(at / CHUNK)) > 0) return at;
        if (pins) for (; at < stop; at++) if (pins[at & (PINS - 1)] !== 0) return at;
        at = stop;
      }
    }
    return end;
  }

  /** The first frame of [start, end) that nobody has pinned. */
  private _pinnedUntil(start: number, end: number): number {
    let at = start;
    while (at < end && this.count(at) > 0)
      at = this._pinsOfChunk(Math.floor(at / CHUNK)) > 0 ? (Math.floor(at / CHUNK) + 1) * CHUNK : at + 1;
    return Math.min(at, end);
  }

  clear(): void {
    this._framePins.length = 0;
    this._morePins.clear();
    this._lastPart = -1;
    this._chunkPins.length = 0;
  }

  /** Chunks in a row whose frames all have the same pins, and the pins in chunks whose frames differ. */
  *canonical(): Generator<unknown> {
    const chunks = Math.max(this._framePins.length * (PINS / CHUNK), this._chunkPins.length * CHUNK_PINS);
    let row = { first: 0, pins: 0 };
    for (let chunk = 0; chunk < chunks; chunk++) {
      const pins = this._pinsIn(chunk);
      if (pins === row.pins) continue;
      if (row.pins > 0) yield [row.first, chunk - row.first, row.pins];
      const isOne = typeof pins === 'number';
      row = isOne ? { first: chunk, pins } : { first: chunk + 1, pins: 0 };
      if (isOne) continue;
      yield chunk;
      yield pins;
    }
    if (row.pins > 0) yield [row.first, chunks - row.first, row.pins];
  }

  /** Pins of the frames of a chunk: one number where all have the same. */
  private _pinsIn(chunk: number): number | Uint32Array {
    const whole = this._pinsOfChunk(chunk);
    const part = this._framePins[Math.floor((chunk * CHUNK) / PINS)];
    if (!part) return whole;
    const first = (chunk * CHUNK) & (PINS - 1);
    const pins = part.subarray(first, first + CHUNK);
    const [one] = pins;
    if (one !== MANY_PINS && pins.every((other) => other === one)) return whole + one!;
    return Uint32Array.from(pins, (few, at) => whole + few + (this._morePins.get(chunk * CHUNK + at) ?? 0));
  }

  /** Unpins a frame once in `_morePins`; false if it has no pin there. */
  private _dropMore(frame: number): boolean {
    const more = this._morePins.get(frame) ?? 0;
    if (more > 1) this._morePins.set(frame, more - 1);
    else this._morePins.delete(frame);
    return more > 0;
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
    const part = this._chunkPins[Math.floor(chunk / CHUNK_PINS)];
    return typeof part === 'number' ? part : (part?.[chunk % CHUNK_PINS] ?? 0);
  }

  /** Pins all chunks of an array once more (1), or less (-1), where they have as many, each; false where they have not. */
  private _pinPart(chunk: number, pins: 1 | -1): boolean {
    const part = Math.floor(chunk / CHUNK_PINS);
    const now = this._chunkPins[part] ?? 0;
    if (typeof now !== 'number') return false;
    while (this._chunkPins.length <= part) this._chunkPins.push(null);
    this._chunkPins[part] = now + pins || null;
    return true;
  }

  private _setChunkPins(chunk: number, pins: number): void {
    this._chunkPart(chunk)[chunk % CHUNK_PINS] = pins;
  }

  /** The array that counts the pins of a chunk as a whole. */
  private _chunkPart(chunk: number): Uint32Array {
    const part = Math.floor(chunk / CHUNK_PINS);
    while (this._chunkPins.length <= part) this._chunkPins.push(null);
    const now = this._chunkPins[part] ?? 0;
    if (typeof now !== 'number') return now;
    const pins = new Uint32Array(CHUNK_PINS).fill(now);
    this._chunkPins[part] = pins;
    return pins;
  }
}
