import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import Database from 'better-sqlite3';
import { openDatabase } from '../../../src/store/sqlite/database.ts';
import { migrate, readMigrations } from '../../../src/store/sqlite/migrations.ts';
import { openStore } from '../../../src/store/sqlite/store.ts';
import { hashKey, newKey } from '../../../src/store/store.ts';
import { temporaryDirectory } from '../../support/service.ts';
import { temporaryStore } from '../../support/store.ts';

test('migrations are applied in order, once', async (t) => {
  const directory = temporaryDirectory(t);
  const first = openStore({ directory });
  assert.deepEqual(
    first.applied,
    readMigrations().map((migration) => migration.name),
  );
  await first.close();
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

test('a key is nowhere in the data directory', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore({ directory });
  const key = newKey();
  await store.tenants.create('acme', hashKey(key));
  await store.close();
  for (const file of readdirSync(directory)) assert.ok(!readFileSync(join(directory, file)).includes(key), file);
});
