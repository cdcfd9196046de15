/**
 * What engines write is what one finds who carries out every access of theirs: 60 machines, each over 300 changes, reads of memory
 * and of dirty bits in between.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildHostSpec } from '../../../src/host/host-spec.ts';
import { CODEC } from '../../../src/host/state/state.ts';
import type { DmaEngine } from '../../../src/machine/engines/engine.ts';
import { DmaEngines } from '../../../src/machine/engines/engines.ts';
import { Machine } from '../../../src/machine/machine.ts';
import { PageTable, READ, WRITE } from '../../../src/machine/page-table.ts';
import { Random } from '../../crash/random.ts';
import { finished } from '../../support/steps.ts';

const MACHINES = 60;
const CHANGES = 300;
const PAGE = 4096;
const FRAMES = 24;
const SECOND = 1_000_000_000n;

/** A machine, and each byte of some frames of it as accesses one by one have left it. */
class Stepped {
  readonly seen = { engineBytes: 0, dirty: 0 };
  readonly #random: Random;
  #machine: Machine;
  #table: PageTable;
  readonly #base: number;
  readonly #bytes: Uint8Array[];
  readonly #dirty = new Set<number>();
  #isTracking = false;
  /** Accesses that have been carried out, by engine. */
  readonly #done = new Map<number, bigint>();

  constructor(random: Random) {
    this.#random = random;
    const built = buildHostSpec({ preset: 'vmm-lab' });
    assert.ok('spec' in built);
    this.#machine = new Machine(built.spec.machine);
    const [unit] = this.#machine.units.values();
    unit!.reset();
    this.#table = PageTable.make(this.#machine.memory, unit!.formats[0])!;
    this.#base = this.#machine.memory.allocate(FRAMES, { owner: 'a', align: 8 })![0]!.start;
    this.#bytes = Array.from({ length: FRAMES }, () => new Uint8Array(PAGE));
    this.#machine.engines = new DmaEngines(this.#machine);
    this.#setContext('table');
  }

