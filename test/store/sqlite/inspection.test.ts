/** What an inspection finds beyond the contract: pages, and what lies beside the database. */
import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import Database from 'better-sqlite3';
import type { EmittedEvent } from '../../../src/host/command.ts';
import { StoreDamaged } from '../../../src/store/errors.ts';
import { INDEXED } from '../../../src/store/sqlite/inspection.ts';
import { openStore, type SqliteStore } from '../../../src/store/sqlite/store.ts';
import { HandoverDamaged } from '../../../src/store/store.ts';
import { SPEC } from '../../lanes/fake-host.ts';
import { temporaryDirectory } from '../../support/service.ts';
import { someTenant } from '../../support/store.ts';

const CREATED = '2026-01-01T00:00:00.000Z';
const EVENT: EmittedEvent = { time: '1', kernel: 1, kind: 'pci.remove', message: 'it is gone', data: {} };

async function open(t: TestContext, directory: string): Promise<{ store: SqliteStore; found(): Promise<string[]> }> {
  const store = openStore({ directory });
  t.after(() => store.close());
  return {
    store,
    async found() {
      const found: string[] = [];
      await store.inspect(({ hostId, kind, what }) => found.push(`${hostId} ${kind} ${what}`));
      return found;
    },
  };
}

/** Hosts a and b, the first with so many bytes beside its command. */
async function filled(t: TestContext, bytes = 10): Promise<string> {
  const directory = temporaryDirectory(t);
  const store = openStore({ directory });
  const tenantId = await someTenant(store);
  for (const id of ['a', 'b']) {
    await store.hosts.insert({ id, tenantId, name: id, spec: SPEC, created: CREATED });
    const payload = randomFillSync(new Uint8Array(bytes));
    await store.journal.append({ hostId: id, epoch: 1, sequence: 1, command: '{"op":"batch"}', digest: 'd', payload });
  }
  const request = asked(tenantId);
  await store.journal.append({ hostId: 'b', epoch: 1, sequence: 2, command: '{}', digest: 'd', request });
  await store.close();
  return directory;
}

function tamper(directory: string, sql: string): void {
  const database = new Database(join(directory, 'holdover.db'));
  database.unsafeMode();
  database.pragma('foreign_keys = OFF');
  database.exec(sql);
  database.close();
}

test('a large database is looked at in another thread, and a close does not wait for that', async (t) => {
  const directory = await filled(t, 6 << 20);
  tamper(directory, "UPDATE journal SET digest = 'e' WHERE serial = (SELECT serial FROM hosts WHERE id = 'a')");
  const { store, found } = await open(t, directory);
  let turns = 0;
  const timer = setInterval(() => {
    turns += 1;
  }, 1);
  const all = await found();
  clearInterval(timer);
  assert.equal(all.length, 1);
  assert.match(all[0]!, /^a journal command 1 of the host is damaged: its row does not match its checksum/);
  assert.ok(turns > 0);
  const second = found();
  await store.close();
  await second;
});

for (const [what, sql, pattern] of [
  [
    'a row of another host, which is none',
    'UPDATE journal SET place = place + (7 << 32) WHERE serial = 1',
    /a row of journal is of none of the hosts/,
  ],
  [
    'a host that finds the commands of another one',
    "UPDATE hosts SET serial = 9 WHERE id = 'b'; UPDATE hosts SET serial = 2 WHERE id = 'a'",
    /^a journal command 1 of the host is damaged/,
  ],
  [
    'a host that finds no commands',
    "UPDATE hosts SET serial = 9 WHERE id = 'a'",
    /^a end commands? 1 .* (was|were) stored and (is|are) gone/,
  ],
  [
    'a host that is gone',
    "DELETE FROM hosts WHERE id = 'a'",
    /^a host host a was stored and is gone.*holdover\.marks deleted while/,
  ],
  [
    'a request that has led to something else',
    'UPDATE idempotency_keys SET sequence = 1',
    /^b requests which requests with an Idempotency-Key .* damaged in 1 rows of the host/,
  ],
  ['a tenant that is gone', 'DELETE FROM tenants', /^null tenants tenant t-.* was stored and is gone/],
] as const)
  test(`found: ${what}`, async (t) => {
    const directory = await filled(t);
    tamper(directory, sql);
    const { found } = await open(t, directory);
    const all = await found();
    assert.ok(
      all.some((one) => pattern.test(one)),
      all.join('\n'),
    );
  });

const asked = (tenantId: string) => ({ tenantId, key: 'k', fingerprint: 'f' });

/** What is read of a database, and by which column something else is found. */
const READ: Record<string, string> = {
  tenants: 'name, created, quotas',
  hosts: 'tenant_id, name, spec, created, diverged, checksum, spec_checksum, epoch, gone_sequence, gone_idx',
  journal: 'command, digest, payload, payload_format, payload_parts, checksum',
  handovers: 'sequence, format, data, checksum',
  snapshots: 'sequence, engine, format, data, parts, checksum',
  parts: 'sequence, kind, part, data',
  events: 'sequence, idx, time, kernel, kind, bdf, message, data, number, bytes, checksum',
  idempotency_keys: 'fingerprint, host_id, sequence, checksum',
};
/** A page may come to be one of another table, whose columns have other types and are fewer. */
const VALUES = ['NULL', '7', '-1.5', "'text'", "x'00ff'"];

