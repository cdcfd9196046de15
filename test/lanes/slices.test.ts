/** Long commands: how others get their turns, and how they end before they are done. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Command } from '../../src/host/command.ts';
import { ClientGone, type GivenUp, HostFault, ServiceStopping, TooCostly } from '../../src/lanes/errors.ts';
import { Heap } from '../../src/lanes/heap.ts';
import { PIECE } from '../../src/lanes/json-pieces.ts';
import { Lane, type LaneOptions } from '../../src/lanes/lane.ts';
import { newHostMemory } from '../../src/lanes/residents.ts';
import { Effort, SLICE_MS } from '../../src/lanes/slices.ts';
import type { Store } from '../../src/store/store.ts';
import { isPacked } from '../../src/threads/packed.ts';
import { someTenant, temporaryStore } from '../support/store.ts';
import { FakeHost, type FakeView, type Quirks, SPEC } from './fake-host.ts';

const TICK = { op: 'clock.advance', nanoseconds: '1' } as const;
const BATCH = { op: 'batch', pid: 1, fd: 3, ioas: 1, format: 'packed' } as const;
const FIRST = { state: 'running', kernel: 1, clock: 0, dma: 0 };

const calls = (count: number): Command => ({
  op: 'calls',
  pid: 1,
  calls: Array.from({ length: count }, () => ({ call: 'close', fd: 3 })),
});

function work(milliseconds: number): undefined {
  for (const end = performance.now() + milliseconds; performance.now() < end; );
}

/** Each call, and each step of a batch, takes more than a slice. */
const aSlice = (): void => work(SLICE_MS);

interface Lab {
  store: Store;
  start(quirks?: Quirks, options?: Partial<LaneOptions>): Lane;
  /** What is stored of `h`. There is another host, `other`. */
  journal(): Promise<string[]>;
}

async function lab(t: TestContext): Promise<Lab> {
  const store = temporaryStore(t);
  const tenantId = await someTenant(store);
  const log = { info() {}, warn() {}, error() {} };
  const start: Lab['start'] = (quirks = {}, options = {}) =>
    new Lane({
      store,
      log,
      allowServiceDeath: false,
      makeHost: () => new FakeHost(quirks),
      restoreHost: (bytes, engine) => FakeHost.restore(bytes, engine, quirks),
      die: () => Promise.reject(new Error('not here')),
      ...options,
    });
  const lane = start();
  for (const id of ['h', 'other'])
    await lane.create({ id, tenantId, name: id, spec: SPEC, created: '2026-01-01T00:00:00.000Z' });
  return {
    store,
    start,
    journal: async () => (await store.journal.read('h', 0)).map(({ command }) => JSON.parse(command).op),
  };
}

async function view(lane: Lane, id = 'h'): Promise<FakeView> {
  const answer = await lane.query(id, { view: 'host' });
  assert.equal(answer.kind, 'ok', JSON.stringify(answer));
  return (answer as { value: FakeView }).value;
}

/** How often another host was answered until the work was done. */
async function meanwhile(lane: Lane, done: Promise<unknown>): Promise<number> {
  let isDone = false;
  const note = (): void => {
    isDone = true;
  };
  const settled = done.then(note, note);
  let times = 0;
  while (!isDone) {
    await view(lane, 'other');
    times += 1;
  }
  await settled;
  return times;
}

test('between calls others have their turns, and nobody has one with the same host', async (t) => {
  const { start, journal } = await lab(t);
  const lane = start({ onCall: aSlice });
  await view(lane);
  const done = lane.execute('h', calls(20));
  const query = view(lane);
  assert.ok((await meanwhile(lane, done)) >= 10);
  assert.deepEqual(await done, { kind: 'ok', value: { now: 20 }, sequence: 1 });
  assert.equal((await query).clock, 20);
  assert.deepEqual(await journal(), ['calls']);
});

test('a replay makes room for others as the first time did, and has no bound', async (t) => {
  const { start, store } = await lab(t);
  await start().execute('h', calls(20));
  const lane = start({ onCall: aSlice }, { commandTime: 2 * SLICE_MS });
  const seen = view(lane);
  assert.ok((await meanwhile(lane, seen)) >= 10);
  assert.deepEqual(await seen, { ...FIRST, clock: 20 });
  assert.equal((await store.hosts.get('h'))?.diverged, null);
});

