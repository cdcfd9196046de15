/** Which hosts are in memory: nobody notices who is not. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { Answer } from '../../src/host/command.ts';
import { LaneBusy } from '../../src/lanes/errors.ts';
import { Heap } from '../../src/lanes/heap.ts';
import { Lane } from '../../src/lanes/lane.ts';
import type { Engine } from '../../src/lanes/replay.ts';
import { type HostMemory, newHostMemory, Residents } from '../../src/lanes/residents.ts';
import type { SqliteStore } from '../../src/store/sqlite/store.ts';
import { someTenant, temporaryStore } from '../support/store.ts';
import { FakeHost, type FakeView, SPEC } from './fake-host.ts';

const TICK = { op: 'clock.advance', nanoseconds: '1' } as const;
const KEXEC = { op: 'kexec.freeze', mode: 'live-update', image: 'loaded' } as const;
const MIB = 2 ** 20;
/** So many ticks make a snapshot worthwhile. */
const MANY = 100;
/** What is not counted here: a host takes a little more than what it says. */
const ABOUT = 1.01;

function weighing(host: FakeHost, bytes: number): Engine {
  return Object.assign(host, {
    // biome-ignore lint/correctness/useYield: it is small
    *footprint() {
      return { memory: bytes, objects: 0, mappings: 3, descriptors: 2 };
    },
  });
}

interface Lab {
  store: SqliteStore;
  lane: Lane;
  /** How hosts were built since this was looked at. */
  built(): string[];
  /** Makes hosts that take so many MiB each. */
  add(mebibytes: number, ...ids: string[]): Promise<void>;
}

interface LabOptions {
  memory: HostMemory;
  heap?: Heap;
  lane?: number;
  store?: SqliteStore;
}

async function lab(
  t: TestContext,
  { memory, heap, lane: number = 0, store = temporaryStore(t) }: LabOptions,
): Promise<Lab> {
  const tenantId = await someTenant(store, `tenant of ${number}`);
  let built: string[] = [];
  const note = (how: string, engine: Engine): Engine => {
    built.push(how);
    return engine;
  };
  const lane = new Lane({
    store,
    log: { info() {}, warn() {}, error() {} },
    allowServiceDeath: true,
    memory,
    ...(heap && { heap }),
    lane: number,
    makeHost: (spec) => note('made', weighing(new FakeHost(), Number(spec.machine.memory))),
    restoreHost: function* (bytes, engine) {
      const restored = yield* FakeHost.restore(bytes, engine);
      return { ...restored, engine: note('restored', weighing(restored.engine, MIB)) };
    },
    die: () => Promise.reject(new Error('died')),
  });
  t.after(() => lane.close());
  return {
    store,
    lane,
    built() {
      const since = built;
      built = [];
      return since;
    },
    async add(mebibytes, ...ids) {
      const created = '2026-01-01T00:00:00.000Z';
      const spec = { ...SPEC, machine: { ...SPEC.machine, memory: String(mebibytes * MIB) } };
      for (const id of ids) await lane.create({ id, tenantId, name: id, spec, created });
      built = [];
    },
  };
}

const roomFor = (mebibytes: number, lanes = 1): HostMemory => newHostMemory(mebibytes * MIB * ABOUT, lanes);
const ids = (count: number): string[] => Array.from({ length: count }, (_, index) => `h${index}`);

async function clock(lane: Lane, id: string): Promise<number> {
  const answer: Answer = await lane.query(id, { view: 'host' });
  assert.equal(answer.kind, 'ok', JSON.stringify(answer));
  return (answer as { value: FakeView }).value.clock;
}

