/** What the first upgrade step makes of hosts of engine 6; that they work: test/e2e/earlier-version.test.ts. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { zstdDecompressSync } from 'node:zlib';
import type { Command, HostSpec } from '../../src/host/command.ts';
import { Host } from '../../src/host/host.ts';
import { CODEC } from '../../src/host/state/state.ts';
import { FROM_6 } from '../../src/host/state/upgrades/from-6.ts';
import { UPGRADES } from '../../src/host/state/upgrades/upgrades.ts';
import { decodeEngine6 } from '../../src/lanes/snapshot-bytes-6.ts';
import { digestOf } from '../../src/lanes/state-digest.ts';
import type { SqliteStore } from '../../src/store/sqlite/store.ts';
import { temporaryDirectory } from '../support/service.ts';
import { finished } from '../support/steps.ts';
import { temporaryStore } from '../support/store.ts';

const DATA = new URL('../fixtures/engine-6.db.zst', import.meta.url);

interface Stored {
  store: SqliteStore;
  id: string;
  spec: HostSpec;
  snapshot: { sequence: number; bytes: Uint8Array };
}

async function hostCalled(t: TestContext, wanted: string): Promise<Stored> {
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, 'holdover.db'), zstdDecompressSync(readFileSync(DATA)));
  const store = temporaryStore(t, directory);
  const tenant = await store.tenants.findByName('test');
  const { id } = (await store.hosts.list(tenant!.id, 10)).find(({ name }) => name === wanted)!;
  const snapshot = (await store.snapshots.before(id, Number.MAX_SAFE_INTEGER))!;
  const origin = (await store.hosts.origin(id))!;
  assert.ok('bytes' in snapshot && snapshot.engine === '6' && 'spec' in origin);
  return { store, id, spec: origin.spec, snapshot };
}

test('a host that was brought to this version is the one that its commands make', async (t) => {
  const { store, id, spec, snapshot } = await hostCalled(t, 'whole');
  const graph = finished(decodeEngine6(snapshot.bytes));
  for (const { step } of UPGRADES) step(graph);
  const upgraded = finished(CODEC.decode(finished(graph.toPieces()))) as Host;
  for (const { files } of upgraded.kernel!.vfio.devices.values())
    for (const file of files) if (file.bound) void file.pci;
  const replayed = new Host(spec);
  for (const { sequence, command } of await store.journal.read(id, 0))
    if (sequence <= snapshot.sequence) replayed.execute(JSON.parse(command) as Command);
  assert.equal(digestOf(upgraded), digestOf(replayed));
});

test('events that a host kept itself come out of it, in their order', async (t) => {
  const { snapshot } = await hostCalled(t, 'before');
  const graph = finished(decodeEngine6(snapshot.bytes));
  const events = FROM_6.step(graph);
  assert.equal(events?.length, 33);
  assert.deepEqual(events[0], {
    time: '0',
    kernel: 1,
    kind: 'boot',
    message: 'booted cold',
    data: { profile: 'persisted-domains', handover: false, liveupdate: true },
  });
  assert.equal(events.at(-1)!.kind, 'driver.bind');
  assert.equal('log' in graph.root.fields, false);
});
