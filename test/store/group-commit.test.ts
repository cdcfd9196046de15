import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { connectForReading, openDatabase } from '../../src/store/database.ts';
import { StoreUnavailable, TenantExists } from '../../src/store/errors.ts';
import { openJournal } from '../../src/store/journal.ts';
import { openSnapshots } from '../../src/store/snapshots.ts';
import { GroupWriter } from '../../src/store/writer.ts';
import type { Write } from '../../src/store/writes.ts';
import { temporaryDirectory } from '../support/service.ts';

const tenant = (name: string): Write => ({
  kind: 'tenant.create',
  tenant: { id: `t-${name}`, name, created: '2026-01-01T00:00:00.000Z' },
  keyHash: `hash of ${name}`,
});

const host = (id: string): Write => ({
  kind: 'host.insert',
  id,
  tenantId: 't-acme',
  name: id,
  spec: '{}',
  created: '2026-01-01T00:00:00.000Z',
});

const command = (hostId: string, sequence: number): Write => ({
  kind: 'journal',
  rows: [{ hostId, sequence, command: '{"op":"crash"}', digest: 'd', payload: null }],
  handovers: [],
});

async function open(t: TestContext) {
  const directory = temporaryDirectory(t);
  const { database, close } = openDatabase(directory, 'process');
  t.after(close);
  const writer = new GroupWriter(database);
  const reader = connectForReading(directory);
  t.after(() => reader.close());
  await writer.write(tenant('acme'));
  await Promise.all([writer.write(host('a')), writer.write(host('b'))]);
  return { writer, journal: openJournal(reader, writer), snapshots: openSnapshots(reader, writer) };
}

const sequences = (journal: { read(id: string, after: number): { sequence: number }[] }, id: string): number[] =>
  journal.read(id, 0).map(({ sequence }) => sequence);

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
    [sequences(journal, 'a'), sequences(journal, 'b')],
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
    [TenantExists, 'stored', StoreUnavailable, StoreUnavailable, 'stored', StoreUnavailable, StoreUnavailable],
  );
  assert.deepEqual(sequences(journal, 'a'), [1]);
  await writer.write(command('a', 2));
  await assert.rejects(writer.write(command('a', 2)), StoreUnavailable);
  assert.deepEqual(sequences(journal, 'a'), [1, 2]);
});

test('a host that is made again under its name begins anew', async (t) => {
  const { writer, journal } = await open(t);
  await writer.write(command('a', 1));
  await writer.write({ kind: 'host.delete', id: 'a' });
  await assert.rejects(writer.write(command('a', 2)), StoreUnavailable);
  await writer.write(host('a'));
  await writer.write(command('a', 1));
  assert.deepEqual(sequences(journal, 'a'), [1]);
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
  const entry = { hostId: 'a', command: '{}', digest: 'd' };
  await journal.commit([{ ...entry, sequence: 1, payload: small }]);
  await journal.commit([{ ...entry, sequence: 2, payload: large }]);
  await journal.commit([{ ...entry, sequence: 3 }]);
  const stored = [0, 1, 2].map((after) => journal.read('a', after)[0]!);
  assert.deepEqual(Buffer.from(stored[0]!.payload!), Buffer.from(small));
  assert.deepEqual(Buffer.from(stored[1]!.payload!), Buffer.from(large));
  assert.equal(stored[2]!.payload, undefined);
  const size = database.prepare('SELECT length(payload) FROM journal WHERE sequence = 2').pluck().get() as number;
  assert.ok(size < large.byteLength / 3, `${size} of ${large.byteLength}`);
  database.exec(
    "UPDATE journal SET payload = CAST(substr(payload, 1, 100) || x'ff' || substr(payload, 102) AS BLOB) WHERE sequence = 2",
  );
  assert.match(journal.read('a', 1)[0]!.damaged ?? '', /its payload cannot be read/);
});

test('a handover of another version is refused', async (t) => {
  const { writer, journal } = await open(t);
  const data = new TextEncoder().encode('{}');
  const handover = { hostId: 'a', sequence: 1, format: 7, data, checksum: 'any' };
  await writer.write({ ...(command('a', 1) as Extract<Write, { kind: 'journal' }>), handovers: [handover] });
  assert.throws(() => journal.handover('a', 1), { name: 'HandoverDamaged', message: /format 7, which this version/ });
});

test('the sequence goes on behind a snapshot whose commands are gone', async (t) => {
  const { writer, snapshots, journal } = await open(t);
  for (const sequence of [1, 2]) {
    await writer.write(command('a', sequence));
    await snapshots.put({ hostId: 'a', sequence, engine: '1', bytes: new Uint8Array(10) });
  }
  assert.deepEqual(sequences(journal, 'a'), [2]);
  await writer.write(command('a', 3));
  assert.deepEqual(sequences(journal, 'a'), [2, 3]);
});
