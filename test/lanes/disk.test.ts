/** What a bad disk does: writes are refused with a clear error, and what was acknowledged is there. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type Database from 'better-sqlite3';
import { Lane } from '../../src/lanes/lane.ts';
import { connectForReading, connectForWriting } from '../../src/store/sqlite/database.ts';
import { openHostStore } from '../../src/store/sqlite/host-store.ts';
import { openStore, type SqliteStore } from '../../src/store/sqlite/store.ts';
import { GroupWriter } from '../../src/store/sqlite/writer.ts';
import { type HostStore, StoreFull, StoreUnavailable } from '../../src/store/store.ts';
import { temporaryDirectory } from '../support/service.ts';
import { someTenant, temporaryStore } from '../support/store.ts';
import { FakeHost, type FakeView, SPEC } from './fake-host.ts';

const TICK = { op: 'clock.advance', nanoseconds: '1' } as const;

async function clock(lane: Lane): Promise<number> {
  const answer = await lane.query('h', { view: 'host' });
  assert.equal(answer.kind, 'ok', JSON.stringify(answer));
  return (answer as { value: FakeView }).value.clock;
}

interface Lab {
  directory: string;
  store: SqliteStore;
  /** A lane that writes by this connection. */
  laneOn(database: Database.Database): Lane;
  writing(): Database.Database;
}

async function lab(t: TestContext, directory: string = temporaryDirectory(t)): Promise<Lab> {
  const store = temporaryStore(t, directory);
  const tenantId = await someTenant(store);
  await store.hosts.insert({ id: 'h', tenantId, name: 'h', spec: SPEC, created: '2026-01-01T00:00:00.000Z' });
  return {
    directory,
    store,
    laneOn(database) {
      const hostStore = openHostStore(directory, new GroupWriter(database));
      t.after(() => hostStore.close());
      return lane(hostStore);
    },
    writing() {
      const database = connectForWriting(directory, 'process');
      t.after(() => database.close());
      return database;
    },
  };
}

function lane(store: HostStore): Lane {
  const log = { info() {}, warn() {}, error() {} };
  const die = (): Promise<never> => Promise.reject(new Error('not here'));
  return new Lane({ store, log, allowServiceDeath: false, makeHost: () => new FakeHost(), die });
}

test('a full disk: commands are refused, reads go on, and all is well when there is room again', async (t) => {
  const { laneOn, writing } = await lab(t);
  const database = writing();
  const host = laneOn(database);
  await host.execute('h', TICK);
  database.pragma(`max_page_count = ${database.pragma('page_count', { simple: true })}`);
  let stored = 1;
  await assert.rejects(
    async () => {
      // The last page has room for some.
      for (; stored < 1000; stored += 1) await host.execute('h', TICK);
    },
    (error) => error instanceof StoreUnavailable && /database or disk is full/.test(error.message),
  );
  assert.equal(await clock(host), stored);
  await assert.rejects(host.execute('h', { ...TICK, nanoseconds: '0'.repeat(9000) }), StoreUnavailable);
  database.pragma('max_page_count = 1000000');
  assert.deepEqual(await host.execute('h', TICK), { kind: 'ok', value: { now: stored + 1 }, sequence: stored + 1 });
  assert.equal(await clock(laneOn(database)), stored + 1);
});

const LONG = { ...TICK, nanoseconds: '1'.padStart(300, '0') };

/** Commands of a host until there is no room for another one; how many there have been. */
async function fill(host: Lane, id: string): Promise<number> {
  for (let stored = 0; stored < 100_000; stored += 1) {
    const outcome = await host.execute(id, LONG).catch((error: unknown) => error);
    if (outcome instanceof StoreFull) return stored;
    assert.ok(!(outcome instanceof Error), String(outcome));
  }
  throw new Error('there is too much room');
}

async function deletesWhereNothingElseFits(lane: Lane, store: Lab['store'], fillRest: () => void): Promise<void> {
  const { tenantId } = (await store.hosts.get('h'))!;
  const row = { tenantId, spec: SPEC, created: '2026-01-01T00:00:00.000Z' };
  for (const id of ['a', 'b']) await lane.create({ id, name: id, ...row });
  for (let time = 0; time < 1000; time += 1) await lane.execute('a', TICK);
  await fill(lane, 'b');
  fillRest();
  await assert.rejects(lane.execute('b', LONG), StoreFull);
  await lane.remove('a');
  assert.equal(await store.hosts.get('a'), undefined);
  assert.deepEqual(await store.journal.read('a', 0), []);
  const more = await fill(lane, 'b');
  assert.ok(more > 100, `${more} commands`);
  await lane.remove('b');
  assert.deepEqual(await lane.execute('h', TICK), { kind: 'ok', value: { now: 1 }, sequence: 1 });
}

