/** What an inspection finds beyond the contract: pages, and what lies beside the database. */
import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import Database from 'better-sqlite3';
import { openStore, type SqliteStore } from '../../../src/store/sqlite/store.ts';
import { SPEC } from '../../lanes/fake-host.ts';
import { temporaryDirectory } from '../../support/service.ts';
import { someTenant } from '../../support/store.ts';

const CREATED = '2026-01-01T00:00:00.000Z';

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
  await store.close();
  return directory;
}

function tamper(directory: string, sql: string): void {
  const database = new Database(join(directory, 'holdover.db'));
  database.pragma('foreign_keys = OFF');
  database.exec(sql);
  database.close();
}

test('a large database is looked at in another thread, and a close does not wait for that', async (t) => {
  const directory = await filled(t, 6 << 20);
  tamper(directory, "UPDATE journal SET digest = 'e' WHERE host_id = 'a'");
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
    "UPDATE journal SET host_id = 'c' WHERE host_id = 'a'",
    /a row of journal is of none of the hosts/,
  ],
  [
    'a host that is gone',
    "DELETE FROM hosts WHERE id = 'a'",
    /^a host host a was stored and is gone.*holdover\.marks deleted while/,
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
  assert.deepEqual([await store.hosts.end('a'), await store.hosts.end('b')], [2, 1]);
  assert.deepEqual(await found(), []);
});
