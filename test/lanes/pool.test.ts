/** Lanes as threads, with real hosts. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import Database from 'better-sqlite3';
import type { Answer, Command } from '../../src/host/command.ts';
import { buildHostSpec } from '../../src/host/host-spec.ts';
import { ClientGone, HostFault, LaneBusy, ServiceStopping, ThreadDied } from '../../src/lanes/errors.ts';
import { laneOf } from '../../src/lanes/owner.ts';
import { LanePool, type PoolOptions } from '../../src/lanes/pool.ts';
import { connectForReading } from '../../src/store/sqlite/database.ts';
import { openStore, type SqliteStore } from '../../src/store/sqlite/store.ts';
import { type Store, StoreUnavailable } from '../../src/store/store.ts';
import type { Client } from '../../src/threads/client.ts';
import { temporaryDirectory } from '../support/service.ts';
import { someTenant } from '../support/store.ts';
import { SPEC } from './fake-host.ts';

const TICK = { op: 'clock.advance', nanoseconds: '1' } as const;
const CREATED = '2026-01-01T00:00:00.000Z';

interface Lab {
  store: SqliteStore;
  pool: LanePool;
  tenantId: string;
  /** What the lanes logged as an error. */
  errors: string[];
  add(...ids: string[]): Promise<void>;
}

async function lab(
  t: TestContext,
  options: Partial<PoolOptions> = {},
  directory = temporaryDirectory(t),
): Promise<Lab> {
  const store = openStore({ directory });
  const tenantId = await someTenant(store);
  const errors: string[] = [];
  const log = { info() {}, warn() {}, error: (_details: object, message: string) => void errors.push(message) };
  const pool = new LanePool({ store, log, lanes: 2, allowServiceDeath: false, ...options });
  t.after(async () => {
    await pool.close();
    await store.close();
  });
  return {
    store,
    pool,
    tenantId,
    errors,
    async add(...ids) {
      await Promise.all(ids.map((id) => pool.create({ id, tenantId, name: id, spec: SPEC, created: CREATED })));
    },
  };
}

/** Who waits for an answer until `go`. */
function clientThat(): Client & { go: () => void } {
  const told: (() => void)[] = [];
  const client = {
    isGone: false,
    whenGone: (tell: () => void) => {
      told.push(tell);
      return () => {};
    },
    go() {
      client.isGone = true;
      for (const tell of told) tell();
    },
  };
  return client;
}

/** Names of hosts, of which each lane of two owns one. */
function oneForEachLane(): [string, string] {
  const ids = Array.from({ length: 20 }, (_, index) => `h${index}`);
  return [ids.find((id) => laneOf(id, 2) === 0)!, ids.find((id) => laneOf(id, 2) === 1)!];
}

/** Keeps a lane for a while. */
function longCommand(pid: number): Command {
  return {
    op: 'calls',
    pid,
    calls: Array.from({ length: 50_000 }, () => ({ call: 'open', path: '/nowhere' }) as const),
  };
}

async function newProcess(pool: LanePool, hostId: string): Promise<number> {
  const answer = await pool.execute(hostId, { op: 'process.create' });
  return (answer as { value: { pid: number } }).value.pid;
}

async function timeOf(pool: LanePool, hostId: string): Promise<number> {
  const answer = await pool.query(hostId, { view: 'host' });
  return Number((answer as { value: { time: string } }).value.time);
}

/** As a client that is answered 503. */
async function untilServed(ask: () => Promise<Answer>): Promise<void> {
  for (;;) {
    try {
      assert.equal((await ask()).kind, 'ok');
      return;
    } catch (error) {
      if (!(error instanceof ThreadDied)) throw error;
    }
  }
}

const sequences = async (store: Store, id: string): Promise<number[]> =>
  (await store.journal.read(id, 0)).map(({ sequence }) => sequence);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
const fulfilled = (outcomes: PromiseSettledResult<Answer>[]): number =>
  outcomes.filter(({ status }) => status === 'fulfilled').length;

