/** SQLite in each of the ways in which it writes: by this thread, by a thread of its own, and by the one that runs hosts. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import Database from 'better-sqlite3';
import { connectForWriting } from '../../../src/store/sqlite/database.ts';
import { openShared } from '../../../src/store/sqlite/sharing.ts';
import { openStore } from '../../../src/store/sqlite/store.ts';
import { GroupWriter } from '../../../src/store/sqlite/writer.ts';
import { SPEC } from '../../lanes/fake-host.ts';
import { temporaryDirectory } from '../../support/service.ts';
import { type Subject, testContract } from '../contract.ts';

/** One byte of the newest becomes another one. */
const FLIP = 'CAST(substr(data, 1, 9) || char(unicode(substr(data, 10, 1)) + 1) || substr(data, 11) AS BLOB)';
const NEWEST_PART = (kind: string) =>
  `UPDATE parts SET data = zeroblob(100) WHERE host_id = ? AND kind = '${kind}' AND part = 1 AND sequence =
     (SELECT max(sequence) FROM parts WHERE host_id = ? AND kind = '${kind}')`;
const NEWEST_COMMAND = '(SELECT max(place) FROM journal JOIN hosts USING (serial) WHERE id IN (?, ?))';
const DAMAGE = {
  handover: `UPDATE handovers SET data = ${FLIP} WHERE host_id = ?
             AND sequence = (SELECT max(sequence) FROM handovers WHERE host_id = ?)`,
  payload: NEWEST_PART('payload'),
  snapshot: NEWEST_PART('snapshot'),
  spec: "UPDATE hosts SET spec = replace(spec, '0x1000000', '0x1000001') WHERE id IN (?, ?)",
  command: `UPDATE journal SET command = replace(command, 'advance', 'advence') WHERE place = ${NEWEST_COMMAND}`,
  event: `UPDATE events SET message = 'it is here' WHERE host_id = ?
          AND sequence = (SELECT max(sequence) FROM events WHERE host_id = ?)`,
  end: `DELETE FROM journal WHERE place = ${NEWEST_COMMAND}`,
};

function damage(directory: string): Subject['damage'] {
  return (what, hostId) => {
    const database = new Database(join(directory, 'holdover.db'));
    const { changes } = database.prepare(DAMAGE[what]).run(hostId, hostId);
    database.close();
    assert.equal(changes, 1);
  };
}

testContract('SQLite, one thread', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore({ directory });
  const database = connectForWriting(directory, 'process');
  store.writeBy(new GroupWriter(database));
  const close = async (): Promise<void> => {
    database.close();
    await store.close();
  };
  t.after(close);
  return { store: { ...store, close }, other: store, damage: damage(directory) };
});

async function shared(t: TestContext, threads: number): Promise<Subject> {
  const directory = temporaryDirectory(t);
  const store = openStore({ directory });
  const share = store.share(threads, () => {});
  const { data } = await share.pass(0);
  const other = openShared(data);
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closed ??= other
      .close()
      .then(() => share.close())
      .then(() => store.close());
    return closed;
  };
  t.after(close);
  return { store: { ...store, close }, other, damage: damage(directory) };
}

testContract('SQLite, a thread that writes', (t) => shared(t, 2));
testContract('SQLite, a thread that writes for itself', (t) => shared(t, 1));

test('what was stored although its writer failed is seen', async (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore({ directory });
  const database = connectForWriting(directory, 'process');
  t.after(async () => {
    database.close();
    await store.close();
  });
  const writer = new GroupWriter(database);
  store.writeBy(writer);
  const { id: tenantId } = await store.tenants.create('acme', 'hash');
  await store.hosts.insert({ id: 'h', tenantId, name: 'h', spec: SPEC, created: '2026-01-01T00:00:00.000Z' });
  assert.deepEqual((await store.hosts.get('h'))?.labels, {});
  store.writeBy({
    async write(write) {
      await writer.write(write);
      throw new Error('its thread has ended');
    },
  });
  await assert.rejects(store.hosts.setLabels('h', { suite: 'x' }), /has ended/);
  assert.deepEqual((await store.hosts.get('h'))?.labels, { suite: 'x' });
  await assert.rejects(store.hosts.delete({ hostId: 'h', epoch: 1 }), /has ended/);
  assert.equal(await store.hosts.get('h'), undefined);
});