for (const [what, end, error] of [
  ['that takes longer than it may', null, TooCostly],
  ['whose client goes', 'go', ClientGone],
  ['that the stop of the service meets', 'stop', ServiceStopping],
] as const)
  for (const kind of ['calls', 'batch'] as const)
    test(`of ${kind} ${what} nothing has happened`, async (t) => {
      const { start, journal } = await lab(t);
      const client = { isGone: false };
      let steps = 0;
      const onCall = (): void => {
        aSlice();
        steps += 1;
        if (steps !== 3) return;
        if (end === 'go') client.isGone = true;
        if (end === 'stop') void lane.stop();
      };
      const lane = start({ onCall }, end === null ? { commandTime: 10 * SLICE_MS } : {});
      await lane.execute('h', TICK);
      const done =
        kind === 'calls'
          ? lane.execute('h', calls(1000), client)
          : lane.batch('h', { ...BATCH, base: 1000 }, new Uint8Array(), client);
      const refused = await done.catch((reason: unknown) => reason);
      assert.ok(refused instanceof error, String(refused));
      assert.ok(steps < (end === null ? 12 : 4), `${steps} steps`);
      assert.deepEqual(await journal(), ['clock.advance']);
      const next = end === 'stop' ? start() : lane;
      assert.deepEqual(await view(next), { ...FIRST, clock: 1 });
      await next.execute('h', TICK);
      assert.deepEqual(await view(start()), { ...FIRST, clock: 2 });
    });

/** Whoever reads one of its parts, each of them a piece, needs a slice for that. */
const PARTS = Array.from({ length: 20 }, () => ({
  get data() {
    aSlice();
    return 'x'.repeat(PIECE);
  },
}));

test('while a large answer is made, or compared at a replay, others have their turns', async (t) => {
  const { start, store } = await lab(t);
  const lane = start({ more: { parts: PARTS } });
  await view(lane);
  const made = lane.execute('h', TICK);
  assert.ok((await meanwhile(lane, made)) >= 10);
  assert.deepEqual(JSON.parse(String(((await made) as { value: Buffer }).value)), {
    now: 1,
    parts: PARTS.map(({ data }) => ({ data })),
  });
  const shown = lane.query('h', { view: 'faults' });
  assert.ok((await meanwhile(lane, shown)) >= 10);
  assert.ok(isPacked(((await shown) as { value: unknown }).value));
  const later = start({ more: { parts: PARTS } });
  const replayed = view(later);
  assert.ok((await meanwhile(later, replayed)) >= 10);
  assert.deepEqual(await replayed, { ...FIRST, clock: 1 });
  assert.equal((await store.hosts.get('h'))?.diverged, null);
});

test('between steps of a query others have their turns, and it may end there', async (t) => {
  const { start } = await lab(t);
  const client = { isGone: false };
  let onStep = aSlice;
  const lane = start({ onCall: () => onStep() });
  await view(lane);
  const found = lane.query('h', { view: 'domains' });
  assert.ok((await meanwhile(lane, found)) >= 10);
  assert.deepEqual(await found, { kind: 'ok', value: [], sequence: 0 });
  onStep = () => {
    aSlice();
    throw new Error('a bug');
  };
  await assert.rejects(lane.query('h', { view: 'domains' }), HostFault);
  onStep = () => {
    aSlice();
    client.isGone = true;
  };
  await assert.rejects(lane.query('h', { view: 'domains' }, client), ClientGone);
  assert.deepEqual(await view(lane), FIRST);
});

test('a large answer that differs only at its end is another one', async (t) => {
  const { start, store } = await lab(t);
  const parts = (last: string): object => ({ parts: [...PARTS.map(() => 'x'.repeat(PIECE)), last] });
  await start({ more: parts('a') }).execute('h', TICK);
  await view(start({ more: parts('b') }));
  assert.equal((await store.hosts.get('h'))?.diverged?.sequence, 1);
});

test('of a command that is given up while its answer is digested nothing has happened', async (t) => {
  const { start, journal } = await lab(t);
  const client = { isGone: false };
  const last = {
    get data() {
      client.isGone = true;
      return 'x';
    },
  };
  const lane = start({ more: { parts: [...PARTS, last, ...PARTS] } });
  await assert.rejects(lane.execute('h', TICK, client), ClientGone);
  assert.deepEqual(await journal(), []);
  assert.deepEqual(await view(lane), FIRST);
});

test('the bound names itself', async (t) => {
  const { start } = await lab(t);
  const lane = start({ onCall: aSlice }, { commandTime: 5 * SLICE_MS });
  await assert.rejects(lane.execute('h', calls(1000)), /more than 0\.005 s of work/);
});

test('the time of others does not count', async () => {
  const others = { pause: (): undefined => work(50), resume: () => {} };
  const effort = new Effort(others, () => {});
  for (let slice = 0; slice < 20; slice += 1) {
    work(1);
    await effort.pause();
    effort.resume();
  }
  assert.ok(effort.worked >= 20 && effort.worked < 500, `${effort.worked} ms`);
});

async function allRejected(promises: readonly Promise<unknown>[], error: typeof GivenUp): Promise<void> {
  for (const outcome of await Promise.allSettled(promises))
    assert.ok(outcome.status === 'rejected' && outcome.reason instanceof error, JSON.stringify(outcome));
}

