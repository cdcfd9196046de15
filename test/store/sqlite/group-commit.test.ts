import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { OwnerPassed, StoreUnavailable, TenantExists } from '../../../src/store/errors.ts';
import { connectForReading, openDatabase } from '../../../src/store/sqlite/database.ts';
import type { HistoryLimits } from '../../../src/store/sqlite/histories.ts';
import { openHosts } from '../../../src/store/sqlite/hosts.ts';
import { openJournal } from '../../../src/store/sqlite/journal.ts';
import { PART_BYTES } from '../../../src/store/sqlite/parts.ts';
import { openSnapshots } from '../../../src/store/sqlite/snapshots.ts';
import { GroupWriter } from '../../../src/store/sqlite/writer.ts';
import type { HandoverRow, Write } from '../../../src/store/sqlite/writes.ts';
import type { Journal } from '../../../src/store/store.ts';
import { temporaryDirectory } from '../../support/service.ts';

const tenant = (name: string): Write => ({
  kind: 'tenant.create',
  tenant: { id: `t-${name}`, name, created: '2026-01-01T00:00:00.000Z', parentId: null, expiresAt: null },
  keyHash: `hash of ${name}`,
});

const host = (id: string): Write => ({
  kind: 'host.insert',
  id,
  tenantId: 't-acme',
  name: id,
  spec: '{}',
  created: '2026-01-01T00:00:00.000Z',
  specChecksum: 0,
  events: [],
  labels: null,
  expires: null,
  snapshot: null,
  request: null,
});

const command = (hostId: string, sequence: number, handover: HandoverRow | null = null): Write => ({
  kind: 'append',
  row: { hostId, epoch: 1, sequence, command: '{"op":"crash"}', digest: 'd', payload: null, checksum: 0 },
  handover,
  events: [],
  request: null,
});

async function open(t: TestContext, limits?: HistoryLimits) {
  const directory = temporaryDirectory(t);
  const { database, close } = openDatabase(directory, 'process');
  t.after(close);
  const writer = new GroupWriter(database, limits);
  const reader = connectForReading(directory);
  t.after(() => reader.close());
  await writer.write(tenant('acme'));
  await Promise.all([writer.write(host('a')), writer.write(host('b'))]);
  const stores = { journal: openJournal(reader, writer), snapshots: openSnapshots(reader, writer) };
  return { database, writer, hosts: openHosts(reader, writer), ...stores };
}

const sequences = async (journal: Journal, id: string): Promise<number[]> =>
  (await journal.read(id, 0)).map(({ sequence }) => sequence);

test('what is stored of a host is counted as it comes, again behind a snapshot, and at the first use of an older one', async (t) => {
  const { database, writer, hosts, journal, snapshots } = await open(t);
  const stored = async (): Promise<number> => (await hosts.stored('t-acme')).bytes;
  const text = 'x'.repeat(40_000);
  for (const sequence of [1, 2, 3, 4])
    await journal.append({ hostId: 'a', epoch: 1, sequence, command: text, digest: 'd' });
  // What is less than 64 KiB is not in the database yet.
  assert.ok((await stored()) >= 160_000 - 65_536 && (await stored()) <= 165_000, String(await stored()));
  const bytes = randomFillSync(new Uint8Array(3 * PART_BYTES));
  await snapshots.put({ hostId: 'a', epoch: 1, sequence: 4, engine: 'e', bytes });
  const counted = await stored();
  assert.ok(counted >= 160_000 + bytes.length && counted <= 165_000 + bytes.length + PART_BYTES, String(counted));
  database.exec("UPDATE host_sizes SET bytes = NULL WHERE host_id = 'a'");
  assert.ok((await stored()) < 100);
  await writer.write({ kind: 'host.own', id: 'a', use: 'run' });
  assert.equal(await stored(), counted);
});

test('what is asked in one turn of the event loop is one commit', async (t) => {
  const { writer, journal } = await open(t);
  const before = writer.commits;
  await Promise.all(
    [1, 2, 3]
      .flatMap((sequence) => [command('a', sequence), command('b', sequence)])
      .map((write) => writer.write(write)),
  );
  assert.equal(writer.commits - before, 1);
  assert.deepEqual(
    [await sequences(journal, 'a'), await sequences(journal, 'b')],
    [
      [1, 2, 3],
      [1, 2, 3],
    ],
  );
});

test('a write that fails fails alone, but for what follows on it', async (t) => {
  const { writer, journal } = await open(t);
  const outcomes = await Promise.allSettled(
    [
      tenant('acme'),
      command('a', 1),
      command('a', 3),
      command('a', 4),
      command('b', 1),
      command('nowhere', 1),
      host('a'),
    ].map((write) => writer.write(write)),
  );
  assert.deepEqual(
    outcomes.map((outcome) => (outcome.status === 'fulfilled' ? 'stored' : outcome.reason.constructor)),
    [TenantExists, 'stored', StoreUnavailable, StoreUnavailable, 'stored', OwnerPassed, StoreUnavailable],
  );
  assert.deepEqual(await sequences(journal, 'a'), [1]);
  await writer.write(command('a', 2));
  await assert.rejects(writer.write(command('a', 2)), StoreUnavailable);
  assert.deepEqual(await sequences(journal, 'a'), [1, 2]);
});