for (const lanes of [1, 2]) {
  test(`with ${lanes} lane(s): hosts are created, used, read, removed, and there again at the next start`, async (t) => {
    const { store, pool, add } = await lab(t, { lanes });
    await add('a', 'b', 'c');
    const answers = await Promise.all(['a', 'b', 'c', 'a'].map((id) => pool.execute(id, TICK)));
    assert.ok(answers.every(({ kind }) => kind === 'ok'));
    // What is not found is not journaled, and leaves no trace.
    assert.equal((await pool.execute('a', { op: 'process.kill', pid: 99 })).kind, 'not-found');
    await pool.execute('a', TICK);
    const time = await timeOf(pool, 'a');
    await pool.remove('b');
    assert.equal((await pool.query('b', { view: 'host' })).kind, 'not-found');
    // What others write gets to the one writer too.
    await store.tenants.create('later', 'its hash');
    assert.equal((await store.tenants.findByKeyHash('its hash'))?.tenant.name, 'later');
    await pool.close();

    const again = new LanePool({ store, log: { info() {}, warn() {}, error() {} }, lanes, allowServiceDeath: false });
    await again.recover();
    assert.equal(await timeOf(again, 'a'), time);
    assert.equal((await again.execute('a', TICK)).kind, 'ok');
    assert.deepEqual(await sequences(store, 'a'), [1, 2, 3, 4]);
    await again.close();
  });

  test(`with ${lanes} lane(s): a lane that is killed is replaced, and its hosts have all that was acknowledged`, async (t) => {
    const { store, pool, add, errors } = await lab(t, { lanes });
    const [victim, other] = oneForEachLane();
    await add(victim, other);
    let acknowledged = 0;
    let asked = 0;
    for (let round = 0; round < 3; round += 1) {
      acknowledged += fulfilled(await Promise.allSettled(upTo(20).map(() => pool.execute(victim, TICK))));
      const waiting = upTo(50).map(() => pool.execute(victim, TICK));
      const besides = Promise.allSettled(upTo(50).map(() => pool.execute(other, TICK)));
      await waiting[round * 10];
      await pool.kill(victim);
      asked += 70;
      const outcomes = await Promise.allSettled(waiting);
      acknowledged += fulfilled(outcomes);
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') assert.ok(outcome.reason instanceof ThreadDied);
      if (lanes === 2) assert.equal(fulfilled(await besides), 50);
      await besides;
      assert.equal((await pool.execute(victim, TICK)).kind, 'ok');
      acknowledged += 1;
      asked += 1;
    }
    const stored = await sequences(store, victim);
    assert.deepEqual(stored, upTo(stored.length));
    assert.ok(stored.length >= acknowledged && stored.length <= asked, `${acknowledged} ${stored.length} ${asked}`);
    // Each command takes 1000 ns, and a tick one more.
    assert.equal(await timeOf(pool, victim), stored.length * 1001);
    assert.deepEqual([...new Set(errors)], ['a lane died: another one takes its place']);
  });
}

test('a lane that works does not keep the other one', async (t) => {
  const { pool, add } = await lab(t);
  const [busy, free] = oneForEachLane();
  await add(busy, free);
  const pid = await newProcess(pool, busy);
  const order: string[] = [];
  await Promise.all([
    pool.execute(busy, longCommand(pid)).then(() => order.push('long')),
    pool.execute(free, TICK).then(() => order.push('short')),
  ]);
  assert.deepEqual(order, ['short', 'long']);
});

test('a host with much to do does not keep the others of its lane', async (t) => {
  const { pool, add } = await lab(t, { lanes: 1 });
  await add('a', 'b');
  const pid = await newProcess(pool, 'a');
  const order: string[] = [];
  await Promise.all([
    ...upTo(4).map(() => pool.execute('a', longCommand(pid)).then(() => order.push('a'))),
    pool.execute('b', TICK).then(() => order.push('b')),
  ]);
  assert.ok(order.indexOf('b') <= 1, order.join(' '));
});

