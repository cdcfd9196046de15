/** Events in SQLite: what is kept, what goes, and that they share the fate of their command. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { EmittedEvent } from '../../../src/host/command.ts';
import { OwnerPassed, StoreUnavailable } from '../../../src/store/errors.ts';
import { connectForReading, connectForWriting, openDatabase } from '../../../src/store/sqlite/database.ts';
import type { EventLimits } from '../../../src/store/sqlite/event-rows.ts';
import { openEvents } from '../../../src/store/sqlite/events.ts';
import { openHosts } from '../../../src/store/sqlite/hosts.ts';
import { openJournal } from '../../../src/store/sqlite/journal.ts';
import { GroupWriter } from '../../../src/store/sqlite/writer.ts';
import { SPEC } from '../../lanes/fake-host.ts';
import { temporaryDirectory } from '../../support/service.ts';

const LIMITS: EventLimits = { events: 100, bytes: 1 << 20, atOnce: 10 };

const event = (number: number, message = ''): EmittedEvent => ({
  time: String(number),
  kernel: 1,
  kind: 'process.exit',
  message,
  data: { pid: number },
});

async function open(t: TestContext, limits = LIMITS) {
  const directory = temporaryDirectory(t);
  const { database, close } = openDatabase(directory, 'process');
  t.after(close);
  const reader = connectForReading(directory);
  t.after(() => reader.close());
  const start = (connection = database) => {
    const writer = new GroupWriter(connection, undefined, limits);
    return {
      writer,
      hosts: openHosts(reader, writer),
      journal: openJournal(reader, writer),
      events: openEvents(reader, writer),
    };
  };
  const store = start();
  await store.writer.write({
    kind: 'tenant.create',
    tenant: { id: 't', name: 'acme', created: '2026-01-01T00:00:00.000Z', parentId: null, expiresAt: null },
    keyHash: 'hash',
  });
  const add = (id: string, first: readonly EmittedEvent[] = []) =>
    store.hosts.insert({ id, tenantId: 't', name: id, spec: SPEC, created: '2026-01-01T00:00:00.000Z' }, first);
  const commit = (hostId: string, sequence: number, events: readonly EmittedEvent[]) =>
    store.journal.append({ hostId, epoch: 1, sequence, command: '{}', digest: 'd', events });
  const pids = async (hostId: string, limit = 1000): Promise<unknown[]> =>
    (await store.events.read(hostId, {}, null, limit)).events.map(({ data }) => data.pid);
  const another = () => {
    const connection = connectForWriting(directory, 'process');
    t.after(() => connection.close());
    return start(connection);
  };
  return { ...store, add, commit, pids, another, database };
}

test('events are stored with their command, those of a new host with the host, and go with it', async (t) => {
  const { add, commit, pids, hosts, events } = await open(t);
  await add('a', [event(1), event(2)]);
  await add('b', [event(9)]);
  await commit('a', 1, []);
  await commit('a', 2, [event(3)]);
  assert.deepEqual((await events.read('a', {}, null, 10)).events, [
    { sequence: 0, index: 0, ...event(1) },
    { sequence: 0, index: 1, ...event(2) },
    { sequence: 2, index: 0, ...event(3) },
  ]);
  await assert.rejects(commit('a', 2, [event(4)]), StoreUnavailable);
  await assert.rejects(commit('nowhere', 1, [event(4)]), OwnerPassed);
  assert.deepEqual(await pids('a'), [1, 2, 3], 'nothing of a command that is not stored');
  await hosts.delete({ hostId: 'a', epoch: 1 });
  assert.deepEqual([await pids('a'), await pids('b')], [[], [9]]);
});

test('a commit that fails does not make the counters wrong', async (t) => {
  const { add, commit, pids } = await open(t);
  await add('a');
  for (let sequence = 1; sequence <= 300; sequence++) {
    const bad = sequence % 3 === 0 ? [commit('a', sequence + 1, [event(0)])] : [];
    const outcomes = await Promise.allSettled([...bad, commit('a', sequence, [event(sequence)])]);
    assert.equal(outcomes.at(-1)!.status, 'fulfilled');
  }
  const kept = await pids('a');
  assert.ok(kept.length > 90 && kept.length <= 100, `${kept.length} are kept`);
  assert.deepEqual([kept[0], kept.at(-1)], [300 - kept.length + 1, 300]);
});

test('the newest ones are kept, and whoever reads knows what has gone', async (t) => {
  const { add, commit, pids, events, another } = await open(t);
  await add('a', [event(0)]);
  assert.equal((await events.read('a', {}, null, 1)).oldest, null);
  for (let sequence = 1; sequence <= 99; sequence++) await commit('a', sequence, [event(sequence)]);
  assert.equal((await pids('a')).length, 100);
  await commit('a', 100, [event(100)]);
  const kept = await pids('a');
  assert.deepEqual([kept.length, kept[0], kept.at(-1)], [91, 10, 100]);
  const oldest = { sequence: 10, index: 0 };
  const from = async (sequence: number) => {
    const { oldest: first, missed } = await events.read('a', {}, { sequence, index: 0 }, 10);
    return [first, missed];
  };
  assert.deepEqual(await from(8), [oldest, true]);
  assert.deepEqual(await from(9), [oldest, false]);
  assert.equal((await events.read('a', {}, null, 10)).missed, false);
  // Another start goes on counting where this one was.
  const { journal } = another();
  for (let sequence = 101; sequence <= 110; sequence++) {
    await journal.append({ hostId: 'a', epoch: 1, sequence, command: '{}', digest: 'd', events: [event(sequence)] });
  }
  assert.equal((await pids('a'))[0], 20);
});

test('a command with more events than are kept leaves the newest', async (t) => {
  const { add, commit, pids, database } = await open(t);
  await add('a', [event(0)]);
  await commit(
    'a',
    1,
    Array.from({ length: 1000 }, (_, number) => event(number)),
  );
  const kept = await pids('a');
  assert.ok(kept.length > 90 && kept.length <= 100);
  assert.equal(kept.at(-1), 999);
  assert.equal(database.prepare('SELECT count(*) FROM events').pluck().get(), kept.length);
});

test('no more is kept than a number of bytes', async (t) => {
  const { add, commit, pids } = await open(t, { events: 10_000, bytes: 100_000, atOnce: 10 });
  await add('a');
  for (let sequence = 1; sequence <= 200; sequence++) await commit('a', sequence, [event(sequence, 'é'.repeat(500))]);
  const kept = await pids('a');
  assert.ok(kept.length > 75 && kept.length <= 100, `${kept.length} of about 1080 bytes`);
});

test('a filter that finds nothing for long is worked off in steps, and goes on where it was', async (t) => {
  const { add, commit, events } = await open(t, { events: 100_000, bytes: 64 << 20, atOnce: 1000 });
  await add('a');
  for (let sequence = 1; sequence <= 3; sequence++) {
    await commit(
      'a',
      sequence,
      Array.from({ length: 3000 }, (_, number) => event(number)),
    );
  }
  await commit('a', 4, [{ ...event(1), kernel: 2 }]);
  const page = await events.read('a', { kernel: 2 }, null, 10);
  assert.deepEqual(page.events, [{ sequence: 4, index: 0, ...event(1), kernel: 2 }]);
  assert.deepEqual(page.reached, { sequence: 4, index: 0 });
  const none = await events.read('a', { kernel: 3 }, { sequence: 1, index: 5 }, 10);
  assert.deepEqual([none.events, none.reached], [[], { sequence: 4, index: 0 }]);
  const first = await events.read('a', { kinds: ['process.exit'] }, null, 2500);
  assert.deepEqual([first.events.length, first.reached], [2500, { sequence: 1, index: 2499 }]);
  const empty = await events.read('a', { kernel: 1 }, { sequence: 9, index: 0 }, 10);
  assert.deepEqual([empty.events, empty.reached], [[], { sequence: 9, index: 0 }]);
  assert.deepEqual((await events.read('nowhere', { kernel: 1 }, null, 10)).reached, null);
});

test('a host with very many events is deleted bit by bit', async (t) => {
  const { add, commit, writer, pids, hosts } = await open(t, {
    events: 100_000,
    bytes: 64 << 20,
    atOnce: 1000,
  });
  await add('a');
  await commit(
    'a',
    1,
    Array.from({ length: 10_000 }, (_, number) => event(number)),
  );
  assert.equal((await pids('a', 20_000)).length, 10_000);
  const before = writer.commits;
  await hosts.delete({ hostId: 'a', epoch: 1 });
  // The host is out of sight, eleven times a thousand or less, and the host itself.
  assert.equal(writer.commits - before, 13);
  assert.deepEqual(await pids('a'), []);
});
