/** A machine as it follows from what its observer is told, to be compared with the machine itself. */
import assert from 'node:assert/strict';
import type { ContextEntry, IommuUnit } from '../../src/machine/iommu-unit.ts';
import type { Machine } from '../../src/machine/machine.ts';
import { FRAME_SIZE } from '../../src/machine/memory.ts';
import type { MachineObserver } from '../../src/machine/observer.ts';
import { TableWalk } from '../../src/machine/table-walk.ts';

interface Interval {
  start: number;
  end: number;
}

/** Disjoint intervals, ascending; neighbours are one. */
class Intervals {
  all: Interval[] = [];

  touches(start: number, end: number): boolean {
    return this.all.some((interval) => interval.start < end && start < interval.end);
  }

  remove(start: number, end: number): void {
    this.all = this.all.flatMap((interval) => {
      if (interval.end <= start || interval.start >= end) return [interval];
      const rest: Interval[] = [];
      if (interval.start < start) rest.push({ start: interval.start, end: start });
      if (interval.end > end) rest.push({ start: end, end: interval.end });
      return rest;
    });
  }

  add(start: number, end: number): void {
    this.remove(start, end);
    const joined: Interval[] = [];
    for (const interval of [...this.all, { start, end }].sort((a, b) => a.start - b.start)) {
      const left = joined.at(-1);
      if (left && left.end === interval.start) left.end = interval.end;
      else joined.push({ ...interval });
    }
    this.all = joined;
  }
}

const BLOCKED: ContextEntry = { kind: 'blocked' };

export class Shadow implements MachineObserver {
  /** How often each thing was told. */
  readonly told = { context: 0, set: 0, cleared: 0, given: 0, released: 0, freed: 0 };
  readonly #machine: Machine;
  readonly #contexts = new Map<IommuUnit, Map<number, ContextEntry>>();
  /** Units that have a leaf, by the top frame of their table. */
  readonly #leaves = new Map<number, Intervals>();
  /** Frames by owner. */
  readonly #frames = new Map<string, Intervals>();

  /** Watches a machine that has been running for a while. */
  constructor(machine: Machine) {
    this.#machine = machine;
    for (const unit of machine.units.values()) {
      this.#contexts.set(unit, new Map(unit.sources().map((id) => [id, unit.context(id)])));
      for (const table of attached(unit, machine)) this.#leaves.set(table.root, leavesOf(table));
    }
    for (const run of runsOf(machine)) this.#framesOf(run.owner).add(run.start, run.start + run.count);
    machine.observer = this;
  }

  contextChanged(unit: IommuUnit, sourceId: number, before: ContextEntry, after: ContextEntry): void {
    this.told.context++;
    const entries = this.#contexts.get(unit)!;
    assert.deepEqual(before, entries.get(sourceId) ?? BLOCKED);
    assert.deepEqual(unit.context(sourceId), after, 'it is told after the write');
    assert.notDeepEqual(after, before);
    if (after.kind === 'blocked') entries.delete(sourceId);
    else entries.set(sourceId, after);
  }

  leavesSet(table: TableWalk, unit: number, units: number): void {
    this.told.set++;
    const leaves = this.#leaves.get(table.root) ?? new Intervals();
    this.#leaves.set(table.root, leaves);
    assert.ok(!leaves.touches(unit, unit + units), 'they had no leaf before');
    leaves.add(unit, unit + units);
    const mapped = [...table.extents(unit, unit + units - 1)].reduce((sum, extent) => sum + extent.units, 0);
    assert.equal(mapped, units, 'all of them have one now');
  }

  leavesCleared(table: TableWalk, unit: number, units: number): void {
    this.told.cleared++;
    this.#leaves.get(table.root)?.remove(unit, unit + units);
    assert.deepEqual([...table.extents(unit, unit + units - 1)], []);
  }

  framesGiven(start: number, count: number, owner: string): void {
    this.told.given++;
    for (const frames of this.#frames.values()) frames.remove(start, start + count);
    this.#framesOf(owner).add(start, start + count);
    for (const frame of [start, start + count - 1]) assert.equal(this.#machine.memory.runAt(frame)?.owner, owner);
  }

  framesReleased(start: number, count: number): void {
    this.told.released++;
    assert.ok([...this.#frames.values()].some((frames) => frames.touches(start, start + count)));
  }

  framesFreed(start: number, count: number): void {
    this.told.freed++;
    for (const frames of this.#frames.values()) frames.remove(start, start + count);
    assert.deepEqual(this.#machine.memory.freeWithin(start, count), [{ start, count }]);
    for (const { physical, bytes } of this.#reachable())
      assert.ok(
        physical >= (start + count) * FRAME_SIZE || physical + bytes <= start * FRAME_SIZE,
        'no device reaches it',
      );
    for (const root of this.#leaves.keys()) if (root >= start && root < start + count) this.#leaves.delete(root);
  }

  /** The machine is what has been told of it. */
  compare(): void {
    for (const [unit, entries] of this.#contexts) {
      assert.deepEqual([...entries.keys()].sort(ascending), unit.sources().sort(ascending));
      for (const [id, entry] of entries) assert.deepEqual(unit.context(id), entry);
      for (const table of attached(unit, this.#machine))
        assert.deepEqual(this.#leaves.get(table.root)?.all ?? [], leavesOf(table).all, `table at frame ${table.root}`);
    }
    const owned = new Map<string, number>();
    for (const [owner, { all }] of this.#frames) {
      const count = all.reduce((sum, { start, end }) => sum + end - start, 0);
      if (count > 0) owned.set(owner, count);
      for (const { start, end } of all) assert.deepEqual(this.#machine.memory.freeWithin(start, end - start), []);
    }
    assert.deepEqual([...owned].sort(), [...this.#machine.memory.owners()].sort());
  }

  /** What devices translate to. */
  *#reachable(): Generator<{ physical: number; bytes: number }> {
    for (const unit of this.#machine.units.values())
      for (const table of attached(unit, this.#machine))
        for (const { physical, units } of table.extents(0, Number.MAX_SAFE_INTEGER))
          yield { physical, bytes: units * 2 ** table.format.minShift };
  }

  #framesOf(owner: string): Intervals {
    const frames = this.#frames.get(owner) ?? new Intervals();
    this.#frames.set(owner, frames);
    return frames;
  }
}

const ascending = (a: number, b: number): number => a - b;

/** The tables that context entries of a unit point to, as hardware walks them. */
function* attached(unit: IommuUnit, { memory }: Machine): Generator<TableWalk> {
  for (const id of unit.sources()) {
    const entry = unit.context(id);
    if (entry.kind === 'table' && entry.root !== null)
      yield new TableWalk(memory, unit.formats[entry.tableType]!, entry.root);
  }
}

function leavesOf(table: TableWalk): Intervals {
  const leaves = new Intervals();
  for (const { unit, units } of table.extents(0, Number.MAX_SAFE_INTEGER)) leaves.add(unit, unit + units);
  return leaves;
}

function runsOf({ memory }: Machine): { start: number; count: number; owner: string }[] {
  const runs = [];
  for (let frame = 1; frame < memory.frames; ) {
    const run = memory.runAt(frame);
    const [hole] = run ? [] : memory.freeWithin(frame, memory.frames - frame);
    if (run) runs.push(run);
    frame = run ? run.start + run.count : hole!.start + hole!.count;
  }
  return runs;
}
