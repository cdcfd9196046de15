/** A host that ends the thread that runs it, here since it needs more memory than the thread may have: others go on. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import Database from 'better-sqlite3';
import type { Answer } from '../../src/host/command.ts';
import { buildHostSpec } from '../../src/host/host-spec.ts';
import { Aside } from '../../src/lanes/aside.ts';
import { AtWork, newAtWork } from '../../src/lanes/at-work.ts';
import { HostSetAside, ThreadDied } from '../../src/lanes/errors.ts';
import { LanePool } from '../../src/lanes/pool.ts';
import { openStore, type SqliteStore } from '../../src/store/sqlite/store.ts';
import { temporaryDirectory } from '../support/service.ts';
import { someTenant } from '../support/store.ts';

/** In which small hosts run, and the large one does not. */
const HEAP = { maxOldGenerationSizeMb: 48 };
const OPENS = Array.from({ length: 10_000 }, () => ({ call: 'open', path: '/dev/iommu' }) as const);
const KEXEC = { op: 'kexec.freeze', mode: 'plain', image: 'loaded' } as const;

interface Lab {
  directory: string;
  store: SqliteStore;
  errors: string[];
  start(resourceLimits?: typeof HEAP): LanePool;
}

async function lab(t: TestContext): Promise<Lab> {
  const directory = temporaryDirectory(t);
  const store = openStore({ directory });
  const tenantId = await someTenant(store);
  const errors: string[] = [];
  const log = { info() {}, warn() {}, error: (_details: object, message: string) => void errors.push(message) };
  const pools: LanePool[] = [];
  t.after(async () => {
    await pools.at(-1)!.close();
    await store.close();
  });
  const start = (resourceLimits?: typeof HEAP): LanePool => {
    const pool = new LanePool({
      store,
      log,
      lanes: 1,
      allowServiceDeath: false,
      ...(resourceLimits && { resourceLimits }),
    });
    pools.push(pool);
    return pool;
  };
  const built = buildHostSpec({ preset: 'vmm-lab' });
  assert.ok('spec' in built);
  const first = start();
  for (const id of ['large', 'small'])
    await first.create({ id, tenantId, name: id, spec: built.spec, created: '2026-01-01T00:00:00.000Z' });
  const { value } = (await first.execute('large', { op: 'process.create' })) as { value: { pid: number } };
  for (let time = 0; time < 6; time += 1) await first.execute('large', { op: 'calls', pid: value.pid, calls: OPENS });
  await first.execute('large', KEXEC);
  await first.close();
  // As it was before the next kernel was booted, without a snapshot.
  const database = new Database(`${directory}/holdover.db`);
  database.exec("DELETE FROM journal WHERE command LIKE '%kexec.boot%'; DELETE FROM snapshots");
  database.close();
  return { directory, store, errors, start };
}

const look = (pool: LanePool, id: string): Promise<Answer> => pool.query(id, { view: 'host' });

test('a host that ends its lane is set aside, and is not run until somebody asks for that; the others are', async (t) => {
  const { store, errors, start } = await lab(t);
  const pool = start(HEAP);
  await pool.recover();
  assert.deepEqual(errors, ['a host is set aside', 'a lane died: another one takes its place']);
  for (let poll = 0; poll < 3; poll += 1) {
    await assert.rejects(look(pool, 'large'), HostSetAside);
    assert.equal((await look(pool, 'small')).kind, 'ok');
  }
  await assert.rejects(pool.execute('large', KEXEC), HostSetAside);
  assert.match(pool.setAside('large')!.reason, /has ended the thread that ran it \(.*memory.*\), and is set aside/);
  assert.equal(pool.setAside('small'), null);
  assert.ok((await store.events.read('large', {}, null, 10)).events.length > 0);
  assert.equal(errors.length, 2);

  assert.equal(await pool.retry('large'), 0);
  assert.equal(pool.setAside('large'), null);
  await assert.rejects(look(pool, 'large'), ThreadDied);
  assert.match(pool.setAside('large')!.reason, /2 times by now/);
  // It is not up to its owner how often others have to wait.
  assert.ok((await pool.retry('large')) > 0);
  await assert.rejects(look(pool, 'large'), HostSetAside);
  assert.equal((await look(pool, 'small')).kind, 'ok');
  await pool.close();

  const next = start();
  assert.equal((await look(next, 'large')).kind, 'ok');
  await next.close();

  const last = start(HEAP);
  await assert.rejects(look(last, 'large'), ThreadDied);
  await last.remove('large');
  assert.equal(last.setAside('large'), null);
  assert.equal((await look(last, 'large')).kind, 'not-found');
});

test('a lane that somebody else ends sets nobody aside', async (t) => {
  const { start } = await lab(t);
  const pool = start();
  const asked = look(pool, 'large').catch((error: unknown) => error);
  await look(pool, 'small');
  await pool.kill('large');
  await asked;
  assert.deepEqual([pool.setAside('large'), pool.setAside('small')], [null, null]);
  assert.equal((await look(pool, 'large')).kind, 'ok');
});

test('who is at work is known in another thread, until it has nothing to do', () => {
  const shared = newAtWork();
  const [lane, seen] = [new AtWork(shared), new AtWork(shared)];
  const [first, second, long] = ['h-first', 'Wirt-ä', 'h'.repeat(300)] as const;
  const found: (string | null)[] = [seen.hostId];
  for (const one of [first, second, second, long, first]) {
    lane.note(one);
    found.push(seen.hostId);
  }
  lane.rest(second);
  found.push(seen.hostId);
  lane.rest(first);
  found.push(seen.hostId);
  // Of an id that is too long nobody knows.
  assert.deepEqual(found, [null, 'h-first', 'Wirt-ä', 'Wirt-ä', null, 'h-first', 'h-first', null]);
});

test('the first time a host may be tried again at once, and then after twice as long each time', () => {
  const aside = new Aside();
  const pauses = Array.from({ length: 14 }, () => {
    aside.put('h', new Error('out of memory'));
    return Math.round(aside.retry('h') / 60_000);
  });
  assert.deepEqual(pauses, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440, 1440]);
  assert.deepEqual(aside.hostIds, ['h']);
  aside.hear({ removed: 'h' });
  assert.deepEqual([aside.hostIds, aside.retry('h')], [[], 0]);
});
