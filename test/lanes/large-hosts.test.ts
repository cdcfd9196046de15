/** Hosts of very many objects, which move to a lane that is only for them. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { Answer, Command } from '../../src/host/command.ts';
import { buildHostSpec } from '../../src/host/host-spec.ts';
import { ThreadDied } from '../../src/lanes/errors.ts';
import { laneOf } from '../../src/lanes/owner.ts';
import { LanePool, type PoolOptions } from '../../src/lanes/pool.ts';
import { openStore, type SqliteStore } from '../../src/store/sqlite/store.ts';
import { temporaryDirectory } from '../support/service.ts';
import { someTenant } from '../support/store.ts';

const CREATED = '2026-01-01T00:00:00.000Z';
/** A host with a thousand descriptors has more, and one that has just been made has not. */
const MOST_OBJECTS = 150_000;

interface Lab {
  store: SqliteStore;
  pool: LanePool;
  pid: number;
  /** Numbers of the lanes that have died. */
  died: number[];
  again(): LanePool;
}

/** With two hosts: `h`, which has a process, and `other`. */
async function lab(t: TestContext, lanes: number): Promise<Lab> {
  const store = openStore({ directory: temporaryDirectory(t) });
  const tenantId = await someTenant(store);
  const died: number[] = [];
  const log = {
    info() {},
    warn() {},
    error(details: object, message: string) {
      if (message.startsWith('a lane died')) died.push((details as { lane: number }).lane);
    },
  };
  const options: PoolOptions = { store, log, lanes, allowServiceDeath: false, mostObjects: MOST_OBJECTS };
  const pool = new LanePool(options);
  const pools = [pool];
  t.after(async () => {
    for (const one of pools) await one.close();
    await store.close();
  });
  const built = buildHostSpec({ preset: 'vmm-lab' });
  assert.ok('spec' in built);
  for (const id of ['h', 'other']) await pool.create({ id, tenantId, name: id, spec: built.spec, created: CREATED });
  const { pid } = value<{ pid: number }>(await pool.execute('h', { op: 'process.create' }));
  return {
    store,
    pool,
    pid,
    died,
    again() {
      pools.push(new LanePool(options));
      return pools.at(-1)!;
    },
  };
}

function value<T>(answer: Answer): T {
  assert.ok(answer.kind === 'ok', JSON.stringify(answer));
  return answer.value as T;
}

const opens = (pid: number, count: number): Command => ({
  op: 'calls',
  pid,
  calls: Array.from({ length: count }, () => ({ call: 'open', path: '/dev/iommu' }) as const),
});

const resultsOf = (answer: Answer) => value<{ results: { ret: number }[] }>(answer).results;

/** It has been found out that `h` is: it moves, or has moved. */
const isLarge = (pool: LanePool): boolean => (pool.use('h')?.objects ?? 0) > MOST_OBJECTS;

/** A host is measured when it has worked for a while. Returns its newest descriptor. */
async function makeLarge({ pool, pid }: Lab): Promise<number> {
  let newest = 0;
  while (!isLarge(pool)) newest = resultsOf(await pool.execute('h', opens(pid, 500))).at(-1)!.ret;
  return newest;
}

const digestOf = async (pool: LanePool, hostId: string): Promise<unknown> =>
  value<{ digest: string }>(await pool.query(hostId, { view: 'host', digest: true })).digest;

/** The lane that ends when that of the host does. */
async function laneOfDead({ pool, died }: Lab, hostId: string): Promise<number> {
  died.length = 0;
  await pool.kill(hostId);
  return died[0]!;
}

