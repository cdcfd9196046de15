/**
 * The engines of a machine: told every change of what the hardware can see, and asked to look at what of their sets it concerns. A
 * change that touches none of their pages costs a comparison.
 */
import type { ContextEntry, IommuUnit } from '../iommu-unit.ts';
import type { Machine } from '../machine.ts';
import type { MachineObserver } from '../observer.ts';
import { TableWalk } from '../table-walk.ts';
import { DmaEngine, type EngineSpec, type WhyStopped } from './engine.ts';
import type { LeadingRun } from './frame-index.ts';
import { WrittenBytes } from './written-bytes.ts';

export class DmaEngines implements MachineObserver {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { next: () => null, _roots: () => null };

  private readonly _machine: Machine;
  private readonly _engines = new Map<number, DmaEngine>();
  private _nextId = 1;
  readonly written = new WrittenBytes(this);
  /** Who else is told. */
  next: MachineObserver | null = null;
  /** Those that run, by the top frame of the table that translates for them; null: not asked for yet. */
  private _roots: Map<number, DmaEngine[]> | null = null;

  constructor(machine: Machine) {
    this._machine = machine;
    machine.memory.engines = this;
  }

  /** Simulated time. */
  get now(): bigint {
    return this._machine.clock;
  }

  get all(): ReadonlyMap<number, DmaEngine> {
    return this._engines;
  }

  /** Those that run. */
  get running(): Iterable<DmaEngine> {
    return this._engines.values().filter(({ stopped }) => stopped === null);
  }

  start(spec: EngineSpec): DmaEngine {
    const engine = new DmaEngine(this._nextId++, spec, this._machine);
    this._engines.set(engine.id, engine);
    this._roots = null;
    return engine;
  }

  stop(engine: DmaEngine, why: WhyStopped): void {
    this._markDirtyOf(engine);
    engine.stop(this._machine, why);
    this._roots = null;
  }

  /** What it has seen is forgotten. */
  forget(engine: DmaEngine): void {
    this._engines.delete(engine.id);
    this._roots = null;
  }

  /** Before anything changes: what engines lead to now is what a change is told from. */
  watch(): void {
    for (const engine of this.running) engine.setIn(this._machine);
  }

  /** Ends those whose function was reset or is gone. */
  stopEnded(): DmaEngine[] {
    const ended: DmaEngine[] = [];
    for (const engine of this.running) {
      const fn = this._machine.functions.get(engine.bdf);
      if (fn !== undefined && !engine.wasReset(fn)) continue;
      this.stop(engine, fn === undefined ? 'removed' : 'reset');
      ended.push(engine);
    }
    return ended;
  }

  /** Pages of engines that run and write which lead to frames [start, end). */
  *leadingTo(start: number, end: number): Generator<LeadingRun & { engine: DmaEngine }> {
    for (const engine of this.running)
      if (engine.writes)
        for (const run of engine.setIn(this._machine)?.leadingTo(start, end) ?? []) yield { ...run, engine };
  }

  /** Frames that were free are allocated: what engines have written there is gone, and what they write is somebody else's. */
  framesAllocated(start: number, count: number): void {
    this.written.wipe(start, count);
    for (const engine of this.running) engine.framesChanged(this._machine, 'reused', start, count);
  }

  /** Before dirty bits of a table are read: what engines have written through it is in them. */
  markDirty(table: TableWalk): void {
    this._roots ??= this._byRoot();
    for (const engine of this._roots.get(table.root) ?? []) this._markDirtyOf(engine);
  }

  private _markDirtyOf(engine: DmaEngine): void {
    const fn = this._machine.functions.get(engine.bdf);
    if (fn === undefined || fn.spec.iommu === null) return;
    const unit = this._machine.unitOf(fn);
    this._markDirtyBy(engine, unit, unit.context(fn.sourceId));
  }

  private _markDirtyBy(engine: DmaEngine, unit: IommuUnit, entry: ContextEntry): void {
    if (entry.kind !== 'table' || entry.root === null || !entry.dirtyEnabled) engine.beginDirty(this._machine);
    else
      engine.markDirty(this._machine, new TableWalk(this._machine.memory, unit.formats[entry.tableType]!, entry.root));
  }

  // ---- what is told ----------------------------------------------------------------------------------------------

  contextChanged(unit: IommuUnit, sourceId: number, before: ContextEntry, after: ContextEntry): void {
    this.next?.contextChanged(unit, sourceId, before, after);
    this._roots = null;
    const isSame = before.kind === 'table' && after.kind === 'table' && before.root === after.root;
    for (const engine of this.running) {
      const fn = this._machine.functions.get(engine.bdf);
      if (fn?.sourceId !== sourceId || this._machine.unitOf(fn) !== unit) continue;
      this._markDirtyBy(engine, unit, before);
      if (!isSame) engine.lookAtAll(this._machine);
    }
  }

  leavesSet(table: TableWalk, unit: number, units: number): void {
    this.next?.leavesSet(table, unit, units);
    this._look(table, unit, units);
  }

  leavesCleared(table: TableWalk, unit: number, units: number): void {
    this.next?.leavesCleared(table, unit, units);
    this._look(table, unit, units);
  }

  framesGiven(start: number, count: number, owner: string): void {
    this.next?.framesGiven(start, count, owner);
  }

  framesReleased(start: number, count: number): void {
    this.next?.framesReleased(start, count);
  }

  framesFreed(start: number, count: number): void {
    this.next?.framesFreed(start, count);
    for (const engine of this.running) engine.framesChanged(this._machine, 'freed', start, count);
  }

  private _look({ root, format }: TableWalk, unit: number, units: number): void {
    this._roots ??= this._byRoot();
    const engines = this._roots.get(root);
    if (engines === undefined) return;
    // Of leaves of 2 KiB two make a page.
    const pages = 2 ** (format.minShift - 12);
    const [from, end] = [Math.floor(unit * pages), Math.ceil((unit + units) * pages)];
    for (const engine of engines) {
      if (!engine.mayTouch(from, end)) continue;
      this._markDirtyOf(engine);
      engine.lookAt(this._machine, from, end);
    }
  }

  private _byRoot(): Map<number, DmaEngine[]> {
    const roots = new Map<number, DmaEngine[]>();
    for (const engine of this.running) {
      const fn = this._machine.functions.get(engine.bdf);
      if (fn === undefined || fn.spec.iommu === null) continue;
      const entry = this._machine.unitOf(fn).context(fn.sourceId);
      if (entry.kind !== 'table' || entry.root === null) continue;
      roots.set(entry.root, [...(roots.get(entry.root) ?? []), engine]);
    }
    return roots;
  }
}