/** SQLite then stores what the tables do not take, as far as it is no part of a key. */
const LET_ALL_IN = `PRAGMA writable_schema = ON;
  CREATE TABLE saved AS SELECT name, sql FROM sqlite_schema;
  UPDATE sqlite_schema SET sql = replace(replace(replace(sql, ' NOT NULL', ''), 'STRICT, ', ''), ') STRICT', ')')
  WHERE type = 'table'`;
const BACK = `PRAGMA writable_schema = ON;
  UPDATE sqlite_schema SET sql = (SELECT sql FROM saved WHERE saved.name = sqlite_schema.name) WHERE name IN (SELECT name FROM saved);
  DROP TABLE saved`;

for (const [table, columns] of Object.entries(READ))
  test(`${table}: whatever stands in a column, it is read, or said to be damaged`, async (t) => {
    const directory = temporaryDirectory(t);
    const store = openStore({ directory });
    const tenantId = await someTenant(store);
    await store.hosts.insert({ id: 'a', tenantId, name: 'a', spec: SPEC, created: CREATED }, [EVENT]);
    const owner = { hostId: 'a', epoch: 1 };
    const bytes = randomFillSync(new Uint8Array(600 << 10));
    const command = { ...owner, command: '{"op":"batch"}', digest: 'd', events: [EVENT] };
    await store.journal.append({ ...command, sequence: 1, payload: bytes, handover: { text: '{}' } });
    await store.snapshots.put({ ...owner, sequence: 1, engine: 'e', bytes });
    await store.journal.append({ ...command, sequence: 2, payload: bytes.subarray(0, 9), request: asked(tenantId) });
    await store.close();
    for (const column of columns.split(', '))
      for (const value of VALUES) {
        const another = temporaryDirectory(t);
        cpSync(directory, another, { recursive: true });
        tamper(another, LET_ALL_IN);
        tamper(another, `PRAGMA ignore_check_constraints = ON; UPDATE OR IGNORE ${table} SET ${column} = ${value}`);
        tamper(another, BACK);
        await readAll(t, another, tenantId, `${column} = ${value}`);
      }
  });

async function readAll(t: TestContext, directory: string, tenantId: string, what: string): Promise<void> {
  const { store, found } = await open(t, directory);
  const reads = [
    () => store.tenants.get(tenantId),
    () => store.tenants.list(10),
    () => store.hosts.get('a'),
    () => store.hosts.origin('a'),
    () => store.hosts.list(tenantId, 10),
    () => store.hosts.stored(tenantId),
    () => store.journal.read('a', 0),
    () => store.journal.handover('a', 1),
    () => store.journal.unbooted(),
    () => store.snapshots.before('a', 9),
    () => store.events.read('a', {}, null, 10),
    () => store.events.read('a', { kernel: 1 }, null, 10),
    () => store.hosts.end('a'),
    () => store.hosts.requested(asked(tenantId)),
    async () => {
      const owner = { hostId: 'a', epoch: (await store.hosts.own('a'))! };
      const command = (await store.journal.read('a', 0)).at(-1);
      const snapshot = await store.snapshots.before('a', Number.MAX_SAFE_INTEGER);
      const sequence = Math.max(command?.sequence ?? 0, snapshot?.sequence ?? 0) + 1;
      await store.journal.append({ ...owner, sequence, command: '{"op":"clock"}', digest: 'd', events: [EVENT] });
      await store.snapshots.put({ ...owner, sequence, engine: 'e', bytes: new Uint8Array(9) });
      await store.hosts.markDiverged(owner, { sequence, op: 'clock', why: 'it differs' });
      await store.hosts.delete(owner);
    },
  ];
  for (const read of reads)
    await read().catch((error: Error) => {
      if (!(error instanceof StoreDamaged || error instanceof HandoverDamaged))
        throw new Error(`${what}: ${read}`, { cause: error });
    });
  for (const finding of await found()) assert.doesNotMatch(finding, /Cannot read properties|is not a function/, what);
}

test('lines of the marks that are damaged are told, and a last one that is not whole is none', async (t) => {
  const directory = await filled(t);
  const file = join(directory, 'holdover.marks');
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, `${text}0000`);
  assert.deepEqual(await (await open(t, directory)).found(), []);
});

test('damaged marks are told, and written anew by the next commit', async (t) => {
  const directory = await filled(t);
  const file = join(directory, 'holdover.marks');
  writeFileSync(file, readFileSync(file, 'utf8').replace(' 1 a', ' 7 a'));
  const { store, found } = await open(t, directory);
  assert.match((await found()).join(), /^null marks 1 lines of holdover\.marks/);
  assert.equal(await store.hosts.end('a'), 0);
  await store.journal.append({ hostId: 'a', epoch: 1, sequence: 2, command: '{}', digest: 'd' });
  assert.deepEqual([await store.hosts.end('a'), await store.hosts.end('b')], [2, 2]);
  assert.deepEqual(await found(), []);
});

test('every table with an index is compared with it', async (t) => {
  const directory = await filled(t);
  const database = new Database(`${directory}/holdover.db`, { readonly: true });
  t.after(() => database.close());
  const tables = database
    .prepare<[], string>("SELECT DISTINCT tbl_name FROM sqlite_master WHERE type = 'index' ORDER BY tbl_name")
    .pluck()
    .all();
  assert.deepEqual([...INDEXED].sort(), tables);
});
