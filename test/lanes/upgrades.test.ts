/** Hosts that another version of the engine has stored: here one in which a field had another name. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import Database from 'better-sqlite3';
import type { Answer } from '../../src/host/command.ts';
import { buildHostSpec } from '../../src/host/host-spec.ts';
import { StateGraph } from '../../src/host/state/graph.ts';
import type { Upgrade } from '../../src/host/state/upgrades/upgrade.ts';
import { makeHost, restoring } from '../../src/lanes/engine.ts';
import { ENGINE } from '../../src/lanes/engine-version.ts';
import { Lane } from '../../src/lanes/lane.ts';
import { decodePieces, encodePieces } from '../../src/lanes/snapshot-bytes.ts';
import type { Store } from '../../src/store/store.ts';
import { temporaryDirectory } from '../support/service.ts';
import { finished } from '../support/steps.ts';
import { someTenant, temporaryStore } from '../support/store.ts';

const OTHER = 'another';
const D1 = '0000:01:00.0';
const HOST = { view: 'host', digest: true } as const;

/** Classes of objects in use. */
const COUNTED = ['Ioas', 'IommufdDevice', 'HwptPaging'];

const renamed: Upgrade = {
  from: OTHER,
  to: ENGINE,
  step(graph) {
    for (const name of COUNTED) graph.renameField(name, 'useCount', '_users');
  },
};

interface Lab {
  store: Store;
  /** Of the log. */
  errors: { message: string; why?: string }[];
  start(upgrades: readonly Upgrade[]): Lane;
  /** Deletes the commands that the snapshot holds. */
  shorten(): void;
  /** Before it was stored. */
  digest: string;
}

const contents = (answer: Answer): Record<string, unknown> => {
  assert.equal(answer.kind, 'ok', JSON.stringify(answer));
  return (answer as { value: Record<string, unknown> }).value;
};

