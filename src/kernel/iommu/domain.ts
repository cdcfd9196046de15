/** IOMMU domains: what translates the DMA of a group. Linux: struct iommu_domain. */

import type { IommuUnit } from '../../machine/iommu-unit.ts';
import { FRAME_SIZE, type FrameRun, type PhysicalMemory } from '../../machine/memory.ts';
import { type PageTable, READ, type TableFormat, WRITE } from '../../machine/page-table.ts';
import type { PciFunction } from '../../machine/pci/function.ts';
import { type Refusal, refuse } from '../errno.ts';
import { SortedRuns } from './sorted-runs.ts';

export interface BlockedDomain {
  readonly kind: 'blocked';
}
export interface IdentityDomain {
  readonly kind: 'identity';
}
/** The default domain of type DMA: run by the DMA API, empty here since no simulated driver maps anything. */
export interface DefaultDomain {
  readonly kind: 'default';
}
export interface NestedDomain {
  readonly kind: 'nested';
  readonly parent: PagingDomain;
  /** Decides which functions the domain takes (attach_dev); null: it takes every one. */
  readonly gate: DomainGate | null;
}
export interface DomainGate {
  /** Returns why the domain does not take a function, or null. */
  admit(fn: PciFunction): Refusal | null;
}
export type Domain = BlockedDomain | IdentityDomain | DefaultDomain | NestedDomain | PagingDomain;

export const BLOCKED: BlockedDomain = { kind: 'blocked' };
export const IDENTITY: IdentityDomain = { kind: 'identity' };
export const DEFAULT: DefaultDomain = { kind: 'default' };

export interface PagingOptions {
  tableType: 0 | 1;
  dirtyTracking: boolean;
  nestParent: boolean;
  pasid: boolean;
}

/** A domain with a page table in memory: every paging HWPT has one. */
export class PagingDomain {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _sortedHeld: () => null, _sortedLost: () => null };

  readonly kind = 'paging';
  /** Domain id in the hardware. */
  readonly id: number;
  /** The unit it was made for: SMMUv3 takes it nowhere else, the others behind any unit of the same kind. */
  readonly unit: IommuUnit;
  readonly format: TableFormat;
  readonly options: PagingOptions;
  readonly table: PageTable;
  /** The context entries of its groups say the same: `IommuCore.setDirtyTracking` changes both. */
  dirtyEnabled = false;
  /** Rebuilt from the previous kernel: immutable, holds a reference on each page it maps (R11, R20). */
  readonly restored: boolean;
  /** It is in an outgoing session, for the next kernel. */
  preserved = false;
  private _held: FrameRun[] = [];
  /** Frames that a restored domain maps although nobody had preserved them: they were free at boot, and may be anybody's. */
  private _lost: FrameRun[] = [];
  private _sortedHeld: SortedRuns | null = null;
  private _sortedLost: SortedRuns | null = null;

  constructor(id: number, unit: IommuUnit, options: PagingOptions, table: PageTable, restored: boolean) {
    this.id = id;
    this.unit = unit;
    this.format = table.format;
    this.options = options;
    this.table = table;
    this.restored = restored;
  }

  get minPage(): bigint {
    return 1n << BigInt(this.format.minShift);
  }

  /** EINVAL: the format cannot express a mapping with this access (READ | WRITE). */
  checkAccess(access: number): Refusal | null {
    const where = 'iommu_map';
    if ((access & (READ | WRITE)) === 0) return refuse('EINVAL', where, 'a mapping is readable, writeable or both');
    if (this.options.nestParent && this.unit.kind === 'intel-vtd' && !(access & WRITE))
      return refuse('EINVAL', where, 'VT-d nesting parents take no read-only mapping');
    return null;
  }

  /**
   * Maps physically contiguous memory. `unit` and `units` count smallest pages, `access` is READ|WRITE, `maxShift`
   * bounds the leaves. EINVAL what the format cannot express, ENOMEM no memory for a table: nothing stays.
   */
  map(unit: number, physical: number, units: number, access: number, maxShift: number): Refusal | null {
    const refusal = this.checkAccess(access);
    if (refusal) return refusal;
    if (this.table.map(unit, physical, units, access, maxShift)) return null;
    this.table.unmap(unit, units);
    return refuse('ENOMEM', 'iommu_map', 'no memory for page tables');
  }

  unmap(unit: number, units: number): void {
    this.table.unmap(unit, units);
  }

  /**
   * Takes a reference on every page that the table maps: a restored domain keeps its memory by itself. Pages that were
   * free by then cannot be kept (`lostPages`).
   */
  holdPages(memory: PhysicalMemory): void {
    const bytes = 2 ** this.format.minShift;
    for (const { physical, units } of this.table.extents(0, Number.MAX_SAFE_INTEGER)) {
      const start = Math.floor(physical / FRAME_SIZE);
      const count = Math.ceil((physical + units * bytes) / FRAME_SIZE) - start;
      const left = this._held[this._held.length - 1];
      if (left && left.start + left.count === start) left.count += count;
      else this._held.push({ start, count });
    }
    this._lost = this._held.flatMap(({ start, count }) => memory.freeWithin(start, count));
    if (this._lost.length > 0) this._held = this._held.flatMap((run) => without(run, memory));
    for (const { start, count } of this._held) memory.pin(start, count);
  }

  get lostPages(): readonly FrameRun[] {
    return this._lost;
  }

  /** Whether the domain maps this frame without keeping it. */
  hasLost(frame: number): boolean {
    if (this._lost.length === 0) return false;
    this._sortedLost ??= new SortedRuns(this._lost);
    return this._sortedLost.touches(frame, 1);
  }

  /** Whether holdPages holds any of these frames. */
  holds(start: number, count: number): boolean {
    this._sortedHeld ??= new SortedRuns(this._held);
    return this._sortedHeld.touches(start, count);
  }

  /** Frames held by holdPages. */
  get heldPages(): readonly FrameRun[] {
    return this._held;
  }

  free(memory: PhysicalMemory): void {
    for (const run of this._held) memory.unpin(run.start, run.count);
    this._held = [];
    this._lost = [];
    this._sortedHeld = null;
    this._sortedLost = null;
    this.table.free();
  }
}

/** The parts of a run that somebody owns. */
function without(run: FrameRun, memory: PhysicalMemory): FrameRun[] {
  const owned: FrameRun[] = [];
  let cursor = run.start;
  const end = run.start + run.count;
  for (const { start, count } of [...memory.freeWithin(run.start, run.count), { start: end, count: 0 }]) {
    if (start > cursor) owned.push({ start: cursor, count: start - cursor });
    cursor = start + count;
  }
  return owned;
}
