/** Hosts that have an end are deleted when it has come, with all that they have, however the service was started meanwhile. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import { Expiry } from '../src/expiry.ts';
import type { Lanes } from '../src/lanes/lanes.ts';
import { openStore } from '../src/store/sqlite/store.ts';
import { hashKey } from '../src/store/store.ts';
import { SPEC } from './lanes/fake-host.ts';
import { openStream } from './support/event-stream.ts';
import { createLanes } from './support/lanes.ts';
import { startService, temporaryDirectory } from './support/service.ts';
import { someTenant } from './support/store.ts';

const SILENT = { info() {}, warn() {}, error() {} };
const ENDS = { a: '2026-02-01T12:00:00.000Z', b: '2026-02-01T12:00:01.000Z', c: null };
const CREATED = '2026-02-01T11:00:00.000Z';

test('a host goes when its time has come and not before, also behind a restart', async (t) => {
  const directory = temporaryDirectory(t);
  let clock = Date.parse(ENDS.a) - 1;
  const open = () => {
    const store = openStore({ directory });
    const lanes = createLanes({ store });
    const expiry = new Expiry({ store, lanes, log: SILENT, now: () => clock });
    return { store, lanes, expiry };
  };
  const first = open();
  const tenantId = await someTenant(first.store);
  for (const [id, expiresAt] of Object.entries(ENDS))
    await first.store.hosts.insert({ id, tenantId, name: id, spec: SPEC, created: CREATED, expiresAt });
  const left = async ({ store }: ReturnType<typeof open>): Promise<string> => {
    const hosts = await store.hosts.list(tenantId, 10);
    return hosts.map(({ id }) => id).join('');
  };
  await first.expiry.look();
  assert.equal(await left(first), 'abc');
  clock += 1;
  await first.expiry.look();
  assert.equal(await left(first), 'bc');
  await first.lanes.close();
  await first.store.close();
  const second = open();
  t.after(() => second.store.close());
  await second.expiry.look();
  assert.equal(await left(second), 'bc');
  clock += 1e12;
  await second.expiry.look();
  assert.equal(await left(second), 'c');
  await second.lanes.close();
});

test('a throw-away tenant goes with its hosts, also where that was begun before, and its parent stays', async (t) => {
  const store = openStore({ directory: temporaryDirectory(t) });
  t.after(() => store.close());
  const lanes = createLanes({ store });
  const parent = await store.tenants.create('acme', hashKey('of the parent'));
  const made = async (name: string, expiresAt: string) => {
    const tenant = (await store.tenants.createChild(parent, { name, expiresAt, most: 9 }, hashKey(name)))!;
    await store.hosts.insert({ id: `h-${name}`, tenantId: tenant.id, name, spec: SPEC, created: CREATED });
    return tenant;
  };
  await made('over', ENDS.a);
  const begun = await made('begun', '2999-01-01T00:00:00.000Z');
  await made('later', '2999-01-01T00:00:00.000Z');
  await store.hosts.insert({ id: 'h-own', tenantId: parent.id, name: 'own', spec: SPEC, created: CREATED });
  // Somebody has begun to delete it, and died.
  await store.tenants.end(begun.id);
  assert.equal(await store.tenants.findByKeyHash(hashKey('begun')), undefined);
  await new Expiry({ store, lanes, log: SILENT }).look();
  assert.deepEqual(
    (await store.tenants.children(parent.id)).map(({ name }) => name),
    ['acme/later'],
  );
  for (const id of ['h-over', 'h-begun']) assert.equal(await store.hosts.get(id), undefined);
  for (const id of ['h-later', 'h-own']) assert.notEqual(await store.hosts.get(id), undefined);
  await lanes.close();
});

test('one that cannot be deleted is told of once, tried again, and keeps no other one', async (t) => {
  const store = openStore({ directory: temporaryDirectory(t) });
  t.after(() => store.close());
  const tenantId = await someTenant(store);
  for (const id of ['a', 'b'])
    await store.hosts.insert({ id, tenantId, name: id, spec: SPEC, created: CREATED, expiresAt: ENDS.a });
  const told: object[] = [];
  const removed: string[] = [];
  const remove: Lanes['remove'] = async (id) => {
    if (id === 'a') throw new Error('the disk is away');
    removed.push(id);
    await store.hosts.delete({ hostId: id, epoch: 1 });
  };
  const error = (details: object): void => void told.push(details);
  const expiry = new Expiry({ store, lanes: { remove }, log: { ...SILENT, error } });
  await expiry.look();
  await expiry.look();
  assert.deepEqual(removed, ['b']);
  assert.equal(told.length, 1);
});

test('one whose row is damaged stays, as its end may be another one', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore({ directory });
  t.after(() => store.close());
  const tenantId = await someTenant(store);
  await store.hosts.insert({
    id: 'a',
    tenantId,
    name: 'a',
    spec: SPEC,
    created: CREATED,
    expiresAt: '2999-01-01T00:00:00.000Z',
  });
  const lanes = createLanes({ store });
  const tampering = new Database(join(directory, 'holdover.db'));
  tampering.exec("UPDATE hosts SET expires = '1999-01-01T00:00:00.000Z'");
  tampering.close();
  await new Expiry({ store, lanes, log: SILENT }).look();
  assert.match((await store.hosts.get('a'))?.damaged ?? '', /checksum/);
  await lanes.close();
});

test('the service does so by itself: who waits for such a host learns that it is gone', async (t) => {
  const service = await startService(t, temporaryDirectory(t), { env: { HOLDOVER_LANES: '2' } });
  const { body } = await service.request('POST', '/v1/hosts', { devices: [], ttlSeconds: 1 });
  const { id, created, expiresAt } = body as Record<string, string>;
  assert.equal(Date.parse(expiresAt!), Date.parse(created!) + 1000);
  const stream = await openStream(`${service.url}/v1/hosts/${id}/events`, 'dev-key');
  for await (const _ of stream);
  assert.ok(Date.now() >= Date.parse(expiresAt!));
  assert.equal((await service.request('GET', `/v1/hosts/${id}`)).status, 404);
  assert.deepEqual(await service.stop(), { code: 0, signal: null });
});