/** A host with a device on an IOAS, whose snapshot is as another version would have made it. */
async function lab(t: TestContext): Promise<Lab> {
  const directory = temporaryDirectory(t);
  const store = temporaryStore(t, directory);
  const errors: Lab['errors'] = [];
  const log = {
    info() {},
    warn() {},
    error: (details: object, message: string) => void errors.push({ message, ...(details as { why?: string }) }),
  };
  const start = (upgrades: readonly Upgrade[]): Lane =>
    new Lane({
      ...{ store, log, allowServiceDeath: false, makeHost, restoreHost: restoring(upgrades) },
      die: () => Promise.reject(new Error('not here')),
    });
  const tamper = (run: (database: Database.Database) => void): void => {
    const database = new Database(`${directory}/holdover.db`);
    run(database);
    database.close();
  };
  const built = buildHostSpec({ preset: 'vmm-lab' });
  assert.ok('spec' in built);
  const lane = start([]);
  const created = '2026-01-01T00:00:00.000Z';
  await lane.create({ id: 'h', tenantId: await someTenant(store), name: 'h', spec: built.spec, created });
  await lane.execute('h', { op: 'process.create' });
  const call = async (...calls: Parameters<typeof calling>[0][]): Promise<void> => {
    for (const each of calls) contents(await lane.execute('h', calling(each)));
  };
  await call({ call: 'open', path: '/dev/iommu' }, { call: 'open', path: '/dev/vfio/devices/vfio0' });
  await call({ call: 'mmap', addr: '0x10000000', length: '0x100000' });
  await call({ call: 'ioctl', fd: 3, request: 'IOMMU_IOAS_ALLOC' });
  const map = { flags: 7, ioas_id: 1, user_va: '0x10000000', length: '0x100000', iova: '0x100000' };
  await call({ call: 'ioctl', fd: 3, request: 'IOMMU_IOAS_MAP', arg: map });
  await call({ call: 'ioctl', fd: 4, request: 'VFIO_DEVICE_BIND_IOMMUFD', arg: { iommufd: 3 } });
  await call({ call: 'ioctl', fd: 4, request: 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', arg: { pt_id: 1 } });
  for (let times = 0; times < 120; times++) await lane.execute('h', { op: 'clock.advance', nanoseconds: '1' });
  const { digest } = contents(await lane.query('h', HOST));
  await lane.close();

  const made = (await store.snapshots.before('h', Number.MAX_SAFE_INTEGER))!;
  assert.ok('bytes' in made);
  const graph = finished(StateGraph.fromPieces(finished(decodePieces(made.bytes))));
  for (const name of COUNTED) graph.renameField(name, '_users', 'useCount');
  const bytes = finished(encodePieces(finished(graph.toPieces())));
  await store.snapshots.put({
    hostId: 'h',
    epoch: (await store.hosts.own('h'))!,
    sequence: made.sequence,
    engine: OTHER,
    bytes,
  });
  return {
    ...{ store, errors, start, digest: String(digest) },
    shorten: () => tamper((database) => database.exec(`DELETE FROM journal WHERE sequence <= ${made.sequence}`)),
  };
}

const calling = (call: Record<string, unknown> & { call: string }) =>
  ({ op: 'calls', pid: 1, calls: [call] }) as Parameters<Lane['execute']>[1] & { op: 'calls' };

test('without an upgrade step such a host is built from its journal', async (t) => {
  const { start, errors, digest } = await lab(t);
  const lane = start([]);
  assert.equal(contents(await lane.query('h', HOST)).digest, digest);
  assert.equal(errors.length, 1);
  assert.match(
    errors[0]!.why!,
    new RegExp(`it is of engine ${OTHER}, this is engine ${ENGINE}, and no upgrade step leads here`),
  );
  const { results } = contents(await lane.execute('h', calling({ call: 'close', fd: 4 })));
  assert.deepEqual((results as { ret: number }[])[0]!.ret, 0);
});

test('with an upgrade step a host whose old commands are gone lives on, and is stored anew', async (t) => {
  const { start, shorten, errors, digest, store } = await lab(t);
  shorten();
  const lane = start([renamed]);
  assert.equal(contents(await lane.query('h', HOST)).digest, digest);
  const accesses = [{ op: 'read', iova: '0x100000', length: 1 }] as const;
  const { results } = contents(await lane.execute('h', { op: 'device.dma', bdf: D1, accesses: [...accesses] }));
  assert.deepEqual(results, [{ ok: true, data: 'AQ==' }]);
  assert.deepEqual(errors, []);
  await lane.close();
  assert.equal((await store.snapshots.before('h', Number.MAX_SAFE_INTEGER))!.engine, ENGINE);
  contents(await start([]).query('h', HOST));
});

test('without one it cannot be read, and says why', async (t) => {
  const { start, shorten } = await lab(t);
  shorten();
  const answer = await start([]).query('h', HOST);
  assert.match(answer.kind === 'refused' ? answer.why : '', /no upgrade step leads here.*it can be deleted/);
});

test('a step that leaves a field, or is for other fields, is not believed', async (t) => {
  const wrong = [
    [{ ...renamed, step: () => undefined }, /class \w+ has fields in it that this version has not: useCount/],
    [
      { ...renamed, step: (graph: StateGraph) => graph.dropFields('Ioas', 'counter') },
      /class Ioas has no field counter/,
    ],
  ] as const;
  for (const [step, why] of wrong) {
    const { start, errors, digest } = await lab(t);
    assert.equal(contents(await start([step as Upgrade]).query('h', HOST)).digest, digest, 'from the journal');
    assert.match(errors[0]!.why!, why);
  }
});

test('fields are compared where the engine is said to be the same, too', async (t) => {
  const { start, errors, digest, store } = await lab(t);
  const stored = (await store.snapshots.before('h', Number.MAX_SAFE_INTEGER))!;
  assert.ok('bytes' in stored);
  await store.snapshots.put({
    hostId: 'h',
    epoch: (await store.hosts.own('h'))!,
    sequence: stored.sequence,
    engine: ENGINE,
    bytes: stored.bytes,
  });
  assert.equal(contents(await start([]).query('h', HOST)).digest, digest);
  assert.match(errors[0]!.why!, /class \w+ has fields in it that this version has not: useCount/);
});