test('when too much waits, more is refused at once, and let in again later', async (t) => {
  const { pool, store, add } = await lab(t, { lanes: 1, limits: { commands: 4, bytes: 1 << 20 } });
  await add('a', 'b');
  const outcomes = await Promise.allSettled([...upTo(10).map(() => pool.execute('a', TICK)), pool.execute('b', TICK)]);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    [...upTo(4).map(() => 'fulfilled'), ...upTo(6).map(() => 'rejected'), 'fulfilled'],
  );
  assert.ok((outcomes[9] as PromiseRejectedResult).reason instanceof LaneBusy);
  assert.deepEqual(await sequences(store, 'a'), [1, 2, 3, 4]);
  assert.equal((await pool.execute('a', TICK)).kind, 'ok');
});

test('when the writer dies, nothing acknowledged is lost and the lanes go on', async (t) => {
  const { store, pool, add, errors } = await lab(t);
  const hosts = oneForEachLane();
  await add(...hosts);
  const waiting = upTo(50).flatMap(() => hosts.map((host) => pool.execute(host, TICK)));
  await waiting[10];
  await store.killWriter();
  const outcomes = await Promise.allSettled(waiting);
  for (const host of hosts) await untilServed(() => pool.execute(host, TICK));
  const stored = await Promise.all(hosts.map((host) => sequences(store, host)));
  for (const list of stored) assert.deepEqual(list, upTo(list.length));
  assert.ok(stored.flat().length >= fulfilled(outcomes) + 2);
  assert.ok(errors.includes('the lanes have lost the store: all of them begin anew'));
});

test('whichever thread writes, a check of the store has it store something', async (t) => {
  for (const lanes of [1, 2]) {
    const { store, add } = await lab(t, { lanes });
    // Then its thread is there: a check does not wait for long.
    await add('h');
    await store.check();
    const parts = connectForReading(store.directory);
    t.after(() => parts.close());
    assert.equal(parts.prepare('SELECT length(data) FROM parts').pluck().get(), 65_536);
  }
});

test('errors keep their meaning from thread to thread', async (t) => {
  const { pool, tenantId, errors } = await lab(t);
  const row = { id: 'h', tenantId, name: 'h', spec: SPEC, created: CREATED };
  const broken = { ...row, spec: { ...SPEC, machine: { ...SPEC.machine, memory: 'plenty' } } };
  await assert.rejects(pool.create(broken), (error) => {
    assert.ok(error instanceof HostFault);
    assert.match(error.incident, /^[0-9a-f-]{36}$/);
    return true;
  });
  assert.deepEqual(errors, ['a host failed inside']);
  await assert.rejects(pool.create({ ...row, tenantId: 'nobody' }), StoreUnavailable);
  assert.equal((await pool.query('nowhere', { view: 'host' })).kind, 'not-found');
  const answer = await pool.create(row);
  assert.equal(answer.kind, 'ok');
  assert.deepEqual(await pool.execute('h', { op: 'device.flr', bdf: '0000:01:00.0' }), {
    kind: 'not-found',
    what: 'device 0000:01:00.0',
  });
});

test('real hosts come back from the snapshots of a clean stop', async (t) => {
  const { store, pool, tenantId } = await lab(t);
  const built = buildHostSpec({ preset: 'vmm-lab' });
  assert.ok('spec' in built);
  await pool.create({ id: 'h', tenantId, name: 'h', spec: built.spec, created: CREATED });
  const pid = await newProcess(pool, 'h');
  const opens = upTo(150).map(() => ({ call: 'open', path: '/dev/iommu' }) as const);
  await Promise.all(opens.map((call) => pool.execute('h', { op: 'calls', pid, calls: [call] })));
  const views = (lanes: LanePool): Promise<Answer[]> =>
    Promise.all((['host', 'devices', 'groups', 'processes'] as const).map((view) => lanes.query('h', { view })));
  const before = await views(pool);
  await pool.close();
  assert.equal((await store.snapshots.before('h', 1000))?.sequence, 151);

  const again = new LanePool({ store, log: { info() {}, warn() {}, error() {} }, lanes: 2, allowServiceDeath: false });
  assert.deepEqual(await views(again), before);
  assert.deepEqual(await again.execute('h', { op: 'calls', pid, calls: [opens[0]!] }), {
    kind: 'ok',
    value: { results: [{ ret: 153 }] },
    sequence: 152,
  });
  await again.close();
});

