/**
 * Physical memory: frames of 4 KiB. It is hardware plus the one piece of bookkeeping that every kernel keeps for it: who
 * owns a frame (`frame-owners.ts`), how often it is pinned (`frame-pins.ts`), what is in it (`frame-contents.ts`). Here is
 * what ties the three together: a frame is free, and its contents are gone, once neither its owner nor a pin holds it. It
 * outlives kernels: a kexec frees whatever nobody preserved.
 *
 * Frames are numbers (a frame number is an address shifted by 12, below 2^40), addresses are bytes as JavaScript
 * numbers (below 2^52, exact in a double).
 */
import type { EntryRun } from './entry-run.ts';
import { FrameContents } from './frame-contents.ts';
import { type AllocateOptions, FrameOwners, type FrameRun, type OwnedRun } from './frame-owners.ts';
import { FramePins } from './frame-pins.ts';
import type { MachineObserver } from './observer.ts';

export { FRAME_SHIFT, FRAME_SIZE, type FrameRun } from './frame-owners.ts';

export class PhysicalMemory {
  /** Who watches a machine is no part of it. */
  static readonly caches = { observer: () => null };

  /** Is told what changes here, and in the tables that lie here. */
  observer: MachineObserver | null = null;
  private readonly _owners: FrameOwners;
  private readonly _pins = new FramePins();
  private readonly _contents: FrameContents;
  /** How many frames the owner has let go of while they were pinned. */
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
  get runs(): readonly Readonly<OwnedRun>[] {
    return this._owners.runs;
  }

  /** No frame below this one is free. */
  get lowestFree(): number {
    return this._owners.lowestFree;
  }

  /** How many frames only pins keep. */
  get orphans(): number {
    return this._orphans;
  }

  /** Frames in a row that have as many pins each, ascending, without those that have none. */
  pinned(): Generator<FrameRun & { pins: number }> {
    return this._pins.runs();
  }

  /** Frames by owner. */
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
   * Allocates `count` frames for an owner; null if there are not that many. One run if any hole fits, else
   * the lowest holes, in multiples of the folio.
   */
  allocate(count: number, options: AllocateOptions): FrameRun[] | null {
    if (count === 0) return [];
    const pieces = this._owners.allocate(count, options);
    if (!pieces) return null;
    // A stray write may have left something in frames that were free.
    for (const piece of pieces) this._contents.drop(piece);
    if (this.observer !== null)
      for (const { start, count: frames } of pieces) this.observer.framesGiven(start, frames, options.owner);
    return pieces;
  }

  /** Gives frames to another owner; pins stay. */
  setOwner(start: number, count: number, owner: string): void {
    this._owners.setOwner(start, count, owner);
    this.observer?.framesGiven(start, count, owner);
  }

  /** The owner lets go of its frames: what is not pinned is free, the rest with its last pin. */
  release(start: number, count: number): void {
    this._owners.letGo(start, count);
    this._orphans += count;
    this.observer?.framesReleased(start, count);
    this._freeOrphans(start, count);
  }

  /** One more pin on each frame; all must be allocated. */
  pin(start: number, count: number): void {
    this._pins.pin(start, count);
  }

  /** The same, counted frame by frame: they will be let go one by one. */
  pinEach(start: number, count: number): void {
    this._pins.pinEach(start, count);
  }

  /** One more pin on one frame. */
  pinOne(frame: number): void {
    this._pins.pinOne(frame);
  }

  /** One pin less on one frame. */
  unpinOne(frame: number): void {
    this._pins.unpinOne(frame);
    if (this._orphans > 0) this._freeOrphans(frame, 1);
  }

  /** One pin less on each frame; those that nobody holds any more are free, their contents gone. */
  unpin(start: number, count: number): void {
    this._pins.unpin(start, count);
    if (this._orphans > 0) this._freeOrphans(start, count);
  }

  /** How often a frame is pinned. */
  pinsOf(frame: number): number {
    return this._pins.count(frame);
  }

  /** Frees what nobody holds or pins in a range. */
  private _freeOrphans(start: number, count: number): void {
    const end = start + count;
    for (let frame = start; frame < end; ) {
      const run = this._owners.runAt(frame);
      const stop = run ? Math.min(end, run.start + run.count) : frame + 1;
      // What lies between pinned frames is freed in one go.
      if (run && !run.held) for (const unpinned of this._pins.unpinnedWithin(frame, stop)) this._freeRange(unpinned);
      frame = stop;
    }
  }

  private _freeRange(run: FrameRun): void {
    const { start, count } = run;
    this._owners.remove(start, count);
    this._orphans -= count;
    this._contents.drop(run);
    this.observer?.framesFreed(start, count);
  }

  /** What a kexec does: every frame outside `kept` is free, those inside belong to `owner`; pins are gone. */
  retain(kept: readonly FrameRun[], owner: string): void {
    const before = this._owners.runs;
    this._owners.retain(kept, owner);
    this._pins.clear();
    this._orphans = 0;
    this._contents.dropFree();
    if (this.observer === null) return;
    for (const run of before)
      for (const { start, count } of this._owners.freeWithin(run.start, run.count))
        this.observer.framesFreed(start, count);
    for (const { start, count } of this._owners.runs) this.observer.framesGiven(start, count, owner);
  }

  /** The 1024 words of a frame, for tables that hardware reads. Little endian, as the hardware is. */
  words(frame: number): Uint32Array {
    return this._contents.words(frame);
  }

  /** The same for who only reads a table; or what its entries follow from, as long as none was changed. */
  entries(frame: number): Uint32Array | EntryRun {
    return this._contents.entries(frame);
  }

  /** One word of a frame that is nearly empty: what is behind its last one takes no room. */
  word(frame: number, index: number): number {
    return this._contents.word(frame, index);
  }

  setWord(frame: number, index: number, value: number): void {
    this._contents.setWord(frame, index, value);
  }

  /** Copies bytes out, beginning at a physical address. */
  read(physical: number, target: Uint8Array): void {
    this._contents.read(physical, target);
  }

  /** Stores bytes, beginning at a physical address. */
  write(physical: number, bytes: Uint8Array): void {
    this._contents.write(physical, bytes);
  }
}
