/**
 * About how many bytes are stored of each host, for the quotas of tenants. What is added is noted in memory, and in the
 * database when it has come to something, so that a command costs nothing more; behind each snapshot all is counted again.
 */
import type Database from 'better-sqlite3';
import { isDamage } from './errors.ts';
import type { Histories } from './histories.ts';
import { PART_BYTES } from './parts.ts';

/** What is added to a host is in the database when it is so many bytes: a death of the process loses the rest of the count. */
const GRAIN = 64 << 10;
/** So many hosts are known at a time. */
const MOST_KNOWN = 65_536;

export class HostSizes {
  readonly #pending = new Map<string, number>();
  readonly #insert: Database.Statement<[string, number]>;
  readonly #add: Database.Statement<[number, string]>;
  readonly #set: Database.Statement<[number, string]>;
  readonly #delete: Database.Statement<[string]>;
  readonly #isUncounted: Database.Statement<[string], number>;
  readonly #countBesides: Database.Statement<[{ host: string }], number>;
  readonly #histories: Histories;

  constructor(database: Database.Database, histories: Histories) {
    this.#histories = histories;
    this.#insert = database.prepare('INSERT OR REPLACE INTO host_sizes (host_id, bytes) VALUES (?, ?)');
    this.#add = database.prepare('UPDATE host_sizes SET bytes = bytes + ? WHERE host_id = ?');
    this.#set = database.prepare('UPDATE host_sizes SET bytes = ? WHERE host_id = ?');
    this.#delete = database.prepare('DELETE FROM host_sizes WHERE host_id = ?');
    this.#isUncounted = database
      .prepare<[string], number>('SELECT bytes IS NULL FROM host_sizes WHERE host_id = ?')
      .pluck();
    this.#countBesides = database
      .prepare<[{ host: string }], number>(
        `SELECT total(octet_length(spec))
           + (SELECT total(octet_length(data)) FROM handovers WHERE host_id = :host)
           + (SELECT total(octet_length(data)) FROM snapshots WHERE host_id = :host)
           + (SELECT count(*) FROM parts WHERE host_id = :host AND kind = 'snapshot') * ${PART_BYTES}
           + coalesce((SELECT bytes FROM events WHERE host_id = :host ORDER BY sequence DESC, idx DESC LIMIT 1), 0)
           - coalesce((SELECT bytes FROM events WHERE host_id = :host ORDER BY sequence, idx LIMIT 1), 0)
         FROM hosts WHERE id = :host`,
      )
      .pluck();
  }

  begin(hostId: string, bytes: number): void {
    this.#pending.delete(hostId);
    bestEffort(() => this.#insert.run(hostId, bytes));
  }

  /** So much has been added. */
  note(hostId: string, bytes: number): void {
    const pending = (this.#pending.get(hostId) ?? 0) + bytes;
    if (pending < GRAIN) {
      if (this.#pending.size >= MOST_KNOWN) this.#pending.clear();
      this.#pending.set(hostId, pending);
      return;
    }
    this.#pending.delete(hostId);
    bestEffort(() => this.#add.run(pending, hostId));
  }

  /** It is used: one of an earlier version is counted. */
  use(hostId: string): void {
    bestEffort(() => this.#isUncounted.get(hostId) === 1 && this.count(hostId));
  }

  /** Much of it may have gone. */
  count(hostId: string): void {
    this.#pending.delete(hostId);
    bestEffort(() => {
      const besides = this.#countBesides.get({ host: hostId }) ?? 0;
      this.#set.run(Math.round(besides + this.#histories.bytesOf(hostId)), hostId);
    });
  }

  end(hostId: string): void {
    this.#pending.delete(hostId);
    bestEffort(() => this.#delete.run(hostId));
  }

  /** What was noted may not have been stored. */
  forget(): void {
    this.#pending.clear();
  }
}

/** Nothing that is stored is refused since its size cannot be: what is damaged, others tell. */
function bestEffort(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (!isDamage(error)) throw error;
  }
}
