/** What a disk may do to the database: it is told, nothing wrong is answered, and other hosts do not notice. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import { Host } from '../support/client.ts';
import { ADMIN_KEY } from '../support/keys.ts';
import { MortalApp } from '../support/mortal-app.ts';
import { prepare } from '../support/setups.ts';

function open({ directory }: MortalApp): Database.Database {
  return new Database(join(directory, 'holdover.db'));
}

/** SQL: which rows of a table are of a host. */
const ofHost = (table: string): string => {
  if (table === 'hosts') return 'id = ?';
  return table === 'journal' ? 'serial = (SELECT serial FROM hosts WHERE id = ?)' : 'host_id = ?';
};

/** One byte of the newest value of a host becomes another one. */
function flip(app: MortalApp, table: string, column: string, host: Host, at: 'middle' | 'end'): void {
  const database = open(app);
  const where = `${ofHost(table)} AND ${column} IS NOT NULL ORDER BY sequence DESC LIMIT 1`;
  const row = database.prepare(`SELECT sequence, ${column} AS data FROM ${table} WHERE ${where}`).get(host.id) as {
    sequence: number;
    data: Buffer;
  };
  const place = at === 'end' ? row.data.length - 1 : row.data.length >>> 1;
  row.data[place]! ^= 1;
  const { changes } = database
    .prepare(`UPDATE ${table} SET ${column} = ? WHERE ${ofHost(table)} AND sequence = ?`)
    .run(row.data, host.id, row.sequence);
  assert.equal(changes, 1);
  database.close();
}

interface Word {
  kind: string;
  what: string;
  since: string;
}

/** What the host says is damaged of it. */
async function damageOf(host: Host): Promise<Word[]> {
  return ((await host.request('get', '')) as { damage: Word[] | null }).damage ?? [];
}

/** It takes no commands, and says why. */
async function refuses(host: Host, why: RegExp): Promise<void> {
  await assert.rejects(host.request('post', '/clock', { advance: 1 }), (error) => {
    assert.match(String(error), /: 500 .*"\/problems\/damaged"/);
    return why.test(String(error));
  });
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
  const why = /the handover of command \d+ (does not match its checksum|cannot be read).*delete it, or have a copy/i;
  const { diverged, state, kernel } = (await host.view()) as unknown as Record<string, unknown>;
  assert.deepEqual([diverged, state, kernel], [null, 'kexec', 1]);
  const [word] = await damageOf(host);
  assert.equal(word?.kind, 'handover');
  assert.match(word.what, why);
  await refuses(host, why);
  assert.match(app.service.output(), /some of what is stored is damaged/);
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
  assert.equal(((await host.request('get', path)) as { areas: number }).areas, 0);
  const [word] = await damageOf(host);
  assert.equal(word?.kind, 'journal');
  await refuses(host, /command \d+ of the host is damaged: its row does not match its checksum/i);
});

/** What is told of the host alone and of all hosts, and by whom all is told. */
async function told(app: MortalApp, host: Host): Promise<[Word[], unknown]> {
  const { body } = await app.agent.get('/readyz').set('authorization', `Bearer ${ADMIN_KEY}`);
  const { inspected, damage } = body as { inspected: boolean; damage: (Word & { host: string | null })[] };
  assert.equal(inspected, true);
  const of = damage.filter((word) => word.host === host.id).map(({ host: _, ...word }) => word);
  const { body: list } = await app.agent.get('/v1/hosts').set('authorization', `Bearer ${app.key}`);
  const listed = (list as { items: { id: string; damage: unknown }[] }).items.find(({ id }) => id === host.id);
  for (const { what } of of) assert.ok(app.service.output().includes(what.slice(0, 60)), app.service.output());
  return [of, listed?.damage];
}