test('what cannot be sent to a lane fails alone', async (t) => {
  const { pool, add } = await lab(t, { lanes: 1 });
  await add('a');
  const unsendable = { op: 'process.create', name: 1n } as unknown as Command;
  const outcomes = await Promise.allSettled([TICK, unsendable, TICK].map((command) => pool.execute('a', command)));
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
});

test('every lane has its share of hosts, the same at every start', () => {
  const counts = [0, 0, 0];
  for (let host = 0; host < 3000; host += 1) counts[laneOf(`h-${host}`, 3)]! += 1;
  assert.ok(
    counts.every((count) => count > 800),
    String(counts),
  );
  assert.equal(laneOf('h-6jx2m4vq7r3ta5cn', 8), laneOf('h-6jx2m4vq7r3ta5cn', 8));
});

test('what a host takes is told by its lane, and forgotten with the host', async (t) => {
  const { pool, add } = await lab(t);
  await add('h0');
  const pid = await newProcess(pool, 'h0');
  await pool.execute('h0', {
    op: 'calls',
    pid,
    calls: Array.from({ length: 1000 }, () => ({ call: 'open', path: '/dev/iommu' })),
  });
  // It is measured again when it has worked for a while.
  while (pool.use('h0')?.descriptors !== 1000) await pool.execute('h0', TICK);
  assert.ok(pool.use('h0')!.memory > 10_000);
  await pool.remove('h0');
  assert.equal(pool.use('h0'), null);
});

test('what a client has asked for ends in the thread that is at it, and what waits is not begun, when they go', async (t) => {
  const { store, pool, add } = await lab(t, { lanes: 1 });
  await add('h', 'other');
  const pid = await newProcess(pool, 'h');
  const time = await timeOf(pool, 'h');
  const client = clientThat();
  const asked = [pool.execute('h', longCommand(pid), client), pool.execute('h', TICK, client)];
  const refused = Promise.allSettled(asked);
  await timeOf(pool, 'other');
  client.go();
  for (const outcome of await refused)
    assert.ok(outcome.status === 'rejected' && outcome.reason instanceof ClientGone, JSON.stringify(outcome));
  assert.equal(await timeOf(pool, 'h'), time);
  assert.deepEqual(await sequences(store, 'h'), [1]);
  await assert.rejects(pool.execute('h', TICK, client), ClientGone);
});

test('a stop refuses what is at work and what comes, and closing is over soon', async (t) => {
  const { store, pool, add } = await lab(t);
  const [one, two] = oneForEachLane();
  await add(one, two);
  const pid = await newProcess(pool, one);
  const refused = Promise.allSettled([pool.execute(one, longCommand(pid)), pool.execute(one, TICK)]);
  await timeOf(pool, two);
  await pool.stop();
  for (const outcome of await refused)
    assert.ok(outcome.status === 'rejected' && outcome.reason instanceof ServiceStopping, JSON.stringify(outcome));
  await assert.rejects(pool.query(two, { view: 'host' }), ServiceStopping);
  await pool.close();
  assert.deepEqual(await sequences(store, one), [1]);
});

test('a lane that does not come back is ended by a stop', async (t) => {
  const directory = temporaryDirectory(t);
  const { store, pool, add } = await lab(t, { lanes: 2 }, directory);
  const beside = Array.from({ length: 20 }, (_, index) => `h${index}`).find((id) => laneOf(id, 2) === laneOf('h', 2))!;
  await add('h', beside);
  // Nothing can be stored, and nobody says so yet.
  const other = new Database(`${directory}/holdover.db`);
  other.exec('BEGIN IMMEDIATE');
  const asked = Promise.allSettled([pool.execute('h', TICK)]);
  await timeOf(pool, beside);
  await pool.stop();
  const [outcome] = await asked;
  assert.ok(outcome!.status === 'rejected' && outcome.reason instanceof ThreadDied, JSON.stringify(outcome));
  other.exec('ROLLBACK');
  other.close();
  await pool.close();
  assert.ok((await sequences(store, 'h')).length <= 1);
});
