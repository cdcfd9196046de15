/** Commits behind the back of hosts: they go on executing, but nobody is told of what is not stored. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Lane } from '../../src/lanes/lane.ts';
import { connectForWriting } from '../../src/store/sqlite/database.ts';
import { openHostStore } from '../../src/store/sqlite/host-store.ts';
import { GroupWriter } from '../../src/store/sqlite/writer.ts';
import type { Write, Writer } from '../../src/store/sqlite/writes.ts';
import { type HostStore, KeyTaken, StoreUnavailable } from '../../src/store/store.ts';
import { temporaryDirectory } from '../support/service.ts';
import { someTenant, temporaryStore } from '../support/store.ts';
import { FakeHost, SPEC } from './fake-host.ts';

const TICK = { op: 'clock.advance', nanoseconds: '1' } as const;
const SILENT = { info() {}, warn() {}, error() {} };

interface Lab {
  lane: Lane;
  group: GroupWriter;
  store: HostStore;
  add(...ids: string[]): Promise<void>;
  /** What happens to a write before it gets to the group. */
  before: (write: Write) => Promise<void> | undefined;
}

async function lab(t: TestContext): Promise<Lab> {
  const directory = temporaryDirectory(t);
  const tenantId = await someTenant(temporaryStore(t, directory));
  const database = connectForWriting(directory, 'process');
  const group = new GroupWriter(database);
  const writer: Writer = {
    write(write) {
      const before = made.before(write);
      return before === undefined ? group.write(write) : before.then(() => group.write(write));
    },
  };
  const store = openHostStore(directory, writer);
  const lane = new Lane({
    store,
    log: SILENT,
    allowServiceDeath: false,
    makeHost: () => new FakeHost(),
    die: () => Promise.reject(new Error('not here')),
  });
  t.after(async () => {
    await store.close();
    database.close();
  });
  const made: Lab = {
    lane,
    group,
    store,
    before: () => undefined,
    async add(...ids) {
      const created = '2026-01-01T00:00:00.000Z';
      await Promise.all(ids.map((id) => lane.create({ id, tenantId, name: id, spec: SPEC, created })));
    },
  };
  return made;
}

const sequences = async (store: HostStore, id: string): Promise<number[]> =>
  (await store.journal.read(id, 0)).map(({ sequence }) => sequence);

test('many hosts, and many commands of one, go into one commit', async (t) => {
  const { lane, group, store, add } = await lab(t);
  const ids = Array.from({ length: 32 }, (_, index) => `h${index}`);
  await add(...ids);
  const before = group.commits;
  const answers = await Promise.all(ids.flatMap((id) => [1, 2, 3].map(() => lane.execute(id, TICK))));
  assert.ok(answers.every(({ kind }) => kind === 'ok'));
  // 96 commands; how many turns of the event loop they take depends on the machine.
  assert.ok(group.commits - before < 20, `${group.commits - before} commits`);
  for (const id of ids) assert.deepEqual(await sequences(store, id), [1, 2, 3]);
});

test('a commit that fails takes along what its host did after it, and nothing else', async (t) => {
  const made = await lab(t);
  const { lane, store } = made;
  await made.add('h', 'other');
  made.before = (write) =>
    write.kind === 'append' && write.row.hostId === 'h' && write.row.sequence === 3
      ? Promise.reject(new StoreUnavailable('the disk is full'))
      : undefined;
  const outcomes = await Promise.allSettled([1, 2, 3, 4, 5].map(() => lane.execute('h', TICK)));
  const other = await Promise.all([1, 2, 3, 4, 5].map(() => lane.execute('other', TICK)));
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected', 'rejected', 'rejected'],
  );
  for (const outcome of outcomes.slice(2)) {
    assert.ok((outcome as PromiseRejectedResult).reason instanceof StoreUnavailable);
  }
  assert.ok(other.every(({ kind }) => kind === 'ok'));
  assert.deepEqual(await sequences(store, 'h'), [1, 2]);
  made.before = () => undefined;
  assert.deepEqual(await lane.execute('h', TICK), { kind: 'ok', value: { now: 3 }, sequence: 3 });
});

test('a request whose key is on its way already is refused before it is executed, and takes nothing along', async (t) => {
  const { lane, store, add } = await lab(t);
  await add('one', 'other');
  const key = { tenantId: 'any', key: 'k', fingerprint: 'f' };
  const asked = [key, key, undefined].map((own) => lane.execute('one', TICK, undefined, { key: own }));
  const [first, second, third] = await Promise.allSettled(asked);
  assert.equal(first?.status, 'fulfilled');
  assert.ok(second?.status === 'rejected' && second.reason instanceof KeyTaken);
  assert.equal(third?.status, 'fulfilled');
  assert.deepEqual(await sequences(store, 'one'), [1, 2]);
  await assert.rejects(lane.execute('other', TICK, undefined, { key }), KeyTaken);
  // Of two hosts at once the one that is stored first has it; what the other one does next is not hurt.
  const both = { ...key, key: 'of both' };
  const at = await Promise.allSettled(['one', 'other'].map((id) => lane.execute(id, TICK, undefined, { key: both })));
  assert.deepEqual(
    at.map(({ status }) => status),
    ['fulfilled', 'rejected'],
  );
  assert.equal((await lane.execute('other', TICK)).kind, 'ok');
  assert.deepEqual([await sequences(store, 'one'), await sequences(store, 'other')], [[1, 2, 3], [1]]);
});

test('a query, and what is not found, is answered when all that it rests on is stored', async (t) => {
  const made = await lab(t);
  const { lane } = made;
  await made.add('h');
  const gate = Promise.withResolvers<void>();
  made.before = () => gate.promise;
  const order: string[] = [];
  const note = (name: string) => () => void order.push(name);
  const all = Promise.all([
    lane.execute('h', TICK).then(note('tick')),
    lane.query('h', { view: 'host' }).then(note('query')),
    lane.execute('h', { op: 'device.flr', bdf: '0000:09:00.0' }).then(note('not found')),
  ]);
  const { promise: later, resolve } = Promise.withResolvers<void>();
  setImmediate(() => setImmediate(resolve));
  await later;
  assert.deepEqual(order, []);
  gate.resolve();
  await all;
  assert.deepEqual(order, ['tick', 'query', 'not found']);

  const failure = Promise.withResolvers<void>();
  made.before = () => failure.promise;
  setImmediate(() => failure.reject(new StoreUnavailable('the disk is full')));
  const [tick, query] = await Promise.allSettled([lane.execute('h', TICK), lane.query('h', { view: 'host' })]);
  assert.equal(tick.status, 'rejected');
  assert.equal(query.status, 'rejected');
});

test('a bug in a host spares what it did before, though that is on its way only', async (t) => {
  const { lane, store, add } = await lab(t);
  await add('h');
  const outcomes = await Promise.allSettled([
    lane.execute('h', TICK),
    lane.execute('h', { op: 'crash' }),
    lane.execute('h', TICK),
  ]);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  assert.deepEqual(await sequences(store, 'h'), [1, 2]);
});