test('a host that is made again under its name begins anew', async (t) => {
  const { writer, journal } = await open(t);
  await writer.write(command('a', 1));
  await writer.write({ kind: 'host.delete', owner: { hostId: 'a', epoch: 1 } });
  await assert.rejects(writer.write(command('a', 2)), OwnerPassed);
  await writer.write(host('a'));
  await writer.write(command('a', 1));
  assert.deepEqual(await sequences(journal, 'a'), [1]);
});

test('payloads come back as they were, large ones take less room, and a damaged one is noticed', async (t) => {
  const directory = temporaryDirectory(t);
  const { database, close } = openDatabase(directory, 'process');
  t.after(close);
  const writer = new GroupWriter(database);
  await Promise.all([writer.write(tenant('acme')), writer.write(host('a'))]);
  const journal = openJournal(database, writer);
  const small = new Uint8Array([1, 2, 3]);
  const large = new TextEncoder().encode(JSON.stringify(Array.from({ length: 50_000 }, (_, index) => index * 4096)));
  const entry = { hostId: 'a', epoch: 1, command: '{}', digest: 'd' };
  await journal.append({ ...entry, sequence: 1, payload: small });
  await journal.append({ ...entry, sequence: 2, payload: large });
  await journal.append({ ...entry, sequence: 3 });
  const stored = await Promise.all([0, 1, 2].map(async (after) => (await journal.read('a', after))[0]!));
  assert.deepEqual(Buffer.from(stored[0]!.payload!), Buffer.from(small));
  assert.deepEqual(Buffer.from(stored[1]!.payload!), Buffer.from(large));
  assert.equal(stored[2]!.payload, undefined);
  const size = database.prepare('SELECT length(payload) FROM journal WHERE sequence = 2').pluck().get() as number;
  assert.ok(size < large.byteLength / 3, `${size} of ${large.byteLength}`);
  database.exec(
    "UPDATE journal SET payload = CAST(substr(payload, 1, 100) || x'ff' || substr(payload, 102) AS BLOB) WHERE sequence = 2",
  );
  assert.match((await journal.read('a', 1))[0]!.damaged ?? '', /does not match its checksum/);
  assert.equal(typeof (await journal.read('a', 2))[0]!.damaged, 'undefined');
  // As rows of an earlier version.
  database.exec('UPDATE journal SET checksum = NULL; UPDATE hosts SET checksum = NULL');
  assert.match((await journal.read('a', 1))[0]!.damaged ?? '', /its payload cannot be read/);
});

test('what is very large is stored in parts, which go with what they belong to', async (t) => {
  const bytes = new Uint8Array(randomFillSync(Buffer.alloc(PART_BYTES * 2 + 1)));
  const directory = temporaryDirectory(t);
  const { database, close } = openDatabase(directory, 'process');
  t.after(close);
  const writer = new GroupWriter(database, { commands: 1000, bytes: 2.5 * bytes.byteLength });
  await Promise.all([writer.write(tenant('acme')), writer.write(host('a')), writer.write(host('b'))]);
  const journal = openJournal(database, writer);
  const snapshots = openSnapshots(database, writer);
  const partsOf = (kind: string) =>
    database.prepare('SELECT host_id, sequence, count(*) FROM parts WHERE kind = ? GROUP BY 1, 2').raw().all(kind);
  const entry = { epoch: 1, command: '{}', digest: 'd', payload: bytes };
  // Of a command that was not stored in the end.
  await writer.write({
    kind: 'part',
    row: { hostId: 'a', epoch: 1, sequence: 1, kind: 'payload', part: 1, data: bytes },
  });
  await journal.append({ ...entry, hostId: 'a', sequence: 1 });
  await journal.append({ ...entry, hostId: 'b', sequence: 1 });
  assert.deepEqual(Buffer.from((await journal.read('a', 0))[0]!.payload!), Buffer.from(bytes));
  assert.deepEqual(partsOf('payload'), [
    ['a', 1, 3],
    ['b', 1, 3],
  ]);
  for (const sequence of [1, 2, 3]) {
    await snapshots.put({ hostId: 'a', epoch: 1, sequence, engine: '1', bytes });
    await journal.append({ ...entry, hostId: 'a', sequence: sequence + 1 });
  }
  assert.deepEqual(Buffer.from(((await snapshots.before('a', 9)) as { bytes: Uint8Array }).bytes), Buffer.from(bytes));
  assert.deepEqual(partsOf('snapshot'), [
    ['a', 2, 3],
    ['a', 3, 3],
  ]);
  assert.deepEqual(partsOf('payload'), [
    ['a', 3, 3],
    ['a', 4, 3],
    ['b', 1, 3],
  ]);
  database.exec("DELETE FROM parts WHERE host_id = 'a' AND sequence = 4 AND part = 1");
  assert.match(
    (await journal.read('a', 3))[0]!.damaged ?? '',
    /its payload cannot be read: of its 3 parts 2 are there/,
  );
  await writer.write({ kind: 'host.delete', owner: { hostId: 'a', epoch: 1 } });
  while ((await writer.write({ kind: 'host.clear', id: 'a' })) > 0);
  assert.deepEqual(partsOf('payload'), [['b', 1, 3]]);
  assert.deepEqual(partsOf('snapshot'), []);
});

