/**
 * Physical memory: frames of 4 KiB. It is hardware plus the one piece of bookkeeping that every kernel keeps for it: who
 * owns a frame (`frame-owners.ts`), how often it is pinned (`frame-pins.ts`), what is in it (`frame-contents.ts`). Here is
 * what ties the three together: a frame is free, and its contents are gone, once neither its owner nor a pin holds it. It
 * outlives kernels: a kexec frees whatever nobody preserved.
 *
 * Frames are numbers (a frame number is an address shifted by 12, below 2^40), addresses are bytes as JavaScript
 * numbers (below 2^52, exact in a double).
 */
import type { DmaEngines } from './engines/engines.ts';
import type { EntryRun } from './entry-run.ts';
import { FrameContents } from './frame-contents.ts';
import { type AllocateOptions, FrameOwners, type FrameRun, type OwnedRun } from './frame-owners.ts';
import { FramePins } from './frame-pins.ts';
import type { MachineObserver } from './observer.ts';

export { FRAME_SHIFT, FRAME_SIZE, type FrameRun } from './frame-owners.ts';

export class PhysicalMemory {
  /** The observer is no part of the machine's state. */
  static readonly caches = { observer: () => null };

  /** Is told of changes of frames and of the tables in them; null: nobody is. */
  observer: MachineObserver | null = null;
  /** Those whose bytes are in frames, though nobody has put them there; null: no engine was ever started. */
  engines: DmaEngines | null = null;
  private readonly _owners: FrameOwners;
  private readonly _pins = new FramePins();
  private readonly _contents: FrameContents;
  /** How many frames have no owner but are still pinned. */
  private _orphans = 0;

  constructor(frames: number) {
    this._owners = new FrameOwners(frames);
    this._contents = new FrameContents(this._owners);
  }

  get frames(): number {
    return this._owners.frames;
  }

  get freeFrames(): number {
    return this._owners.free;
  }

  /** Runs that have an owner, ascending, and those that only pins keep (`held` false). */
  get runs(): Generator<Readonly<OwnedRun>> {
    return this._owners.runs;
  }

  /** No frame below this one is free. */
  get lowestFree(): number {
    return this._owners.lowestFree;
  }

  /** How many frames, at most `most`, are free in a row where the next one that is allocated lies. */
  lowestHole(most: number): number {
    return this._owners.lowestHole(most);
  }

  /** How many frames only pins keep. */
  get orphans(): number {
    return this._orphans;
  }

  /** Frames in a row that have as many pins each, ascending, without those that have none. */
  pinned(): Generator<FrameRun & { pins: number }> {
    return this._pins.runs();
  }

  /** How many frames each owner has. */
  owners(): Map<string, number> {
    return this._owners.totals();
  }

  /** The run that holds this frame, or null if the frame is free. */
  runAt(frame: number): Readonly<OwnedRun> | null {
    return this._owners.runAt(frame);
  }

  /** The parts of a range that nobody owns, ascending. */
  freeWithin(start: number, count: number): FrameRun[] {
    return this._owners.freeWithin(start, count);
  }

  /**
   * Allocates `count` frames for an owner: one run if any hole fits, else the lowest holes, in multiples of the folio.
   * Null: there are fewer free frames.
   */
  allocate(count: number, options: AllocateOptions): FrameRun[] | null {
    if (count === 0) return [];
    const pieces = this._owners.allocate(count, options);
    if (!pieces) return null;
    // A stray write may have changed frames that were free.
    for (const piece of pieces) {
      this._contents.drop(piece);
      this.engines?.framesAllocated(piece.start, piece.count);
    }
    if (this.observer !== null)
      for (const { start, count: frames } of pieces) this.observer.framesGiven(start, frames, options.owner);
    return pieces;
  }

  /**
   * Allocates frames that begin with the contents of a range, in runs as `allocate`, for the owner of the range. Null: there
   * are fewer free frames.
   */
  duplicate(
    { start, count }: FrameRun,
    options: Pick<AllocateOptions, 'owner' | 'align' | 'phase'>,
  ): FrameRun[] | null {
    const copies: FrameRun[] = [];
    for (let frame = start; frame < start + count; ) {
      const { fill, folioShift, ...run } = this._owners.runAt(frame)!;
      const end = Math.min(start + count, run.start + run.count);
      const pieces = this.allocate(end - frame, { ...options, fill, folioShift });
      if (!pieces) {
        for (const copy of copies) this.release(copy.start, copy.count);
        return null;
      }
      for (const piece of pieces) {
        this._contents.copy({ start: frame, count: piece.count }, piece.start);
        this.engines?.written.copy(frame, piece.count, piece.start);
        frame += piece.count;
      }
      copies.push(...pieces);
    }
    return copies;
  }

  /** Zeroes whole frames. */
  clear(start: number, count: number): void {
    this._contents.clear({ start, count });
    this.engines?.written.wipe(start, count);
  }

