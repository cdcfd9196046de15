/**
 * Whoever watches a machine: what its hardware can see is told as it changes, by whichever kernel. There is one at most
 * (`Machine.observer`), none by default; it is no part of a machine's state and changes nothing.
 *
 * Each call comes right after its change, in the order of the changes, and before whoever makes the change does anything
 * else: what is told can be read at once. Nothing else changes what is told here, with two exceptions that are not told:
 * dirty bits, which translate nothing, and what a stray device writes into a table, which the host tells as a hazard.
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
   * Each of `units` units (of the table's smallest leaf) from `unit` on has a leaf now, and had none before. One call for
   * what one map brings in a row of physical memory, however many leaves and tables that takes; where memory for a table
   * is missing, for what was mapped until then.
   */
  leavesSet(table: TableWalk, unit: number, units: number): void;

  /**
   * None of them has a leaf now; some, or all, may have had none before. A table that is given back as a whole, with its
   * domain, is told by its frames (`framesReleased`): nothing was on it.
   */
  leavesCleared(table: TableWalk, unit: number, units: number): void;

  /** They belong to this owner now: they were free, or somebody else's. A kexec gives what it keeps to `reserved`. */
  framesGiven(start: number, count: number, owner: string): void;

  /** Their owner has let go of them. Those that are pinned stay as they are until their last pin goes. */
  framesReleased(start: number, count: number): void;

  /** They are nobody's, and their contents are gone: no owner and no pin holds them, or a kexec has not kept them. */
  framesFreed(start: number, count: number): void;
}
