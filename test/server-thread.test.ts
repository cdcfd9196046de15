/** Lanes that serve HTTP: what they have in common, how each reaches what others have, and what happens to clients when one dies. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { readConfig } from '../src/config.ts';
import { laneOf } from '../src/lanes/owner.ts';
import { openStore } from '../src/store/sqlite/store.ts';
import type { Request } from './crash/operations.ts';
import { ADMIN_KEY, KEY, Wire } from './crash/wire.ts';
import { FINDINGS } from './support/findings.ts';
import { serveLanes } from './support/lanes.ts';
import { temporaryDirectory } from './support/service.ts';

const QUIET = { ...FINDINGS, error() {} };

interface Options {
  mostObjects?: number;
  quotas?: string;
}

async function serve(t: TestContext, lanes: number, { mostObjects, quotas = '' }: Options = {}) {
  const directory = temporaryDirectory(t);
  const config = readConfig([], {
    HOLDOVER_DATA_DIR: directory,
    HOLDOVER_TENANTS: `test:${KEY}`,
    HOLDOVER_ADMIN_KEY: ADMIN_KEY,
    HOLDOVER_QUOTAS: quotas,
    HOLDOVER_LOG_LEVEL: 'silent',
  });
  const store = openStore({ directory });
  const { pool, address } = await serveLanes(config, store, { log: QUIET, lanes, ...(mostObjects && { mostObjects }) });
  const wires: Wire[] = [];
  const connect = (options?: { connections: number }): Wire => {
    const wire = new Wire(address, { waits: true, ...options });
    wires.push(wire);
    return wire;
  };
  t.after(async () => {
    for (const wire of wires) wire.close();
    await pool.hangUp();
    await pool.close();
    await store.close();
  });
  return { pool, store, connect, wire: connect() };
}

async function newHost(wire: Wire): Promise<string> {
  const answer = await wire.ask({ method: 'POST', path: '/v1/hosts', body: { preset: 'vmm-lab' } });
  assert.equal(answer?.status, 201);
  return (answer.body as { id: string }).id;
}

/** A client that keeps one connection, and a host that was made by it. */
interface Visitor {
  wire: Wire;
  host: string;
}

/** One in each lane: the system chooses which lane a connection comes to, and hosts are made there. */
async function visitors(connect: (options: { connections: number }) => Wire, lanes: number): Promise<Visitor[]> {
  const found: Visitor[] = [];
  while (found.filter(Boolean).length < lanes) {
    const wire = connect({ connections: 1 });
    const host = await newHost(wire);
    found[laneOf(host, lanes)] ??= { wire, host };
  }
  return found;
}

/** Until a connection that the death has ended is noticed, an answer may not come. */
async function ask(wire: Wire, path: string): Promise<number> {
  for (;;) {
    const answer = await wire.ask({ method: 'GET', path });
    if (answer !== null && answer.status !== 503) return answer.status;
  }
}

/** Requests that wait, of all lanes. */
async function waitingNow(wire: Wire): Promise<number> {
  const answer = await wire.ask({ method: 'GET', path: '/v1/usage' });
  return (answer!.body as { quotas: { streams: { used: number } } }).quotas.streams.used;
}

const statusOf = async (
  wire: Wire,
  path: string,
  method: Request['method'] = 'GET',
  body?: object,
): Promise<number | undefined> => (await wire.ask({ method, path, ...(body && { body }) }))?.status;

for (const lanes of [1, 2, 4]) {
  test(`with ${lanes} lane(s), of which any dies, hosts of all are served again at the same address`, async (t) => {
    const { pool, wire } = await serve(t, lanes);
    const hosts = await Promise.all(Array.from({ length: 4 * lanes }, () => newHost(wire)));
    for (let lane = 0; lane < lanes; lane += 1) {
      const own = hosts.find((id) => laneOf(id, lanes) === lane);
      if (own === undefined) continue;
      await pool.kill(own);
      for (const id of hosts) assert.equal(await ask(wire, `/v1/hosts/${id}`), 200);
    }
  });

  test(`with ${lanes} lane(s), all of them serve, and the hosts that a connection makes are of its lane`, async (t) => {
    const { connect } = await serve(t, lanes);
    const all = await visitors(connect, lanes);
    for (const [lane, { wire, host }] of all.entries()) {
      for (let turn = 0; turn < 3; turn += 1) assert.equal(laneOf(await newHost(wire), lanes), lane);
      assert.equal(wire.opened, 1);
      for (const other of all) assert.equal(await statusOf(other.wire, `/v1/hosts/${host}`), 200);
    }
  });
}

for (const lanes of [2, 4])
  test(`with ${lanes} lanes, clients of the others do not notice that one dies`, async (t) => {
    const { pool, connect } = await serve(t, lanes);
    const [dying, ...others] = await visitors(connect, lanes);
    let isOver = false;
    const asking = others.map(async ({ wire, host }) => {
      while (!isOver) assert.equal(await statusOf(wire, `/v1/hosts/${host}`), 200);
    });
    await pool.kill(dying!.host);
    assert.equal(await ask(others[0]!.wire, `/v1/hosts/${dying!.host}`), 200);
    assert.equal(await ask(dying!.wire, `/v1/hosts/${dying!.host}`), 200);
    isOver = true;
    await Promise.all(asking);
    assert.deepEqual(
      others.map(({ wire }) => wire.opened),
      others.map(() => 1),
    );
  });

