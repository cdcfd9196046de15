/**
 * What is stored of a host that is deleted goes bit by bit: nobody has to wait for a long commit, and none needs much room
 * before it gives some.
 */
import type Database from 'better-sqlite3';
import { codeOf, isDamage } from './errors.ts';
import { OF_HOST } from './places.ts';

/** Rows that go at once: fewer of those that may be large. */
const EVENTS = 1000;
const COMMANDS = 200;
const PARTS = 8;

/** Deletes some of it; 0: there is nothing left, nor the host. Nothing goes of a host that is not deleted. */
export function prepareClearing(database: Database.Database): (hostId: string) => number {
  const isDeleted = database.prepare<[string], unknown>(
    "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM hosts WHERE id = ? AND deleted IS NOT 'deleted')",
  );
  // The host itself comes last: as long as it is there, all of it is found again.
  const steps = [
    ['snapshots', 'host_id = :host', 'rowid', 1],
    ['parts', 'host_id = :host', 'rowid', PARTS],
    ['idempotency_keys', 'host_id = :host', 'tenant_id, key', EVENTS],
    ['handovers', 'host_id = :host', 'rowid', PARTS],
    ['journal', OF_HOST, 'place', COMMANDS],
    ['events', 'host_id = :host', 'sequence, idx', EVENTS],
  ] as const;
  const statements = steps.map(([table, its, key, rows]) =>
    database.prepare<[{ host: string }]>(
      `DELETE FROM ${table} WHERE ${its} AND (${key}) IN (SELECT ${key} FROM ${table} WHERE ${its} LIMIT ${rows})`,
    ),
  );
  const host = database.prepare<[string]>("DELETE FROM hosts WHERE id = ? AND deleted = 'deleted'");
  return (hostId) => {
    if (isDeleted.get(hostId) === undefined) return 0;
    for (const statement of statements) {
      const { changes } = statement.run({ host: hostId });
      if (changes > 0) return changes;
    }
    host.run(hostId);
    return 0;
  };
}

/** All of them, at a start: a stop, or a full disk, has left something of them. */
export function clearDeleted(database: Database.Database): void {
  const clear = prepareClearing(database);
  const hosts = database.prepare<[], string>("SELECT id FROM hosts WHERE deleted = 'deleted'").pluck().all();
  try {
    for (const host of hosts) while (clear(host) > 0);
    database.exec('DELETE FROM parts WHERE host_id NOT IN (SELECT id FROM hosts)');
  } catch (error) {
    // They can wait, whereas all other hosts would have to.
    if (!isDamage(error) && codeOf(error) !== 'SQLITE_FULL') throw error;
  }
}