  /** What was written into frames of these owners is gone: they are as they were allocated. */
  forgetContents(owners: ReadonlySet<string>): void {
    for (const { owner, start, count } of this._owners.runs) {
      if (!owners.has(owner)) continue;
      this._contents.drop({ start, count });
      this.engines?.written.wipe(start, count);
    }
  }

  /** Gives frames to another owner; pins stay. */
  setOwner(start: number, count: number, owner: string): void {
    this._owners.setOwner(start, count, owner);
    this.observer?.framesGiven(start, count, owner);
  }

  /** The owner releases frames: those that are not pinned are freed, the others with their last pin. */
  release(start: number, count: number): void {
    this.observer?.framesReleased(start, count);
    if (!this.isPinned(start, count)) {
      this._free(start, count);
      return;
    }
    this._owners.letGo(start, count);
    this._orphans += count;
    this._freeOrphans(start, count);
  }

  /** Pins each frame once more; all must be allocated. */
  pin(start: number, count: number): void {
    this._pins.pin(start, count);
  }

  /** Does what `pin` does, counted frame by frame, as these frames will be unpinned one by one. */
  pinEach(start: number, count: number): void {
    this._pins.pinEach(start, count);
  }

  /** Pins one frame once more. */
  pinOne(frame: number): void {
    this._pins.pinOne(frame);
  }

  /** Unpins one frame once, as `unpin` does. */
  unpinOne(frame: number): void {
    this._pins.unpinOne(frame);
    if (this._orphans > 0) this._freeOrphans(frame, 1);
  }

  /** Unpins each frame once. Frames without owner and pins are freed, and their contents are gone. */
  unpin(start: number, count: number): void {
    this._pins.unpin(start, count);
    if (this._orphans > 0) this._freeOrphans(start, count);
  }

  /** How often a frame is pinned. */
  pinsOf(frame: number): number {
    return this._pins.count(frame);
  }

  /** Whether any frame of a range is pinned. */
  isPinned(start: number, count: number): boolean {
    return this._pins.isPinned(start, start + count);
  }

  /** Frees the frames of a range that no owner and no pin holds. */
  private _freeOrphans(start: number, count: number): void {
    const end = start + count;
    for (let frame = start; frame < end; ) {
      const run = this._owners.runAt(frame);
      const stop = run ? Math.min(end, run.start + run.count) : frame + 1;
      // The frames between two pinned ones are freed at once.
      if (run && !run.held)
        for (const unpinned of this._pins.unpinnedWithin(frame, stop)) {
          this._orphans -= unpinned.count;
          this._free(unpinned.start, unpinned.count);
        }
      frame = stop;
    }
  }

  private _free(start: number, count: number): void {
    this._owners.remove(start, count);
    this._contents.drop({ start, count });
    this.engines?.written.wipe(start, count);
    this.observer?.framesFreed(start, count);
  }

  /** A kexec: frees every frame outside `kept`, gives those inside to `owner`, and ends all pins. */
  retain(kept: readonly FrameRun[], owner: string): void {
    const before = this.observer === null ? [] : [...this._owners.runs];
    this._owners.retain(kept, owner);
    this._pins.clear();
    this._orphans = 0;
    this._contents.dropFree();
    if (this.engines !== null)
      for (const free of this._owners.freeWithin(0, this.frames)) this.engines.written.wipe(free.start, free.count);
    if (this.observer === null) return;
    for (const run of before)
      for (const { start, count } of this._owners.freeWithin(run.start, run.count))
        this.observer.framesFreed(start, count);
    for (const { start, count } of this._owners.runs) this.observer.framesGiven(start, count, owner);
  }

  /** The 1024 words (32 bits) of a frame, to be read and written: tables of hardware, which is little endian. */
  words(frame: number): Uint32Array {
    return this._contents.words(frame);
  }

  /** The words of a frame, only to be read; or the run that its entries follow from, if none was changed. */
  entries(frame: number): Uint32Array | EntryRun {
    return this._contents.entries(frame);
  }

  /** Reads one word of a frame. Frames that only `setWord` writes take room up to their last word. */
  word(frame: number, index: number): number {
    return this._contents.word(frame, index);
  }

  setWord(frame: number, index: number, value: number): void {
    this._contents.setWord(frame, index, value);
  }

  /** Copies bytes out, beginning at a physical address. */
  read(physical: number, target: Uint8Array): void {
    this._contents.read(physical, target);
    this.engines?.written.show(physical, target);
  }

  /** Stores bytes, beginning at a physical address. */
  write(physical: number, bytes: Uint8Array): void {
    if (this.engines !== null)
      for (const page of this.engines.written.take(physical, bytes.length))
        this._contents.write(page.physical, page.bytes);
    this._contents.write(physical, bytes);
  }
}