test('what waits is not begun for a client that is gone, nor while the service stops', async (t) => {
  const { start, journal } = await lab(t);
  const lane = start({ onCall: aSlice });
  const first = lane.execute('h', calls(5));
  const client = { isGone: false };
  const waiting = [
    lane.execute('h', TICK, client),
    lane.batch('h', BATCH, new Uint8Array(), client),
    lane.query('h', { view: 'host' }, client),
  ];
  client.isGone = true;
  await allRejected(waiting, ClientGone);
  await first;
  const begun = [lane.execute('h', calls(5)), lane.execute('h', TICK), lane.remove('h')];
  const stopped = lane.stop();
  await allRejected([...begun, lane.query('other', { view: 'host' })], ServiceStopping);
  await stopped;
  await lane.close();
  assert.deepEqual(await journal(), ['calls']);
});

test('a fault between calls leaves nothing of them', async (t) => {
  const { start, journal } = await lab(t);
  const onCall = (number: number): void => {
    aSlice();
    if (number === 5) throw new Error('a bug');
  };
  const lane = start({ onCall });
  await lane.execute('h', TICK);
  await assert.rejects(lane.execute('h', calls(10)), HostFault);
  assert.deepEqual(await view(lane), { ...FIRST, clock: 1 });
  assert.deepEqual(await journal(), ['clock.advance']);
});

test('a stop in the middle of a replay does not take the host for a diverged one', async (t) => {
  const { start, store } = await lab(t);
  await start().execute('h', calls(20));
  const lane = start({ onCall: (number) => (number === 5 ? void lane.stop() : aSlice()) });
  await assert.rejects(view(lane), ServiceStopping);
  assert.equal((await store.hosts.get('h'))?.diverged, null);
  assert.equal((await view(start())).clock, 20);
});

test('a snapshot is due by the time that a replay would take', async (t) => {
  const { start, store } = await lab(t);
  const stored = Promise.withResolvers<number>();
  const put: Store['snapshots']['put'] = async (snapshot) => {
    await store.snapshots.put(snapshot);
    stored.resolve(snapshot.sequence);
  };
  const lane = start({ onCall: () => work(25) }, { store: { ...store, snapshots: { ...store.snapshots, put } } });
  await lane.execute('h', calls(2));
  await view(lane);
  await lane.execute('h', calls(12));
  assert.equal(await stored.promise, 2);
});

test('however often the service is killed, what was long to replay is not behind the next long command, too', async (t) => {
  const { start, store } = await lab(t);
  let done = 0;
  const onCall = (): void => {
    done += 1;
    work(60);
  };
  // As if the service died each time before a snapshot of what came last was stored.
  for (let death = 0; death < 3; death += 1) {
    const answered = Promise.withResolvers<void>();
    const put: Store['snapshots']['put'] = async (snapshot) => {
      if (snapshot.sequence > death) await answered.promise.then(() => new Promise(() => {}));
      await store.snapshots.put(snapshot);
    };
    const dying = start({ onCall }, { store: { ...store, snapshots: { ...store.snapshots, put } } });
    done = 0;
    assert.equal((await dying.execute('h', calls(5))).kind, 'ok');
    // What was replayed, and its own.
    assert.ok(done <= 10, `${done} calls`);
    answered.resolve();
  }
});

test('a stop makes snapshots while there is time, first of what takes longest to replay', async (t) => {
  const { start, store } = await lab(t);
  const order: string[] = [];
  const put: Store['snapshots']['put'] = async (snapshot) => {
    order.push(snapshot.hostId);
    await store.snapshots.put(snapshot);
  };
  const lane = start({ onCall: () => work(30) }, { store: { ...store, snapshots: { ...store.snapshots, put } } });
  await lane.execute('other', calls(2));
  await lane.execute('h', calls(6));
  await lane.close();
  assert.deepEqual(order, ['h', 'other']);
});

test('what makes a host larger than a host may be is ended, and has not happened', async (t) => {
  const { start, journal } = await lab(t);
  let bytes = 0;
  let steps = 0;
  // Longer than what is in memory of the thread is taken for known.
  const onCall = (): undefined => {
    bytes += 2 ** 26;
    steps += 1;
    return work(25);
  };
  const heavy = Object.assign(new FakeHost({ onCall }), {
    // biome-ignore lint/correctness/useYield: it is small
    *footprint() {
      return { memory: bytes, objects: 0, mappings: 0, descriptors: 0 };
    },
  });
  const lane = start(
    {},
    {
      makeHost: () => heavy,
      memory: newHostMemory(2 ** 29, 1),
      heap: new Heap({ used: () => ({ part: 0.1, bytes }) }),
    },
  );
  // Half of what there is for all: 256 MiB, which the fourth of these fills.
  await lane.execute('h', calls(3));
  await assert.rejects(lane.execute('h', calls(20)), /would come to take more than 256 MiB of memory/);
  assert.ok(steps < 12, `${steps}`);
  assert.deepEqual(await journal(), ['calls']);
});