test('a database that may not grow: a host can be deleted, and makes room for others', async (t) => {
  const { laneOn, writing, store } = await lab(t);
  const database = writing();
  database.pragma(`max_page_count = ${(database.pragma('page_count', { simple: true }) as number) + 300}`);
  await deletesWhereNothingElseFits(laneOn(database), store, () => {});
});

test('a disk without a byte left: a host can be deleted, and makes room for others', async (t) => {
  const disk = mkdtempSync(join(tmpdir(), 'holdover-test-'));
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', disk]).status !== 0)
    return t.skip('only root can make a small disk');
  // What lies on it is still open then.
  t.after(() => {
    spawnSync('umount', ['--lazy', disk]);
    rmSync(disk, { recursive: true });
  });
  const { laneOn, writing, store } = await lab(t, join(disk, 'data'));
  const fillRest = (): void =>
    assert.throws(() => writeFileSync(join(disk, 'rest'), new Uint8Array(12 << 20)), { code: 'ENOSPC' });
  await deletesWhereNothingElseFits(laneOn(writing()), store, fillRest);
});

test('what is left of deleted hosts goes at the next start', async (t) => {
  const { directory, laneOn, writing, store } = await lab(t);
  const database = writing();
  await laneOn(database).execute('h', TICK);
  await store.close();
  database.exec("UPDATE hosts SET deleted = 'deleted'");
  const again = openStore({ directory });
  t.after(() => again.close());
  assert.equal(await again.hosts.get('h'), undefined);
  for (const table of ['hosts', 'journal', 'events'])
    assert.equal(database.prepare(`SELECT count(*) FROM ${table}`).pluck().get(), 0, table);
});

test('a full disk: a check of the store says so, until there is room again', async (t) => {
  const directory = temporaryDirectory(t);
  const store = temporaryStore(t, directory);
  const database = connectForWriting(directory, 'process');
  t.after(() => database.close());
  store.writeBy(new GroupWriter(database));
  database.pragma(`max_page_count = ${database.pragma('page_count', { simple: true })}`);
  await assert.rejects(store.check(), StoreFull);
  await assert.rejects(store.check(), /database or disk is full/);
  database.pragma('max_page_count = 1000000');
  await store.check();
  await store.close();
  // What it wrote is not kept.
  const again = openStore({ directory });
  t.after(() => again.close());
  assert.equal(database.prepare('SELECT count(*) FROM parts').pluck().get(), 0);
});

test('a database that cannot be written: commands are refused, reads go on', async (t) => {
  const { directory, laneOn, writing } = await lab(t);
  await laneOn(writing()).execute('h', TICK);
  const database = connectForReading(directory);
  t.after(() => database.close());
  const host = laneOn(database);
  await assert.rejects(host.execute('h', TICK), (error) => {
    return error instanceof StoreUnavailable && /readonly database/.test(error.message);
  });
  assert.equal(await clock(host), 1);
});

test('a truncated WAL: what is left of it is whole, and the host goes on from there', async (t) => {
  const { directory, laneOn, writing } = await lab(t);
  const database = writing();
  // The host itself is in the database already.
  database.pragma('wal_checkpoint(TRUNCATE)');
  const host = laneOn(database);
  for (let command = 0; command < 20; command += 1) await host.execute('h', TICK);
  const size = statSync(join(directory, 'holdover.db-wal')).size;
  let most = 0;
  for (const part of [0, 0.3, 0.55, 0.7, 0.85, 0.999, 1]) {
    const copy = temporaryDirectory(t);
    // The index of the WAL is made anew where it is missing.
    for (const file of ['holdover.db', 'holdover.db-wal']) copyFileSync(join(directory, file), join(copy, file));
    truncateSync(join(copy, 'holdover.db-wal'), Math.floor(size * part));
    const store = openStore({ directory: copy });
    const again = lane({ ...store });
    const left = await clock(again);
    assert.ok(left >= most && left <= 20, `${left} commands of ${part}`);
    most = left;
    assert.equal((await store.journal.read('h', 0)).length, left);
    assert.deepEqual(await again.execute('h', TICK), { kind: 'ok', value: { now: left + 1 }, sequence: left + 1 });
    await store.close();
  }
  assert.equal(most, 20);
});