test('requests a second are counted in all lanes together', async (t) => {
  const lanes = 4;
  const begun = performance.now();
  const { connect } = await serve(t, lanes, { quotas: 'requests=40' });
  const wires = Array.from({ length: 16 }, () => connect({ connections: 1 }));
  const statuses = await Promise.all(
    wires.flatMap((wire) => Array.from({ length: 20 }, () => statusOf(wire, '/v1/usage'))),
  );
  const most = 40 * (1 + (performance.now() - begun) / 1000) + 1;
  const served = statuses.filter((status) => status === 200).length;
  assert.ok(served >= 40 && served <= most, `${served} requests were served, of ${most} that may be`);
  assert.equal(statuses.filter((status) => status === 429).length, statuses.length - served);
});

test('requests that wait are counted in all lanes together', async (t) => {
  const lanes = 4;
  const { connect } = await serve(t, lanes, { quotas: 'streams=2' });
  const [one, two, three, last] = (await visitors(connect, lanes)) as [Visitor, Visitor, Visitor, Visitor];
  const wait = ({ wire, host }: Visitor): Promise<number | undefined> =>
    statusOf(wire, `/v1/hosts/${host}/events?wait=30s&after=999999-0`);
  const waiting = [wait(one), wait(two)];
  while ((await waitingNow(last.wire)) < 2);
  assert.equal(await wait(three), 429);
  for (const { host } of [one, two]) assert.equal(await statusOf(last.wire, `/v1/hosts/${host}`, 'DELETE'), 204);
  assert.deepEqual(await Promise.all(waiting), [404, 404]);
});

test('what one lane has changed, others answer at once', async (t) => {
  const lanes = 2;
  const { store, connect } = await serve(t, lanes);
  const [one, other] = (await visitors(connect, lanes)) as [Visitor, Visitor];
  for (let turn = 0; turn < 20; turn += 1) {
    const path = `/v1/hosts/${await newHost(one.wire)}`;
    assert.equal(await statusOf(other.wire, `${path}/events`), 200);
    assert.equal(await statusOf(one.wire, path, 'DELETE'), 204);
    assert.equal(await statusOf(other.wire, `${path}/events`), 404);
  }
  const { id } = (await store.tenants.findByName('test'))!;
  const path = `/v1/admin/tenants/${id}`;
  for (const most of [7, 9, 11]) {
    const changed = await one.wire.ask({ method: 'PATCH', path, body: { quotas: { streams: most } }, key: ADMIN_KEY });
    assert.equal(changed?.status, 200);
    const usage = await other.wire.ask({ method: 'GET', path: '/v1/usage' });
    assert.equal((usage!.body as { quotas: { streams: { limit: number } } }).quotas.streams.limit, most);
  }
});

test('who waits in one lane is woken by what is done in another, and by its death', async (t) => {
  const lanes = 2;
  const { pool, connect } = await serve(t, lanes);
  const [one, other] = (await visitors(connect, lanes)) as [Visitor, Visitor];
  const path = `/v1/hosts/${one.host}`;
  const newest = async (): Promise<string> => {
    const answer = await one.wire.ask({ method: 'GET', path: `${path}/events` });
    return (answer!.body as { items: { id: string }[] }).items.at(-1)!.id;
  };
  for (const asker of [one, other]) {
    const after = await newest();
    const waiting = other.wire.ask({ method: 'GET', path: `${path}/events?wait=30s&after=${after}` });
    const elsewhere = connect({ connections: 1 });
    while ((await waitingNow(one.wire)) === 0);
    assert.equal(
      await statusOf(asker === other ? elsewhere : one.wire, `${path}/kexec`, 'POST', { mode: 'plain' }),
      200,
    );
    const { status, body } = (await waiting)!;
    assert.equal(status, 200);
    assert.ok((body as { items: object[] }).items.length > 0);
  }
  const after = await newest();
  const waiting = other.wire.ask({ method: 'GET', path: `${path}/events?wait=30s&after=${after}` });
  while ((await waitingNow(one.wire)) === 0);
  // No client has asked for it, so nobody tells.
  await pool.execute(one.host, { op: 'reset' });
  await pool.kill(one.host);
  assert.equal((await waiting)?.status, 200);
});

test('a large host is used, and still is when either lane has died', async (t) => {
  const { pool, wire } = await serve(t, 1, { mostObjects: 1000 });
  const id = await newHost(wire);
  const path = `/v1/hosts/${id}`;
  const started = await wire.ask({ method: 'POST', path: `${path}/processes`, body: {} });
  assert.equal(started?.status, 201);
  const { pid } = started.body as { pid: number };
  assert.equal((await wire.ask({ method: 'GET', path }))?.status, 200);
  // Its lane is that of large hosts by now, in the eyes of both threads.
  await pool.execute(id, { op: 'clock.advance', nanoseconds: '1' });
  await pool.kill(id);
  assert.equal(await ask(wire, `${path}/processes/${pid}`), 200);
  await pool.kill('of the first lane');
  assert.equal(await ask(wire, `${path}/processes/${pid}`), 200);
  assert.equal((await wire.ask({ method: 'DELETE', path }))?.status, 204);
  assert.equal((await pool.query(id, { view: 'host' })).kind, 'not-found');
});

test('damage that one thread has found is known in the other, until it is mended', async (t) => {
  const { store, wire } = await serve(t, 2);
  const id = await newHost(wire);
  store.damage.add({ hostId: id, kind: 'events', what: 'some of its events are gone' });
  /** One thread tells the other: it takes a moment. */
  const untilReadiness = async (wanted: string): Promise<void> => {
    for (let status: string | undefined; status !== wanted; ) {
      const answer = await wire.ask({ method: 'GET', path: '/readyz' });
      assert.equal(answer?.status, 200);
      status = (answer.body as { status: string }).status;
    }
  };
  await untilReadiness('damaged');
  assert.equal((await wire.ask({ method: 'DELETE', path: `/v1/hosts/${id}` }))?.status, 204);
  await untilReadiness('ok');
});
