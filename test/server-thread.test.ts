/** The lane that serves HTTP: what happens to clients when it dies, and how it reaches what other lanes have. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { readConfig } from '../src/config.ts';
import { laneOf } from '../src/lanes/owner.ts';
import { openStore } from '../src/store/sqlite/store.ts';
import { KEY, Wire } from './crash/wire.ts';
import { FINDINGS } from './support/findings.ts';
import { serveLanes } from './support/lanes.ts';
import { temporaryDirectory } from './support/service.ts';

const QUIET = { ...FINDINGS, error() {} };

async function serve(t: TestContext, lanes: number, mostObjects?: number) {
  const directory = temporaryDirectory(t);
  const config = readConfig([], {
    HOLDOVER_DATA_DIR: directory,
    HOLDOVER_TENANTS: `test:${KEY}`,
    HOLDOVER_LOG_LEVEL: 'silent',
  });
  const store = openStore({ directory });
  const { pool, address } = await serveLanes(config, store, { log: QUIET, lanes, ...(mostObjects && { mostObjects }) });
  const wire = new Wire(address, { waits: true });
  t.after(async () => {
    wire.close();
    await pool.hangUp();
    await pool.close();
    await store.close();
  });
  return { pool, store, wire };
}

async function newHost(wire: Wire): Promise<string> {
  const answer = await wire.ask({ method: 'POST', path: '/v1/hosts', body: { preset: 'vmm-lab' } });
  assert.equal(answer?.status, 201);
  return (answer.body as { id: string }).id;
}

/** Until a connection that the death has ended is noticed, an answer may not come. */
async function ask(wire: Wire, path: string): Promise<number> {
  for (;;) {
    const answer = await wire.ask({ method: 'GET', path });
    if (answer !== null && answer.status !== 503) return answer.status;
  }
}

for (const lanes of [1, 2, 4])
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

test('a large host is used, and still is when either lane has died', async (t) => {
  const { pool, wire } = await serve(t, 1, 1000);
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
  const { store, wire } = await serve(t, 1);
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
