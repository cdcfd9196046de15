/** Events of real hosts on their way to the store: once each, with the command that caused them, whatever happens. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import Database from 'better-sqlite3';
import type { Answer, BatchCommand, Command, EmittedEvent } from '../../src/host/command.ts';
import { buildHostSpec } from '../../src/host/host-spec.ts';
import { Lane } from '../../src/lanes/lane.ts';
import type { BatchRun } from '../../src/lanes/work-off.ts';
import { type StoredEvent, StoreUnavailable } from '../../src/store/store.ts';
import { D1 } from '../support/client.ts';
import { createLanes } from '../support/lanes.ts';
import { temporaryDirectory } from '../support/service.ts';
import { someTenant, temporaryStore } from '../support/store.ts';
import { FakeHost, SPEC } from './fake-host.ts';

const READ = { op: 'read', iova: '0x1000', length: 4 } as const;
const DMA: Command = { op: 'device.dma', bdf: D1, accesses: [READ, READ] };
const KEXEC = { op: 'kexec.freeze', mode: 'live-update', image: 'loaded' } as const;

async function lab(t: TestContext) {
  const directory = temporaryDirectory(t);
  const store = temporaryStore(t, directory);
  const tenantId = await someTenant(store);
  const built = buildHostSpec({ preset: 'vmm-lab' });
  assert.ok('spec' in built);
  const lanes = createLanes({ store });
  await lanes.create({ id: 'h', tenantId, name: 'h', spec: built.spec, created: '2026-01-01T00:00:00.000Z' });
  const events = async (): Promise<StoredEvent[]> => (await store.events.read('h', {}, null, 10_000)).events;
  return {
    store,
    lanes,
    events,
    kinds: async () => (await events()).map(({ sequence, index, kind }) => `${sequence}-${index} ${kind}`),
    tamper(sql: string) {
      const database = new Database(`${directory}/holdover.db`);
      database.exec(sql);
      database.close();
    },
  };
}

function value<T>(answer: Answer): T {
  assert.equal(answer.kind, 'ok', JSON.stringify(answer));
  return (answer as { value: T }).value;
}

const BOOT = ['0-0 boot', ...[1, 2, 3, 4, 5].map((index) => `0-${index} driver.bind`)];

test('commands emit under their own numbers, and building the host again stores nothing twice', async (t) => {
  const { store, lanes, kinds } = await lab(t);
  assert.deepEqual(await kinds(), BOOT);
  value(await lanes.execute('h', DMA));
  assert.equal((await lanes.execute('h', { op: 'device.flr', bdf: '0000:0f:00.0' })).kind, 'not-found');
  value(await lanes.execute('h', { op: 'process.create' }));
  value(await lanes.execute('h', KEXEC));
  value(await lanes.execute('h', { op: 'crash' }));
  const all = [...BOOT, '1-0 dma.fault', '1-1 dma.fault', '3-0 kexec', '4-0 boot', '5-0 crash', '5-1 boot'];
  assert.deepEqual(await kinds(), all);
  const later = createLanes({ store });
  value(await later.query('h', { view: 'host' }));
  assert.deepEqual(await kinds(), all);
  value(await later.execute('h', DMA));
  assert.deepEqual((await kinds()).slice(all.length), ['6-0 dma.fault', '6-1 dma.fault']);
});

test('what a batch emits is stored with it, and of one that is undone nothing', async (t) => {
  const store = temporaryStore(t);
  const tenantId = await someTenant(store);
  const emitted: EmittedEvent = { time: '1', kernel: 1, kind: 'pci.interrupt', message: 'it', data: { bdf: D1 } };
  class Emitting extends FakeHost {
    override batch(command: BatchCommand): BatchRun {
      const { step, outcome } = super.batch(command);
      const undone = command.onError === 'rollback';
      const stored = undone ? null : { ...outcome!.stored!, events: [emitted] };
      return { step, outcome: { ...outcome!, stored, spoiled: undone } };
    }
  }
  const lane = new Lane({
    store,
    log: { info() {}, warn() {}, error() {} },
    allowServiceDeath: false,
    makeHost: () => new Emitting(),
    die: () => Promise.reject(new Error('not here')),
  });
  await lane.create({ id: 'h', tenantId, name: 'h', spec: SPEC, created: '2026-01-01T00:00:00.000Z' });
  for (const onError of ['rollback', 'stop', 'rollback', 'continue'] as const)
    value(await lane.batch('h', { op: 'batch', pid: 1, fd: 3, ioas: 1, format: 'packed', onError }, new Uint8Array()));
  const { events } = await store.events.read('h', {}, null, 10);
  assert.deepEqual(
    events,
    [1, 2].map((sequence) => ({ sequence, index: 0, ...emitted })),
  );
});

test('a host of an earlier version gets its events when it is built for the first time', async (t) => {
  const { store, lanes, events, tamper } = await lab(t);
  for (let some = 0; some < 20; some++) value(await lanes.execute('h', DMA));
  value(await lanes.execute('h', KEXEC));
  const expected = await events();
  assert.equal(expected.length, 48);
  // Where the first attempt has come to nothing: some are there.
  for (const left of ['DELETE FROM events', 'DELETE FROM events WHERE sequence > 7 OR idx > 1']) {
    tamper(`${left}; UPDATE hosts SET checksum = NULL, events_stored = 0, gone_sequence = 0, gone_idx = 0`);
    const later = createLanes({ store });
    assert.equal(await store.events.areStored('h'), false);
    value(await later.query('h', { view: 'host' }));
    assert.equal(await store.events.areStored('h'), true);
    assert.deepEqual(await events(), expected);
    assert.equal((await store.events.read('h', {}, null, 1)).oldest, null);
    await later.close();
  }
});

test('where its events cannot be stored, such a host can be looked at, and nothing else yet', async (t) => {
  const { store, events, tamper } = await lab(t);
  const expected = await events();
  tamper('DELETE FROM events; UPDATE hosts SET checksum = NULL, events_stored = 0');
  const { end } = store.events;
  store.events.end = () => Promise.reject(new StoreUnavailable('the disk is full'));
  const later = createLanes({ store });
  value(await later.query('h', { view: 'host' }));
  await assert.rejects(later.execute('h', DMA), StoreUnavailable);
  assert.equal(await store.events.areStored('h'), false);
  store.events.end = end;
  value(await later.query('h', { view: 'host' }));
  assert.deepEqual(await events(), expected);
});
