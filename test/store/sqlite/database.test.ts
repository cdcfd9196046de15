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
import { SPEC } from '../../lanes/fake-host.ts';
import { temporaryDirectory } from '../../support/service.ts';
import { someTenant, temporaryStore } from '../../support/store.ts';

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

test('hosts of an earlier version have their commands and what was handed over, whatever the order in which they came', async (t) => {
  const directory = temporaryDirectory(t);
  const tenantId = await withTenant(directory);
  const database = new Database(join(directory, 'holdover.db'));
  // As it was: the journal by host, with a key that handovers had, too.
  database.exec(`DROP TABLE journal; DROP TABLE handovers; DROP INDEX hosts_by_serial; ALTER TABLE hosts DROP COLUMN serial;
    CREATE TABLE journal (host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE, sequence INTEGER NOT NULL, command TEXT NOT NULL,
      digest TEXT NOT NULL, payload BLOB, payload_format INTEGER, payload_parts INTEGER, checksum INTEGER,
      PRIMARY KEY (host_id, sequence)) STRICT, WITHOUT ROWID;
    CREATE TABLE handovers (host_id TEXT NOT NULL, sequence INTEGER NOT NULL, format INTEGER NOT NULL, data BLOB, checksum TEXT NOT NULL,
      PRIMARY KEY (host_id, sequence),
      FOREIGN KEY (host_id, sequence) REFERENCES journal (host_id, sequence) ON DELETE CASCADE) STRICT;
    DELETE FROM migrations WHERE number >= 13`);
  const host = database.prepare('INSERT INTO hosts (id, tenant_id, name, spec, created) VALUES (?, ?, ?, ?, ?)');
  const command = database.prepare('INSERT INTO journal (host_id, sequence, command, digest) VALUES (?, ?, ?, ?)');
  for (const id of ['b', 'a', 'c']) host.run(id, tenantId, id, '{}', '2026-01-01T00:00:00.000Z');
  for (const [id, sequence] of [
    ['c', 1],
    ['a', 1],
    ['b', 7],
    ['a', 2],
    ['b', 8],
  ] as const)
    command.run(id, sequence, `${id} ${sequence}`, 'd');
  database.prepare("INSERT INTO handovers VALUES ('b', 7, 1, NULL, 'none')").run();
  database.close();

  const store = temporaryStore(t, directory);
  assert.deepEqual(store.applied, ['0013-journal-in-one-tree.sql']);
  const commandsOf = async (id: string) => (await store.journal.read(id, 0)).map((stored) => stored.command);
  assert.deepEqual(await Promise.all(['a', 'b', 'c', 'd'].map(commandsOf)), [
    ['a 1', 'a 2'],
    ['b 7', 'b 8'],
    ['c 1'],
    [],
  ]);
  assert.deepEqual(await store.journal.handover('b', 7), { text: null });
  assert.deepEqual(await store.journal.unbooted(), ['b']);
  // A new one comes behind them, and they go on.
  await store.hosts.insert({ id: 'd', tenantId, name: 'd', spec: SPEC, created: '2026-01-01T00:00:00.000Z' });
  for (const [hostId, sequence] of [
    ['d', 1],
    ['a', 3],
  ] as const) {
    const epoch = (await store.hosts.own(hostId))!;
    await store.journal.append({ hostId, epoch, sequence, command: `${hostId} ${sequence}`, digest: 'd' });
  }
  assert.deepEqual(await Promise.all(['a', 'd'].map(commandsOf)), [['a 1', 'a 2', 'a 3'], ['d 1']]);
  await store.hosts.delete({ hostId: 'a', epoch: 2 });
  assert.deepEqual(await Promise.all(['a', 'b'].map(commandsOf)), [[], ['b 7', 'b 8']]);
});

async function withTenant(directory: string): Promise<string> {
  const store = openStore({ directory });
  const tenantId = await someTenant(store);
  await store.close();
  return tenantId;
}

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
