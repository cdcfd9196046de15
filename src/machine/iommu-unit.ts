/**
 * An IOMMU: a root table of 256 buses whose context tables have one entry a function, all in frames of memory; each
 * entry says which page table translates the function's DMA. The unit only knows what these tables say.
 *
 * Context entry, 16 bytes: word 0 kind and table type and dirty enable, word 1 domain id, words 2–3 address of the top
 * page table. Kinds follow the VT-d translation types: not present (all DMA is refused), table, pass-through.
 */
import { FRAME_SIZE, type FrameRun, type PhysicalMemory } from './memory.ts';
import type { IommuKind, IommuUnitSpec } from './spec.ts';
import { READ, type TableFormat, TableWalk, tableFormat, WRITE } from './table-walk.ts';

export type ContextEntry =
  | { kind: 'blocked' }
  | { kind: 'identity' }
  /** `root` null: an empty table, as a default domain has before its first mapping. */
  | { kind: 'table'; domainId: number; root: number | null; tableType: 0 | 1; dirtyEnabled: boolean };

/** Why an access is refused. */
export const FAULT_REASONS = [
  'blocked',
  'beyond-aperture',
  'not-mapped',
  'not-readable',
  'not-writeable',
  'interrupt-range',
  'beyond-memory',
] as const;

export type FaultReason = (typeof FAULT_REASONS)[number];

export interface Translation {
  physical: number;
  /** Bytes from the IOVA on that the same leaf translates. */
  length: number;
  readable: boolean;
  writeable: boolean;
}

const ENTRY_WORDS = 4;
const KIND = { blocked: 0, table: 1, identity: 2 } as const;
const ROOT_NONE = 0xffffffff;
const MSI_START = 0xfee00000n;
const MSI_LAST = 0xfeefffffn;

/** x86 takes writes to this window as interrupts and never translates them. A host without an IOMMU is an x86 one. */
export function isInterruptRange(kind: IommuKind | null, iova: bigint): boolean {
  return kind !== 'arm-smmuv3' && kind !== 'generic' && iova >= MSI_START && iova <= MSI_LAST;
}

/** Returns where an access without translation goes. */
export function passThrough(iova: bigint, memory: PhysicalMemory): Translation | FaultReason {
  if (iova >= BigInt(memory.frames) * BigInt(FRAME_SIZE)) return 'beyond-memory';
  const physical = Number(iova);
  return { physical, length: FRAME_SIZE - (physical % FRAME_SIZE), readable: true, writeable: true };
}

/** Returns the part of IOVAs [first, last] that is memory, for DMA without translation. */
export function passThroughRange(
  first: bigint,
  last: bigint,
  memory: PhysicalMemory,
): (Translation & { iova: bigint })[] {
  const end = BigInt(memory.frames) * BigInt(FRAME_SIZE) - 1n;
  const until = last < end ? last : end;
  if (first > until) return [];
  const length = Number(until - first + 1n);
  return [{ iova: first, physical: Number(first), length, readable: true, writeable: true }];
}

function sameEntry(a: ContextEntry, b: ContextEntry): boolean {
  if (a.kind !== 'table' || b.kind !== 'table') return a.kind === b.kind;
  const { domainId, root, tableType, dirtyEnabled } = b;
  return a.domainId === domainId && a.root === root && a.tableType === tableType && a.dirtyEnabled === dirtyEnabled;
}

export class IommuUnit {
  readonly id: string;
  readonly kind: IommuKind;
  readonly spec: IommuUnitSpec;
  readonly formats: readonly [TableFormat, TableFormat | null];
  private readonly _memory: PhysicalMemory;
  /** The root table address register: frame of the root table, null while translation is off. */
  rootTable: number | null = null;

  constructor(spec: IommuUnitSpec, memory: PhysicalMemory) {
    this.id = spec.id;
    this.kind = spec.kind;
    this.spec = spec;
    this._memory = memory;
    const format = (table: IommuUnitSpec['table']): TableFormat =>
      tableFormat(BigInt(table.aperture.start), BigInt(table.aperture.last), table.pageSizes.map(BigInt));
    this.formats = [format(spec.table), spec.table1 ? format(spec.table1) : null];
  }

  /** Frames of the root table and of all context tables. */
  tables(): FrameRun[] {
    if (this.rootTable === null) return [];
    const runs = [{ start: this.rootTable, count: 1 }];
    for (let bus = 0; bus < 256; bus++) {
      const table = this._memory.word(this.rootTable, bus * 2);
      if (table) runs.push({ start: table, count: 1 });
    }
    return runs;
  }

  /** Switches translation off: all DMA is refused. The tables keep their owners. */
  disable(): void {
    const { observer } = this._memory;
    const before = observer === null ? [] : this.sources().map((id): [number, ContextEntry] => [id, this.context(id)]);
    this.rootTable = null;
    for (const [id, entry] of before) observer!.contextChanged(this, id, entry, { kind: 'blocked' });
  }

  /** Gives the unit an empty root table, as a kernel does that takes it over: all DMA is refused from then on. */
  reset(): void {
    this.disable();
    const frames = this._memory.allocate(1, { owner: 'context-table' });
    if (!frames) throw new Error('no memory for a root table');
    this.rootTable = frames[0]!.start;
  }