for (const [what, sql, kind, left] of [
  ['a letter of a command', "UPDATE journal SET command = replace(command, '1', '2') WHERE sequence = 3", 'journal', 2],
  ['a command that is gone', 'DELETE FROM journal WHERE sequence = 3', 'journal', 2],
  ['the newest commands', 'DELETE FROM journal WHERE sequence > 4', 'end', 4],
  ['what it was made as', 'UPDATE hosts SET spec = replace(spec, \'"memory"\', \'"memora"\')', 'description', null],
  ['its name', "UPDATE hosts SET name = 'another'", 'description', 6],
  ['what it has told', "UPDATE events SET message = 'nothing' WHERE sequence = 0", 'events', 6],
] as const)
  test(`damage is told to the owner and the operator, and harms nobody else: ${what}`, async (t) => {
    const app = new MortalApp(t);
    await app.start();
    const [host, other] = [await app.host(), await app.host()];
    for (const one of [host, other]) for (let time = 0; time < 6; time += 1) await advance(one, 1);
    const expected = await other.view();
    await app.service.stop('SIGKILL');
    const database = open(app);
    const of = ofHost(['hosts', 'journal'].find((table) => sql.includes(` ${table} `)) ?? '');
    const { changes } = database.prepare(`${sql} ${sql.includes('WHERE') ? 'AND' : 'WHERE'} ${of}`).run(host.id);
    assert.ok(changes > 0);
    database.close();

    await app.start();
    const [words, listed] = await told(app, host);
    assert.deepEqual(
      words.map((word) => word.kind),
      [kind],
    );
    assert.deepEqual([await damageOf(host), listed], [words, words]);
    assert.deepEqual(await other.view(), expected);
    assert.deepEqual(await damageOf(other), []);
    await advance(other, 1);
    if (left === 6) await advance(host, 1);
    else await refuses(host, /delete it, or have a copy of the database put back/);
    if (left !== null && left < 6) {
      assert.equal(Number((await host.view()).time), (Number(expected.time) / 6) * left);
    }
    await host.request('delete', '');
    assert.deepEqual((await told(app, host))[0], []);
  });

test('commits that the WAL has lost are told, with the hosts that they were about', async (t) => {
  const app = new MortalApp(t);
  await app.start();
  const [host, idle, deleted] = [await app.host(), await app.host(), await app.host()];
  await advance(host, 3);
  // All of that is in the database itself.
  await app.service.stop();
  await app.start();
  await advance(host, 2);
  await deleted.request('delete', '');
  const lost = await app.host();
  await app.service.stop('SIGKILL');
  truncateSync(join(app.directory, 'holdover.db-wal'), 0);

  await app.start();
  assert.match((await damageOf(host))[0]!.what, /commands 4 to 5 of the host were stored and are gone/);
  await refuses(host, /commands 4 to 5/i);
  assert.equal((await damageOf(deleted))[0]?.kind, 'deletion');
  assert.match((await told(app, lost))[0][0]!.what, /was stored and is gone.*holdover\.marks/);
  await assert.rejects(lost.view(), /: 500 .*"\/problems\/damaged".*was stored and is gone/);
  assert.deepEqual(await damageOf(idle), []);
  await advance(idle, 1);

  // As when that is what was put back on purpose.
  await app.service.stop();
  rmSync(join(app.directory, 'holdover.marks'));
  await app.start();
  await advance(host, 1);
  assert.deepEqual([await damageOf(host), await damageOf(deleted)], [[], []]);
  await assert.rejects(lost.view(), /: 404 /);
});

test('a database with a damaged page serves what is whole, and says that it is damaged, what is and what to do', async (t) => {
  const app = new MortalApp(t);
  await app.start();
  const hosts = await Promise.all(Array.from({ length: 6 }, () => app.host()));
  for (const host of hosts) for (let time = 0; time < 4; time += 1) await advance(host, 10);
  const views = await Promise.all(hosts.map((host) => host.view()));
  await app.service.stop();
  const file = join(app.directory, 'holdover.db');
  const database = open(app);
  const page = database
    .prepare("SELECT pageno FROM dbstat WHERE name = 'journal' AND pagetype = 'leaf' ORDER BY pageno LIMIT 1 OFFSET 1")
    .pluck()
    .get() as number;
  database.close();
  const bytes = readFileSync(file);
  writeFileSync(file, bytes.fill(0xff, (page - 1) * 4096, page * 4096));

  await app.start();
  const { body } = await app.agent.get('/readyz').set('authorization', `Bearer ${ADMIN_KEY}`);
  const { status, damage } = body as { status: string; damage: (Word & { host: string | null })[] };
  assert.equal(status, 'damaged');
  const all = damage.find(({ host }) => host === null);
  assert.match(
    all?.what ?? '',
    /holdover\.db in HOLDOVER_DATA_DIR\) is damaged \(.*\): have the service stopped, and a copy/,
  );
  let whole = 0;
  for (const [index, host] of hosts.entries()) {
    const words = await damageOf(host);
    assert.ok(words.some(({ kind }) => kind === 'database'));
    if (words.length > 1) await refuses(host, /damaged|gone/);
    else {
      whole += 1;
      assert.deepEqual(await host.view(), { ...views[index], damage: words });
      await advance(host, 1);
    }
  }
  await assert.rejects(new Host(app, 'h-nowhere').view(), /: 500 .*"\/problems\/damaged"/);
  assert.ok(whole > 0 && whole < hosts.length, `${whole} hosts are whole`);
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
