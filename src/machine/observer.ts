/**
 * An observer of a machine is told every change of what the hardware can see, whichever kernel makes it. A machine has
 * one at most (`Machine.observer`), none by default; it is no part of the machine's state and changes nothing.
 *
 * Each call comes right after its change, in the order of the changes, before anything else is done: the observer can
 * read the machine at once. Two changes are not told: dirty bits, which translate nothing, and what a stray device
 * writes into a table, which the host reports as a hazard.
 */
import type { ContextEntry, IommuUnit } from './iommu-unit.ts';
import type { TableWalk } from './table-walk.ts';

export interface MachineObserver {
  /**
   * The context entry of a source id differs from what it was. An entry that is written again as it was is no change.
   * Where translation of a unit is switched off, or begins with an empty root table, each entry that was there is told.
   */
  contextChanged(unit: IommuUnit, sourceId: number, before: ContextEntry, after: ContextEntry): void;

  /**
   * Each of `units` units (of the table's smallest leaf) from `unit` on has a leaf now, and had none before. One map
   * makes one call for each piece of contiguous physical memory, however many leaves and tables that takes; if there is
   * no memory for a table, the call is for what was mapped until then.
   */
  leavesSet(table: TableWalk, unit: number, units: number): void;

  /**
   * None of these units has a leaf now; some, or all, may have had none before. A table that is freed with its domain
   * is told by its frames (`framesReleased`): no function was on it.
   */
  leavesCleared(table: TableWalk, unit: number, units: number): void;

  /**
   * These frames belong to `owner` now; they were free, or somebody else's. A kexec gives what it keeps to `reserved`.
   */
  framesGiven(start: number, count: number, owner: string): void;

  /** The owner of these frames has released them. Those that are pinned stay as they are until their last pin ends. */
  framesReleased(start: number, count: number): void;

  /** These frames are free and their contents gone: no owner and no pin holds them, or a kexec has not kept them. */
  framesFreed(start: number, count: number): void;
}