  /** Writes the context entry of a source id. Nothing else writes context entries. */
  setContext(sourceId: number, entry: ContextEntry): void {
    const { observer } = this._memory;
    const before = observer === null ? null : this.context(sourceId);
    this._writeContext(sourceId, entry);
    if (before !== null && !sameEntry(before, entry)) observer!.contextChanged(this, sourceId, before, entry);
  }

  private _writeContext(sourceId: number, entry: ContextEntry): void {
    const frame = this._contextTable(sourceId, true)!;
    const at = (sourceId & 0xff) * ENTRY_WORDS;
    const table = entry.kind === 'table' ? entry : null;
    this._memory.setWord(
      frame,
      at,
      KIND[entry.kind] | ((table?.tableType ?? 0) << 4) | (table?.dirtyEnabled ? 0x100 : 0),
    );
    this._memory.setWord(frame, at + 1, table?.domainId ?? 0);
    this._memory.setWord(frame, at + 2, table ? (table.root ?? ROOT_NONE) : 0);
    this._memory.setWord(frame, at + 3, 0);
  }

  context(sourceId: number): ContextEntry {
    const frame = this._contextTable(sourceId, false);
    if (frame === null) return { kind: 'blocked' };
    const at = (sourceId & 0xff) * ENTRY_WORDS;
    const word = this._memory.word(frame, at);
    const kind = word & 0xf;
    if (kind === KIND.blocked) return { kind: 'blocked' };
    if (kind === KIND.identity) return { kind: 'identity' };
    const root = this._memory.word(frame, at + 2);
    return {
      kind: 'table',
      domainId: this._memory.word(frame, at + 1),
      root: root === ROOT_NONE ? null : root,
      tableType: ((word >>> 4) & 1) as 0 | 1,
      dirtyEnabled: (word & 0x100) !== 0,
    };
  }

  /** Source ids that have an entry other than "not present". */
  sources(): number[] {
    const sources: number[] = [];
    if (this.rootTable === null) return sources;
    for (let bus = 0; bus < 256; bus++) {
      const table = this._memory.word(this.rootTable, bus * 2);
      if (!table) continue;
      for (let devfn = 0; devfn < 256; devfn++)
        if (this._memory.word(table, devfn * ENTRY_WORDS) & 0xf) sources.push((bus << 8) | devfn);
    }
    return sources;
  }

  /** Returns where DMA of a source id to an IOVA goes, by the tables alone. */
  translate(sourceId: number, iova: bigint): Translation | FaultReason {
    const entry = this.context(sourceId);
    if (entry.kind === 'blocked') return 'blocked';
    if (entry.kind === 'identity') return passThrough(iova, this._memory);
    const format = this.formats[entry.tableType]!;
    if (iova > format.apertureLast || iova < format.apertureStart) return 'beyond-aperture';
    if (entry.root === null) return 'not-mapped';
    const leaf = new TableWalk(this._memory, format, entry.root).lookup(Number(iova >> BigInt(format.minShift)));
    if (!leaf) return 'not-mapped';
    const offset = Number(iova & ((1n << BigInt(leaf.shift)) - 1n));
    return {
      physical: leaf.physical + offset,
      length: 2 ** leaf.shift - offset,
      readable: (leaf.access & READ) !== 0,
      writeable: (leaf.access & WRITE) !== 0,
    };
  }

  /** Yields what IOVAs [first, last] of a function translate to, ascending, without the holes. */
  *translations(sourceId: number, first: bigint, last: bigint): Generator<Translation & { iova: bigint }> {
    const entry = this.context(sourceId);
    if (entry.kind === 'identity') yield* passThroughRange(first, last, this._memory);
    if (entry.kind !== 'table' || entry.root === null) return;
    const format = this.formats[entry.tableType]!;
    const from = first > format.apertureStart ? first : format.apertureStart;
    const to = last < format.apertureLast ? last : format.apertureLast;
    if (from > to) return;
    const shift = BigInt(format.minShift);
    const table = new TableWalk(this._memory, format, entry.root);
    for (const extent of table.extents(Number(from >> shift), Number(to >> shift))) {
      const start = BigInt(extent.unit) << shift;
      const end = start + (BigInt(extent.units) << shift) - 1n;
      const iova = start > from ? start : from;
      const until = end < to ? end : to;
      yield {
        iova,
        physical: extent.physical + Number(iova - start),
        length: Number(until - iova + 1n),
        readable: (extent.access & READ) !== 0,
        writeable: (extent.access & WRITE) !== 0,
      };
    }
  }

  /** Sets the dirty bit of the leaf behind this IOVA, where the entry says so. */
  markDirty(sourceId: number, iova: bigint): void {
    const entry = this.context(sourceId);
    if (entry.kind !== 'table' || entry.root === null || !entry.dirtyEnabled) return;
    const format = this.formats[entry.tableType]!;
    new TableWalk(this._memory, format, entry.root).setDirty(Number(iova >> BigInt(format.minShift)));
  }

  /** Returns the frame of the context table of a source id's bus; null: there is none and `create` is false. */
  private _contextTable(sourceId: number, create: boolean): number | null {
    if (this.rootTable === null) return null;
    const bus = sourceId >>> 8;
    const table = this._memory.word(this.rootTable, bus * 2);
    if (table || !create) return table || null;
    const frames = this._memory.allocate(1, { owner: 'context-table' });
    if (!frames) throw new Error('no memory for a context table');
    this._memory.setWord(this.rootTable, bus * 2, frames[0]!.start);
    return frames[0]!.start;
  }
}