for (const lanes of [1, 2]) {
  test(`with ${lanes} lane(s): a host that grows moves, and whoever asks meanwhile is answered in order`, async (t) => {
    const all = await lab(t, lanes);
    const { pool, pid, store } = all;
    // All at once, so that many wait wherever it moves.
    for (let next = 3; !isLarge(pool); next += 500) {
      const asked = Array.from({ length: 50 }, () => pool.execute('h', opens(pid, 10)));
      const first = (await Promise.all(asked)).map((answer) => resultsOf(answer)[0]!.ret);
      assert.deepEqual(
        first,
        asked.map((_, index) => next + 10 * index),
      );
    }
    const digest = await digestOf(pool, 'h');
    assert.equal(await laneOfDead(all, 'h'), lanes + laneOf('h', lanes), 'it is in a lane behind the ordinary ones');
    assert.ok((await laneOfDead(all, 'other')) < lanes, 'the other one has not moved');
    assert.equal(await digestOf(pool, 'h'), digest);
    const sequences = (await store.journal.read('h', 0)).map(({ sequence }) => sequence);
    assert.deepEqual(
      sequences,
      sequences.map((_, index) => sequences[0]! + index),
    );
    await pool.remove('h');
    assert.equal((await pool.query('h', { view: 'host' })).kind, 'not-found');
    // What it has taken is told by the lane when it likes.
    while (pool.use('h') !== null) await setImmediate();
  });

  test(`with ${lanes} lane(s): a large host is there after a clean stop`, async (t) => {
    const all = await lab(t, lanes);
    const { pool, pid, again } = all;
    const newest = await makeLarge(all);
    const digest = await digestOf(pool, 'h');
    assert.equal(await laneOfDead(all, 'h'), lanes + laneOf('h', lanes));
    value(await pool.execute('h', opens(pid, 1)));
    await pool.close();
    const next = again();
    assert.notEqual(await digestOf(next, 'h'), digest);
    assert.deepEqual(value(await next.execute('h', opens(pid, 1))), { results: [{ ret: newest + 2 }] });
  });
}

test('a batch that waits while its host moves arrives with it', async (t) => {
  const all = await lab(t, 1);
  const { pool, pid } = all;
  value(await pool.execute('h', opens(pid, 1)));
  const ioctl = { call: 'ioctl', fd: 3, request: 'IOMMU_IOAS_ALLOC', arg: { flags: 0 } } as const;
  value(await pool.execute('h', { op: 'calls', pid, calls: [ioctl] } as unknown as Command));
  const mmap = { call: 'mmap', addr: '0x7f0000000000', length: '0x10000', prot: 3, flags: 0x32 };
  value(await pool.execute('h', { op: 'calls', pid, calls: [mmap] } as unknown as Command));
  const growing = makeLarge(all);
  for (let applied = 0; !isLarge(pool); applied += 1) {
    const iova = `0x${(0x100000 + applied * 0x1000).toString(16)}`;
    const text = JSON.stringify({ op: 'map', iova, length: '0x1000', userVa: '0x7f0000000000' });
    const command = { op: 'batch', pid, fd: 3, ioas: 1, format: 'lines' } as const;
    const batches = [0, 1, 2].map(() => pool.batch('h', { ...command, onError: 'continue' }, Buffer.from(`${text}\n`)));
    for (const batch of batches) applied += value<{ applied: number }>(await batch).applied;
  }
  await growing;
  assert.equal(await laneOfDead(all, 'h'), 1);
});

test('one request that makes a host very large is done in the other lane, once', async (t) => {
  const all = await lab(t, 1);
  const { pool, pid, store } = all;
  value(await pool.execute('h', opens(pid, 10_000)));
  const before = (await store.journal.read('h', 0)).length;
  const forks = { op: 'calls', pid, calls: Array.from({ length: 60 }, () => ({ call: 'fork' }) as const) } as const;
  assert.equal(resultsOf(await pool.execute('h', forks)).length, 60);
  assert.equal((await store.journal.read('h', 0)).length, before + 1);
  assert.equal(await laneOfDead(all, 'h'), 1);
});

test('where the lane that writes ends, that of large hosts begins anew, and nothing acknowledged is lost', async (t) => {
  const all = await lab(t, 1);
  const { pool, pid } = all;
  const newest = await makeLarge(all);
  const asked = Array.from({ length: 50 }, () => pool.execute('h', opens(pid, 1)));
  await asked[10];
  await pool.kill('other');
  let acknowledged = 0;
  for (const outcome of await Promise.allSettled(asked)) {
    if (outcome.status === 'fulfilled') acknowledged += 1;
    else assert.ok(outcome.reason instanceof ThreadDied, String(outcome.reason));
  }
  let last: number | undefined;
  while (last === undefined) {
    // As clients do that are answered 503.
    const answer = await pool.execute('h', opens(pid, 1)).catch((error) => {
      assert.ok(error instanceof ThreadDied, String(error));
    });
    if (answer) last = resultsOf(answer)[0]!.ret;
  }
  assert.ok(last > newest + acknowledged, `${last}: ${acknowledged} were acknowledged`);
});