test('large commands that are not kept any more go a few at a time', async (t) => {
  const { writer, journal, snapshots } = await open(t, { commands: 1000, bytes: 10 });
  const text = 'x'.repeat(3 << 20);
  for (const sequence of [1, 2, 3, 4])
    await journal.append({ hostId: 'a', epoch: 1, sequence, command: text, digest: 'd' });
  const put = (sequence: number) =>
    snapshots.put({ hostId: 'a', epoch: 1, sequence, engine: '1', bytes: new Uint8Array(10) });
  await put(3);
  // As the one behind it does, but for what follows.
  await writer.write({
    kind: 'snapshot',
    row: {
      hostId: 'a',
      epoch: 1,
      sequence: 4,
      engine: '1',
      format: 1,
      data: new Uint8Array(10),
      parts: null,
      checksum: 0,
    },
  });
  const gone: number[] = [];
  do gone.push(await writer.write({ kind: 'journal.prune', hostId: 'a' }));
  while (gone.at(-1)! > 0);
  assert.deepEqual(gone, [2, 1, 0]);
  assert.deepEqual(await sequences(journal, 'a'), [4]);
});

test('keys of requests go with their commands, and that of a host with the host', async (t) => {
  const { writer, database, hosts, journal, snapshots } = await open(t, { commands: 1, bytes: 1000 });
  const asked = (key: string) => ({ tenantId: 't-acme', key, fingerprint: 'f' });
  const copy = { sequence: 5, engine: '1', bytes: new Uint8Array(10) };
  const made = { id: 'c', tenantId: 't-acme', name: 'c', spec: {} as never, created: '2026-01-01T00:00:00.000Z' };
  await hosts.insert({ ...made, request: asked('make') }, [], copy);
  for (const sequence of [6, 7, 8]) {
    const request = asked(`command ${sequence}`);
    await journal.append({ hostId: 'c', epoch: 1, sequence, command: '{"op":"crash"}', digest: 'd', request });
    await snapshots.put({ hostId: 'c', epoch: 1, sequence, engine: '1', bytes: new Uint8Array(10) });
  }
  const keys = (): unknown[] =>
    database.prepare('SELECT sequence FROM idempotency_keys ORDER BY sequence').pluck().all();
  assert.deepEqual(await sequences(journal, 'c'), [8]);
  assert.deepEqual(keys(), [5, 8]);
  await writer.write({ kind: 'host.delete', owner: { hostId: 'c', epoch: 1 } });
  while ((await writer.write({ kind: 'host.clear', id: 'c' })) > 0);
  assert.deepEqual(keys(), []);
});

test('what is stored of a key that is damaged is told', async (t) => {
  const { database, hosts, journal } = await open(t);
  const request = { tenantId: 't-acme', key: 'k', fingerprint: 'f' };
  await journal.append({ hostId: 'a', epoch: 1, sequence: 1, command: '{"op":"crash"}', digest: 'd', request });
  database.exec('UPDATE idempotency_keys SET sequence = 2');
  await assert.rejects(hosts.requested(request), { name: 'StoreDamaged', message: /Idempotency-Key/ });
});

test('a handover of another version is refused', async (t) => {
  const { writer, journal } = await open(t);
  const data = new TextEncoder().encode('{}');
  await writer.write(command('a', 1, { format: 7, data, checksum: 'any' }));
  await assert.rejects(journal.handover('a', 1), { name: 'HandoverDamaged', message: /format 7, which this version/ });
});

test('the sequence goes on behind a snapshot whose commands are gone', async (t) => {
  const { writer, snapshots, journal } = await open(t, { commands: 1, bytes: 1000 });
  for (const sequence of [1, 2]) {
    await writer.write(command('a', sequence));
    await snapshots.put({ hostId: 'a', epoch: 1, sequence, engine: '1', bytes: new Uint8Array(10) });
  }
  assert.deepEqual(await sequences(journal, 'a'), [2]);
  await writer.write(command('a', 3));
  assert.deepEqual(await sequences(journal, 'a'), [2, 3]);
});

test('all commands are kept as long as they are not too many and not too much', async (t) => {
  for (const [limits, kept] of [
    [{ commands: 4, bytes: 10_000 }, [1, 2, 3, 4]],
    [{ commands: 3, bytes: 10_000 }, [4]],
    [{ commands: 4, bytes: 50 }, [4]],
  ] as const) {
    const { writer, snapshots, journal } = await open(t, limits);
    for (const sequence of [1, 2, 3, 4]) {
      await writer.write(command('a', sequence));
      if (sequence >= 2)
        await snapshots.put({ hostId: 'a', epoch: 1, sequence, engine: '1', bytes: new Uint8Array(10) });
    }
    assert.deepEqual(await sequences(journal, 'a'), kept, JSON.stringify(limits));
  }
});
