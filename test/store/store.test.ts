import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import Database from 'better-sqlite3';
import { openDatabase } from '../../src/store/sqlite/database.ts';
import { migrate, readMigrations } from '../../src/store/sqlite/migrations.ts';
import {
  HandoverDamaged,
  type HostRow,
  hashKey,
  newKey,
  openStore,
  StoreUnavailable,
  TenantExists,
} from '../../src/store/store.ts';
import { SPEC } from '../lanes/fake-host.ts';
import { temporaryDirectory } from '../support/service.ts';
import { someTenant, temporaryStore } from '../support/store.ts';

function hostRow(tenantId: string, id: string, created = '2026-01-01T00:00:00.000Z'): HostRow {
  return { id, tenantId, name: `host ${id}`, spec: SPEC, created };
}

function entry(hostId: string, sequence: number, op = 'clock.advance') {
  return { hostId, sequence, command: JSON.stringify({ op }), digest: `d${sequence}` };
}

test('migrations are applied in order, once', (t) => {
  const directory = temporaryDirectory(t);
  const first = openStore({ directory });
  assert.deepEqual(
    first.applied,
    readMigrations().map((migration) => migration.name),
  );
  first.close();
  assert.deepEqual(temporaryStore(t, directory).applied, []);
});

test('migrations are numbered without gaps', () => {
  const numbers = readMigrations().map((migration) => migration.number);
  assert.deepEqual(
    numbers,
    numbers.map((_, index) => index + 1),
  );
});

test('a migration that fails leaves the database as it was', (t) => {
  const folder = temporaryDirectory(t);
  writeFileSync(join(folder, '0001-good.sql'), 'CREATE TABLE good (a INTEGER);');
  writeFileSync(join(folder, '0002-bad.sql'), 'CREATE TABLE bad (');
  const database = new Database(':memory:');
  assert.throws(() => migrate(database, readMigrations(pathToFileURL(`${folder}/`))));
  assert.deepEqual(database.prepare('SELECT name FROM sqlite_schema').all(), []);
});

test('durability decides how SQLite syncs', (t) => {
  const NORMAL = 1;
  const FULL = 2;
  for (const [durability, level] of [['process', NORMAL] as const, ['power', FULL] as const]) {
    const { database, close } = openDatabase(temporaryDirectory(t), durability);
    assert.equal(database.pragma('synchronous', { simple: true }), level);
    assert.equal(database.pragma('journal_mode', { simple: true }), 'wal');
    close();
  }
});

test('tenants are found by the hash of their key, and their names and keys are their own', async (t) => {
  const { tenants } = temporaryStore(t);
  const key = newKey();
  const acme = await tenants.create('acme', hashKey(key));
  assert.deepEqual(tenants.findByKeyHash(hashKey(key)), acme);
  assert.deepEqual(tenants.findByName('acme'), acme);
  assert.equal(tenants.findByKeyHash(hashKey('other')), undefined);
  await assert.rejects(tenants.create('acme', hashKey('other')), TenantExists);
  await assert.rejects(tenants.create('zeta', hashKey(key)), TenantExists);
  const zeta = await tenants.create('zeta', hashKey('other'));
  assert.deepEqual(tenants.list(), [acme, zeta]);
  await assert.rejects(tenants.setKeyHash(zeta.id, hashKey(key)), TenantExists);
  assert.equal(await tenants.setKeyHash(zeta.id, hashKey('third')), true);
  assert.equal(await tenants.setKeyHash(zeta.id, hashKey('third')), false);
  assert.deepEqual(tenants.findByKeyHash(hashKey('third')), zeta);
});

test('a key is nowhere in the data directory', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore({ directory });
  const key = newKey();
  await store.tenants.create('acme', hashKey(key));
  store.close();
  for (const file of readdirSync(directory)) assert.ok(!readFileSync(join(directory, file)).includes(key), file);
});

test('hosts are listed by tenant in pages, the oldest first', async (t) => {
  const store = temporaryStore(t);
  const acme = await someTenant(store);
  const other = await someTenant(store, 'other');
  for (const id of ['c', 'a', 'b']) await store.hosts.insert(hostRow(acme, id));
  await store.hosts.insert(hostRow(acme, 'first', '2025-01-01T00:00:00.000Z'));
  await store.hosts.insert(hostRow(other, 'foreign'));
  const page = store.hosts.list(acme, 2);
  assert.deepEqual(
    page.map((host) => host.id),
    ['first', 'a'],
  );
  // The host that the cursor names may be deleted between two pages.
  await store.hosts.delete('a');
  const rest = store.hosts.list(acme, 10, page[1]);
  assert.deepEqual(
    rest.map((host) => host.id),
    ['b', 'c'],
  );
  const { spec: _, ...summary } = hostRow(acme, 'b');
  assert.deepEqual(store.hosts.get('b'), { ...summary, diverged: null });
  assert.deepEqual(store.hosts.spec('b'), SPEC);
  assert.equal(store.hosts.get('a'), undefined);
});