/** Nobody waits for a host to leave, so neither is there anything else to wait for. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await setImmediate();
}

test('hosts leave when there is not room for all, least recently used first, and come back as they were', async (t) => {
  const { lane, built, add } = await lab(t, { memory: roomFor(4) });
  await add(1, ...ids(10));
  await until(() => lane.hosts === 4);
  for (const [index, id] of ids(10).entries()) {
    for (let tick = 0; tick <= index; tick += 1) await lane.execute(id, TICK);
    await until(() => lane.hosts === 4);
  }
  built();
  // These are there, and h6 is used last.
  for (const id of ['h9', 'h8', 'h7', 'h6']) await lane.query(id, { view: 'host' });
  assert.deepEqual(built(), []);
  assert.equal(await clock(lane, 'h0'), 1);
  await until(() => lane.hosts === 4);
  assert.deepEqual(built(), ['made']);
  assert.deepEqual([await clock(lane, 'h6'), await clock(lane, 'h7'), await clock(lane, 'h8')], [7, 8, 9]);
  assert.deepEqual(built(), []);
  assert.equal(await clock(lane, 'h9'), 10);
  assert.deepEqual(built(), ['made']);
});

test('a host larger than all that there is room for can be worked with, and stays as long as it is the last', async (t) => {
  const { lane, built, add } = await lab(t, { memory: roomFor(4) });
  await add(1, 'small');
  await add(100, 'large');
  for (let tick = 0; tick < 10; tick += 1) await lane.execute('large', TICK);
  await until(() => lane.hosts === 1);
  assert.equal(await clock(lane, 'large'), 10);
  assert.deepEqual(built(), []);
  assert.equal(await clock(lane, 'small'), 0);
  await until(() => lane.hosts === 1);
  assert.equal(await clock(lane, 'large'), 10);
  assert.deepEqual(built(), ['made', 'made']);
});

test('with room for nothing every host still answers', async (t) => {
  const { lane, add } = await lab(t, { memory: roomFor(0) });
  await add(1, ...ids(5));
  for (let round = 1; round <= 3; round += 1) {
    const answers = await Promise.all(ids(5).map((id) => lane.execute(id, TICK)));
    assert.deepEqual(
      answers,
      ids(5).map(() => ({ kind: 'ok', value: { now: round }, sequence: round })),
    );
    await until(() => lane.hosts === 1);
  }
});

test('a snapshot is made of what would take longer to replay', async (t) => {
  const { lane, store, built, add } = await lab(t, { memory: roomFor(1) });
  await add(1, 'long', 'short');
  await Promise.all(Array.from({ length: MANY }, () => lane.execute('long', TICK)));
  await lane.execute('short', TICK);
  await until(() => lane.hosts === 1);
  built();
  assert.equal((await store.snapshots.before('long', 1000))?.sequence, MANY);
  assert.equal(await clock(lane, 'long'), MANY);
  assert.deepEqual(built(), ['restored']);
  await until(() => lane.hosts === 1);
  assert.equal(await clock(lane, 'short'), 1);
  assert.deepEqual(built(), ['made']);
  assert.equal(await store.snapshots.before('short', 1000), undefined);
});

test('a host that is wanted while it leaves is there', async (t) => {
  const { lane, add } = await lab(t, { memory: roomFor(1) });
  await add(1, 'a', 'b');
  let expected = 0;
  for (let round = 0; round < 20; round += 1) {
    await Promise.all(Array.from({ length: MANY }, () => lane.execute('a', TICK)));
    expected += MANY;
    // Which lets the other one go.
    await lane.execute('b', TICK);
    for (let turn = 0; turn < round; turn += 1) await setImmediate();
    assert.equal(await clock(lane, 'a'), expected);
  }
});

test('a host between two kernels stays', async (t) => {
  const { lane, built, add } = await lab(t, { memory: roomFor(1) });
  await add(1, 'frozen');
  await lane.execute('frozen', { op: 'fault.arm', point: 'service.death' });
  await assert.rejects(lane.execute('frozen', KEXEC), { message: 'died' });
  await add(1, 'a', 'b', 'c');
  await until(() => lane.hosts === 2);
  assert.equal(((await lane.query('frozen', { view: 'host' })) as { value: FakeView }).value.state, 'kexec');
  assert.deepEqual(built(), []);
});

test('of hosts that there are not, that were removed or not made, nothing stays', async (t) => {
  const { lane, add } = await lab(t, { memory: newHostMemory(Number.POSITIVE_INFINITY, 1) });
  await add(1, 'h');
  for (const id of ids(100)) assert.equal((await lane.query(id, { view: 'host' })).kind, 'not-found');
  await assert.rejects(
    lane.create({ id: 'x', tenantId: 'nobody', name: 'x', spec: SPEC, created: '2026-01-01T00:00:00.000Z' }),
  );
  await until(() => lane.hosts === 1);
  await lane.remove('h');
  await until(() => lane.hosts === 0);
});

test('a lane takes more than its share as long as the others do not need theirs', async (t) => {
  const memory = roomFor(4, 2);
  const first = await lab(t, { memory });
  const second = await lab(t, { memory, lane: 1, store: first.store });
  await first.add(1, 'a', 'b', 'c', 'd');
  assert.equal(first.lane.hosts, 4);
  await second.add(1, 'e');
  await first.lane.query('d', { view: 'host' });
  await until(() => first.lane.hosts === 3);
  await second.add(1, 'f', 'g');
  await until(() => second.lane.hosts === 2);
  // It finds out without being asked for anything.
  await until(() => first.lane.hosts === 2);
  assert.equal(second.lane.hosts, 2);
});

test('in a thread whose heap is full nothing is begun, but all hosts leave, and then it goes on', async (t) => {
  let used = 0.5;
  let collections = 0;
  let lane: Lane | undefined;
  const collect = (): void => {
    collections += 1;
    if (lane?.hosts === 0) used = 0.1;
  };
  const { add, ...made } = await lab(t, {
    memory: roomFor(100),
    heap: new Heap({ used: () => ({ part: used, bytes: 0 }), collect }),
  });
  lane = made.lane;
  await add(1, ...ids(3));
  await lane.execute('h2', TICK);
  used = 0.9;
  let refused: unknown;
  while (refused === undefined) await lane.execute('h1', TICK).catch((error) => (refused = error));
  assert.ok(refused instanceof LaneBusy, String(refused));
  // Who is refused has not come so far that a host would be loaded.
  assert.deepEqual(made.built(), []);
  await until(() => used < 0.5);
  assert.ok(collections >= 2, `${collections}`);
  for (let done = false; !done; ) done = await lane.execute('h2', TICK).then(Boolean, () => false);
  assert.equal(await clock(lane, 'h2'), 2);
  assert.deepEqual(made.built(), ['made']);
});

test('an idle thread collects what there is much of, and what the program takes is no garbage', (t) => {
  let clock = 0;
  let bytes = 100 * MIB;
  let collections = 0;
  let left = 0;
  t.mock.timers.enable({ apis: ['setInterval'] });
  t.mock.method(performance, 'now', () => clock);
  t.mock.method(performance, 'eventLoopUtilization', () => ({ idle: 1, active: 0, utilization: 0 }));
  const collect = (): void => {
    collections += 1;
    bytes = left;
  };
  const residents = new Residents({
    log: { info() {}, warn() {}, error() {} },
    mostObjects: MIB,
    heap: new Heap({ used: () => ({ part: 0, bytes }), collect }),
  });
  const wait = (seconds: number): void => {
    for (let second = 0; second < seconds; second += 1) {
      clock += 1000;
      t.mock.timers.tick(1000);
    }
  };
  // MiB that come, those that a collection leaves, and collections by then.
  for (const [more, leaves, expected] of [
    [60, 0, 0],
    [8, 130, 1],
    [60, 0, 1],
    [8, 20, 2],
    [68, 0, 3],
  ] as const) {
    bytes += more * MIB;
    left = leaves * MIB;
    wait(60);
    assert.equal(collections, expected);
  }
  residents.close();
});

test('what a host takes is known, also of one that has left', async (t) => {
  const { lane, add } = await lab(t, { memory: roomFor(1.5) });
  await add(1, 'h0');
  assert.equal(lane.use('h0')!.mappings, 3);
  assert.ok(lane.use('h0')!.memory >= MIB);
  await add(1, 'h1');
  await until(() => lane.hosts === 1);
  assert.deepEqual(lane.use('h0'), { memory: 0, objects: 0, mappings: 3, descriptors: 2 });
  await lane.remove('h0');
  assert.equal(lane.use('h0'), null);
});