  get #engines(): DmaEngines {
    return this.#machine.engines!;
  }

  #setContext(kind: 'table' | 'identity' | 'blocked'): void {
    const [unit] = this.#machine.units.values();
    const [fn] = this.#machine.functions.values();
    const table = { kind: 'table', domainId: 1, root: this.#table.root, tableType: 0 } as const;
    const entry = kind === 'table' ? { ...table, dirtyEnabled: this.#isTracking } : ({ kind } as const);
    unit!.setContext(fn!.sourceId, entry);
  }

  change(): void {
    const random = this.#random;
    this.#machine.watchEngines();
    const first = random.below(FRAMES);
    const count = 1 + random.below(Math.min(8, FRAMES - first));
    const { memory } = this.#machine;
    const frame = this.#base + first;
    const held = (): boolean => memory.freeWithin(frame, count).length === 0;
    const change = random.below(14);
    if (change <= 3) this.#advance(BigInt(random.below(4000)));
    else if (change === 4) this.#start();
    else if (change === 5) this.#stop();
    else if (change === 6) {
      const units = Array.from({ length: count }, (_, at) => frame + at);
      if (units.every((unit) => this.#table.isFree(unit))) {
        const to = this.#base + random.below(FRAMES - count + 1);
        const access = random.chance(0.8) ? READ | WRITE : READ;
        assert.ok(this.#table.map(frame, to * PAGE, count, access, 12));
        for (const unit of units) this.#dirty.delete(unit);
      }
    } else if (change === 7) this.#table.unmap(frame, count);
    else if (change === 8) {
      const at = random.below(PAGE * count);
      const bytes = new Uint8Array(1 + random.below(PAGE * count - at)).fill(1 + random.below(255));
      memory.write(frame * PAGE + at, bytes);
      for (const [index, byte] of bytes.entries())
        this.#bytes[first + Math.floor((at + index) / PAGE)]![(at + index) % PAGE] = byte;
    } else if (change === 9) {
      if (held()) memory.clear(frame, count);
      if (held()) for (let at = first; at < first + count; at++) this.#bytes[at]!.fill(0);
    } else if (change === 10) this.#reuse(first, count);
    else if (change === 11) {
      if (!held()) return;
      const copies = memory.duplicate({ start: frame, count }, { owner: 'copy' })!;
      let at = first;
      for (const copy of copies)
        for (let of = copy.start; of < copy.start + copy.count; of++, at++)
          assert.deepEqual(this.#read(of), this.#bytes[at], 'a copy');
      for (const copy of copies) memory.release(copy.start, copy.count);
    } else if (change === 12) this.#track();
    else this.#machine = this.#rebuilt();
  }

  /** Frees frames, and has them allocated again, sooner or later. */
  #reuse(first: number, count: number): void {
    const { memory } = this.#machine;
    for (let at = first; at < first + count; at++)
      if (memory.runAt(this.#base + at)) {
        memory.release(this.#base + at, 1);
        this.#bytes[at]!.fill(0);
      }
    if (this.#random.chance(0.5)) this.#advance(2000n);
    const others: number[] = [];
    for (let tries = 0; tries < 40; tries++) {
      const { start } = memory.allocate(1, { owner: 'b' })![0]!;
      const at = start - this.#base;
      if (at < 0 || at >= FRAMES) others.push(start);
      else this.#bytes[at]!.fill(0);
    }
    for (const start of others) memory.release(start, 1);
  }

  #track(): void {
    const random = this.#random;
    const change = random.below(10);
    if (change < 3) {
      this.#isTracking = !this.#isTracking;
      this.#setContext('table');
    } else if (change < 5) this.#setContext(random.pick(['table', 'identity', 'blocked'] as const)!);
    else {
      const clear = random.chance(0.5);
      const found: number[] = [];
      this.#table.eachDirty(this.#base, this.#base + FRAMES - 1, clear, (unit) => found.push(unit));
      // A leaf that is gone takes its bit with it.
      const wanted = [...this.#dirty].filter((unit) => !this.#table.isFree(unit)).sort((a, b) => a - b);
      assert.deepEqual(found, wanted, 'dirty bits');
      this.seen.dirty += found.length;
      if (clear) this.#dirty.clear();
    }
  }

  #start(): void {
    const random = this.#random;
    if ([...this.#engines.running].length >= 3) return;
    const [fn] = this.#machine.functions.values();
    const ranges = [
      { first: this.#base + random.below(6), count: 1 + random.below(5) },
      { first: this.#base + 12 + random.below(4), count: 1 + random.below(8) },
    ];
    const access = random.pick(['write', 'both', 'read'] as const)!;
    const bytesPerSecond = BigInt(PAGE) * BigInt(1_000_000 + random.below(50_000_000));
    const engine = this.#engines.start({ bdf: fn!.bdf, access, ranges: ranges.slice(random.below(2)), bytesPerSecond });
    this.#done.set(engine.id, 0n);
  }

  #stop(): void {
    const engine = this.#random.pick([...this.#engines.all.values()]);
    if (!engine) return;
    if (engine.stopped === null) this.#engines.stop(engine, 'asked');
    if (this.#random.chance(0.5)) this.#engines.forget(engine);
  }

  /** Time goes on, and every access is carried out that falls into it. */
  #advance(nanoseconds: bigint): void {
    this.#machine.clock += nanoseconds;
    const due: { time: bigint; engine: DmaEngine; access: bigint }[] = [];
    for (const engine of this.#engines.running) {
      const perSecond = engine.rounds.bytesPerSecond / BigInt(PAGE);
      for (let access = this.#done.get(engine.id)!; ; access++) {
        const time = engine.rounds.since + ((access + 1n) * SECOND + perSecond - 1n) / perSecond;
        if (time > this.#machine.clock) {
          this.#done.set(engine.id, access);
          break;
        }
        due.push({ time, engine, access });
      }
    }
    due.sort((a, b) => Number(a.time - b.time) || a.engine.id - b.engine.id || Number(a.access - b.access));
    for (const { time, engine, access } of due) this.#carryOut(engine, access, time);
  }

  #carryOut({ id, bdf, access: how, rounds: { ranges } }: DmaEngine, access: bigint, time: bigint): void {
    const pages = ranges.flatMap(({ first, count }) => Array.from({ length: count }, (_, at) => first + at));
    const page = pages[Number(access % BigInt(pages.length))]!;
    const fn = this.#machine.functions.get(bdf)!;
    const found = this.#machine.translate(fn, BigInt(page * PAGE));
    if (typeof found === 'string' || how === 'read' || !found.writeable) return;
    const frame = Math.floor(found.physical / PAGE) - this.#base;
    const records = new BigUint64Array(PAGE / 8);
    for (let at = 0; at < PAGE; at += 32)
      records.set([BigInt(page * PAGE + at), BigInt(id), access / BigInt(pages.length), time], at / 8);
    this.#bytes[frame]!.set(new Uint8Array(records.buffer));
    const [unit] = this.#machine.units.values();
    const entry = unit!.context(fn.sourceId);
    if (entry.kind === 'table' && entry.dirtyEnabled) this.#dirty.add(page);
  }

  #read(frame: number): Uint8Array {
    const bytes = new Uint8Array(PAGE);
    this.#machine.memory.read(frame * PAGE, bytes);
    return bytes;
  }

  /** As it comes back from a snapshot. */
  #rebuilt(): Machine {
    const [machine, table] = finished(CODEC.decode(finished(CODEC.encode([this.#machine, this.#table])))) as [
      Machine,
      PageTable,
    ];
    this.#table = table;
    return machine;
  }

  check(): void {
    const { memory } = this.#machine;
    const first = this.#random.below(FRAMES);
    for (let at = 0; at < FRAMES; at++)
      assert.deepEqual(this.#read(this.#base + at), this.#bytes[at], `frame ${at} of ${FRAMES}`);
    const at = this.#random.below(PAGE);
    const part = new Uint8Array(1 + this.#random.below((FRAMES - first) * PAGE - at));
    memory.read((this.#base + first) * PAGE + at, part);
    const all = Buffer.concat(this.#bytes).subarray(first * PAGE + at, first * PAGE + at + part.length);
    assert.equal(Buffer.compare(part, all), 0, 'a part of it');
    this.seen.engineBytes += this.#bytes.filter((bytes) => bytes[4] === 0 && bytes[8] !== 0 && bytes[9] === 0).length;
  }
}

test(`bytes and dirty bits are those of accesses one by one, over ${MACHINES} machines`, (context) => {
  const seen = { engineBytes: 0, dirty: 0 };
  for (let seed = 1; seed <= MACHINES; seed++) {
    const machine = new Stepped(new Random('written-bytes', seed));
    for (let count = 0; count < CHANGES; count++) {
      machine.change();
      if (count % 3 === 0) machine.check();
    }
    seen.engineBytes += machine.seen.engineBytes;
    seen.dirty += machine.seen.dirty;
  }
  context.diagnostic(`frames with an engine's bytes: ${seen.engineBytes}; dirty leaves: ${seen.dirty}`);
  assert.ok(seen.engineBytes > 5000 && seen.dirty > 300);
});
