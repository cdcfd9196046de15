/** A reset leaves nothing: in no table of the database, whatever it is for, and not in memory. What is of others stays. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import Database from 'better-sqlite3';
import { Host, MIB } from '../support/client.ts';
import { type DirectoryApp, serveDirectory } from '../support/directory-app.ts';
import { openStream } from '../support/event-stream.ts';
import { ADMIN_KEY } from '../support/keys.ts';
import { temporaryDirectory } from '../support/service.ts';
import { prepare } from '../support/setups.ts';

const KEY = 'key-of-the-test-tenant';
/** Bytes that make a snapshot so large that it is stored in parts. */
const NOISE = 700_000;

/** The tables in which any of these ids stands, in whatever column, and in how many rows. */
function tablesWith(directory: string, ids: readonly string[]): Record<string, number> {
  const database = new Database(join(directory, 'holdover.db'), { readonly: true });
  const found: Record<string, number> = {};
  const tables = database.prepare<[], string>("SELECT name FROM sqlite_master WHERE type = 'table'").pluck().all();
  for (const table of tables) {
    // Commands are known by the serial of their host. Those of none are left of one that is gone.
    const rows =
      table === 'journal'
        ? `SELECT ifnull(id, '${ids[0]}') FROM journal LEFT JOIN hosts USING (serial)`
        : `SELECT * FROM "${table}"`;
    for (const row of database.prepare<[], Record<string, unknown>>(rows).iterate()) {
      const texts = Object.values(row).map((value) =>
        value instanceof Buffer ? value.toString('latin1') : String(value),
      );
      if (ids.some((id) => texts.some((text) => text.includes(id)))) found[table] = (found[table] ?? 0) + 1;
    }
  }
  database.close();
  return found;
}

interface Filled {
  app: DirectoryApp;
  directory: string;
  /** With a label, and without. */
  marked: Host[];
  bare: Host[];
  other: DirectoryApp;
  foreign: Host;
}

/** Hosts that have used all that a host can use, of a tenant, and one of another, after a restart. */
async function filled(t: TestContext): Promise<Filled> {
  const directory = temporaryDirectory(t);
  let app = await serveDirectory(directory, KEY);
  const made = await app.agent
    .post('/v1/admin/tenants')
    .set('authorization', `Bearer ${ADMIN_KEY}`)
    .send({ name: 'other' });
  const byOther = (served: DirectoryApp): DirectoryApp => ({ ...served, key: made.body.key, agent: served.agent });
  const use = async (host: Host): Promise<void> => {
    await host.request('put', '/snapshots/ready');
    await host.kexec();
    await host.request('post', '/snapshots/ready/restore');
    const writer = await host.process({ name: 'writer' });
    const memfd = await writer.memfd(2 * MIB);
    await writer.write(memfd, 0, randomBytes(NOISE).toString('base64'));
  };
  const labelled = { labels: { run: '1' } };
  const { host: first } = await prepare(app, labelled);
  await use(first);
  const second = await Host.create(app, { from: first.id, ...labelled });
  const { host: third } = await prepare(app);
  await use(third);
  const served = byOther(app);
  const { host: foreign } = await prepare(
    { ...served, host: (body = {}) => Host.create(served, { preset: 'vmm-lab', ...body }) },
    labelled,
  );
  await app.stop();
  app = await serveDirectory(directory, KEY);
  t.after(() => app.stop());
  const again = ({ id }: Host): Host => new Host(app, id);
  const other = byOther(app);
  for (const host of [first, second, third]) await again(host).process();
  return {
    app,
    directory,
    marked: [again(first), again(second)],
    bare: [again(third)],
    other,
    foreign: new Host(other, foreign.id),
  };
}

const idsOf = (hosts: readonly Host[]): string[] => hosts.map(({ id }) => id);

const reset = (app: DirectoryApp, body: object) =>
  app.agent.post('/v1/reset').set('authorization', `Bearer ${app.key}`).send(body);

const usage = async (app: DirectoryApp) => {
  const { body } = await app.agent.get('/v1/usage').set('authorization', `Bearer ${app.key}`);
  const { hosts, memory, hostMemory, mappings, descriptors, stored, streams } = body.quotas;
  return [hosts, memory, hostMemory, mappings, descriptors, stored, streams].map(({ used }) => used);
};

test('what a label marks goes in one call, and then all else', async (t) => {
  const { app, directory, marked, bare, other, foreign } = await filled(t);
  for (const { id } of [marked[0]!, bare[0]!]) {
    const clock = app.agent.post(`/v1/hosts/${id}/clock`).set('authorization', `Bearer ${app.key}`);
    assert.equal((await clock.set('idempotency-key', id).send({ advance: '1' })).status, 200);
  }
  const before = await foreign.view();
  const kept = tablesWith(directory, [foreign.id]);
  const all = tablesWith(directory, idsOf([...marked, ...bare]));
  // Each table that knows hosts has something of them, so that what follows says something.
  assert.deepEqual(Object.keys(all).sort(), [
    'events',
    'handovers',
    'host_sizes',
    'hosts',
    'idempotency_keys',
    'journal',
    'parts',
    'snapshots',
  ]);
  assert.ok((await usage(app)).slice(0, 6).every((used) => used > 0));
  const post = (path: string, body: object, key: string) =>
    app.agent.post(path).set('authorization', `Bearer ${key}`).send(body);
  const { body: child } = await post('/v1/tenants', { ttlSeconds: 600 }, app.key);
  const { body: its } = await post('/v1/hosts', { devices: [], labels: { run: '1' } }, child.key);
  const stream = await openStream(`${app.url}/v1/hosts/${marked[0]!.id}/events`, KEY);

  const { status, body } = await reset(app, { label: 'run=1' });
  assert.deepEqual([status, body], [200, { hosts: 2, tenants: 0 }]);
  assert.deepEqual(tablesWith(directory, idsOf(marked)), {});
  for (const host of marked) await assert.rejects(host.view(), /404/);
  await bare[0]!.view();
  // It ends with the host.
  for await (const _ of stream);
  assert.equal((await usage(app)).at(-1), 0);

  assert.deepEqual((await reset(app, {})).body, { hosts: 2, tenants: 1 });
  assert.deepEqual(tablesWith(directory, [...idsOf([...marked, ...bare]), child.id, its.id]), {});
  assert.deepEqual(await usage(app), [0, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual((await reset(app, {})).body, { hosts: 0, tenants: 0 });

  assert.deepEqual(await foreign.view(), before);
  assert.deepEqual(tablesWith(directory, [foreign.id]), kept);
  const { body: list } = await other.agent.get('/v1/hosts').set('authorization', `Bearer ${other.key}`);
  assert.deepEqual(
    list.items.map(({ id }: { id: string }) => id),
    [foreign.id],
  );
});
