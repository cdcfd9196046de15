/** What a disk may do to the database: it is told, nothing wrong is answered, and other hosts do not notice. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import type { Host } from '../support/client.ts';
import { MortalApp } from '../support/mortal-app.ts';
import { prepare } from '../support/setups.ts';

function open({ directory }: MortalApp): Database.Database {
  return new Database(join(directory, 'holdover.db'));
}

/** One byte of the newest value of a host becomes another one. */
function flip(app: MortalApp, table: string, column: string, host: Host, at: 'middle' | 'end'): void {
  const database = open(app);
  const where = `host_id = ? AND ${column} IS NOT NULL ORDER BY sequence DESC LIMIT 1`;
  const row = database.prepare(`SELECT sequence, ${column} AS data FROM ${table} WHERE ${where}`).get(host.id) as {
    sequence: number;
    data: Buffer;
  };
  const place = at === 'end' ? row.data.length - 1 : row.data.length >>> 1;
  row.data[place]! ^= 1;
  const { changes } = database
    .prepare(`UPDATE ${table} SET ${column} = ? WHERE host_id = ? AND sequence = ?`)
    .run(row.data, host.id, row.sequence);
  assert.equal(changes, 1);
  database.close();
}

/** How many nanoseconds it has been, as the answer to another one tells. */
async function clockOf(host: Host): Promise<bigint> {
  return BigInt(((await host.request('post', '/clock', { advance: 1 })) as { now: string }).now);
}

const advance = (host: Host, times: number): Promise<unknown> =>
  Promise.all(Array.from({ length: times }, () => host.request('post', '/clock', { advance: 1 })));

test('a byte of a handover that has flipped: the next kernel is not booted from it', async (t) => {
  const app = new MortalApp(t);
  await app.start({ HOLDOVER_ALLOW_SERVICE_DEATH: '1' });
  const other = await app.host();
  const { host } = await prepare(app);
  await host.armFault('service.death');
  await assert.rejects(host.kexec());
  await app.service.exited;
  flip(app, 'handovers', 'data', host, 'middle');

  await app.start();
  const { diverged, state, kernel } = (await host.view()) as unknown as Record<string, unknown>;
  assert.match(
    JSON.stringify(diverged),
    /"op":"kexec\.boot","why":"the handover of command \d+ (does not match its checksum|cannot be read)/,
  );
  assert.deepEqual([state, kernel], ['kexec', 1]);
  await assert.rejects(host.request('post', '/clock', { advance: 1 }), {
    errno: 'EIO',
    message: /this host cannot go on.*handover/,
  });
  assert.match(app.service.output(), /host diverged/);
  await advance(other, 1);
  await host.request('delete', '');
});

test('a byte of a batch that has flipped: the host stands as it was before', async (t) => {
  const app = new MortalApp(t);
  await app.start();
  const host = await app.host();
  const process = await host.process();
  const iommufd = await process.open('/dev/iommu');
  const ioas = await process.allocIoas(iommufd);
  await process.mmap(0x7f00_0000_0000, 0x10_0000);
  const path = `/processes/${process.pid}/iommufds/${iommufd}/ioases/${ioas}`;
  const operation = { op: 'map', iova: 0x1_0000_0000, length: 4096, userVa: 0x7f00_0000_0000 };
  await host.request('post', `${path}/batch`, { operations: [operation] });
  await app.service.stop('SIGKILL');
  // One that changes no answer.
  flip(app, 'journal', 'payload', host, 'end');

  await app.start();
  const { diverged } = (await host.view()) as unknown as { diverged: { op: string } };
  assert.equal(diverged.op, 'batch');
  assert.equal(((await host.request('get', path)) as { areas: number }).areas, 0);
  await assert.rejects(advance(host, 1), { errno: 'EIO' });
});

test('a byte of a snapshot that has flipped: the commands before it tell the same', async (t) => {
  const app = new MortalApp(t);
  await app.start();
  const host = await app.host();
  await advance(host, 120);
  await app.service.stop();
  await app.start();
  await advance(host, 120);
  const clock = await clockOf(host);
  const events = await host.events();
  await app.service.stop();
  flip(app, 'snapshots', 'data', host, 'middle');

  await app.start();
  assert.deepEqual(await host.events(), events);
  const step = (await clockOf(host)) - clock;
  assert.equal((await clockOf(host)) - clock, 2n * step);
  assert.match(app.service.output(), /a snapshot cannot be used/);
  await advance(host, 1);
});

test('while another program keeps the database to itself: nothing is changed, all can be read, and then it goes on', async (t) => {
  const app = new MortalApp(t);
  await app.start();
  const host = await app.host();
  const clock = await clockOf(host);
  const view = await host.view();
  const other = open(app);
  other.exec('BEGIN IMMEDIATE');
  await assert.rejects(advance(host, 1), /: 503 .*The store of the service does not answer\. Nothing has changed/);
  assert.deepEqual(await host.view(), view);
  other.exec('ROLLBACK');
  other.close();
  const step = (await clockOf(host)) - clock;
  assert.equal((await clockOf(host)) - clock, 2n * step);
});