test('the journal is read in order, in pieces, and goes with its host', async (t) => {
  const store = temporaryStore(t);
  await store.hosts.insert(hostRow(await someTenant(store), 'h'));
  const large = { hostId: 'h', sequence: 1, command: JSON.stringify('x'.repeat(2 << 20)), digest: 'd1' };
  await store.journal.commit([large, entry('h', 2)]);
  await store.journal.commit([entry('h', 3)]);
  const sequences = (after: number): number[] => store.journal.read('h', after).map((command) => command.sequence);
  assert.deepEqual(sequences(0), [1]);
  assert.deepEqual(sequences(1), [2, 3]);
  assert.deepEqual(sequences(3), []);
  await store.hosts.delete('h');
  assert.deepEqual(sequences(0), []);
});

test('a commit stores all of its entries or none, and says that it could not', async (t) => {
  const store = temporaryStore(t);
  await store.hosts.insert(hostRow(await someTenant(store), 'h'));
  await assert.rejects(store.journal.commit([entry('h', 1), entry('h', 1)]), StoreUnavailable);
  await assert.rejects(store.journal.commit([entry('h', 1), entry('nowhere', 1)]), StoreUnavailable);
  assert.deepEqual(store.journal.read('h', 0), []);
});

test('a store that is gone says so at every door', async (t) => {
  const store = openStore({ directory: temporaryDirectory(t) });
  const tenant = await someTenant(store);
  store.close();
  await assert.rejects(store.check(), StoreUnavailable);
  assert.throws(() => store.tenants.list(), StoreUnavailable);
  assert.throws(() => store.hosts.get('h'), StoreUnavailable);
  assert.throws(() => store.journal.read('h', 0), StoreUnavailable);
  assert.throws(() => store.journal.handover('h', 1), StoreUnavailable);
  await assert.rejects(store.tenants.create('a', 'b'), StoreUnavailable);
  await assert.rejects(store.hosts.insert(hostRow(tenant, 'h')), StoreUnavailable);
  await assert.rejects(store.journal.commit([entry('h', 1)]), StoreUnavailable);
});

test('handovers come back as they were, and a damaged one is noticed', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore({ directory });
  await store.hosts.insert(hostRow(await someTenant(store), 'h'));
  const texts = ['{"sessions":[]}', '', null];
  for (const [index, text] of texts.entries()) {
    await store.journal.commit([{ ...entry('h', index + 1, 'kexec.freeze'), handover: { text } }]);
    assert.deepEqual(store.journal.handover('h', index + 1), { text });
  }
  assert.throws(() => store.journal.handover('h', 9), HandoverDamaged);
  store.close();

  const database = new Database(join(directory, 'holdover.db'));
  database.exec(
    "UPDATE handovers SET data = CAST('{}' AS BLOB) WHERE sequence = 1; UPDATE handovers SET data = NULL WHERE sequence = 2",
  );
  database.close();
  const again = temporaryStore(t, directory);
  assert.throws(() => again.journal.handover('h', 1), HandoverDamaged);
  assert.throws(() => again.journal.handover('h', 2), HandoverDamaged);
  assert.deepEqual(again.journal.handover('h', 3), { text: null });
});

test('hosts whose last freeze was not followed by a boot are found', async (t) => {
  const store = temporaryStore(t);
  const tenant = await someTenant(store);
  const ops = {
    fresh: [],
    booted: ['kexec.freeze', 'device.dma', 'kexec.boot'],
    frozen: ['clock.advance', 'kexec.freeze'],
    'frozen-dma': ['kexec.freeze', 'kexec.boot', 'kexec.freeze', 'device.dma'],
  };
  for (const [host, commands] of Object.entries(ops)) {
    await store.hosts.insert(hostRow(tenant, host));
    for (const [index, op] of commands.entries()) {
      const handover = op === 'kexec.freeze' ? { handover: { text: null } } : {};
      await store.journal.commit([{ ...entry(host, index + 1, op), ...handover }]);
    }
  }
  assert.deepEqual(store.journal.unbooted(), ['frozen', 'frozen-dma']);
});
