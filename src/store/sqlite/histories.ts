/**
 * How much of a host's past is kept. All of it is enough to build the host anew, whatever has become of its snapshots,
 * which another version of the service may not know. Where it is too much, only what is behind the older snapshot is kept.
 */
import type Database from 'better-sqlite3';
import { PART_BYTES } from './parts.ts';
import { OF_HOST } from './places.ts';
import type { JournalRow } from './writes.ts';

export interface HistoryLimits {
  commands: number;
  /** As stored. */
  bytes: number;
}

const LIMITS: HistoryLimits = { commands: 100_000, bytes: 256 << 20 };

export interface History {
  commands: number;
  bytes: number;
}

export class Histories {
  readonly #limits: HistoryLimits;
  readonly #known = new Map<string, History>();
  /** What has been deleted of those that are being pruned, which are long until that is done. */
  readonly #pruned = new Map<string, History>();
  readonly #journal: Database.Statement<[{ host: string }], History>;
  readonly #parts: Database.Statement<[string], number>;

  constructor(database: Database.Database, limits = LIMITS) {
    this.#limits = limits;
    this.#journal = database.prepare<[{ host: string }], History>(
      `SELECT count(*) AS commands, total(octet_length(command) + coalesce(octet_length(payload), 0)) AS bytes
       FROM journal WHERE ${OF_HOST}`,
    );
    this.#parts = database
      .prepare<[string], number>("SELECT count(*) FROM parts WHERE host_id = ? AND kind = 'payload'")
      .pluck();
  }

  /** One more command. */
  note({ hostId, command, payload }: JournalRow): void {
    const history = this.#known.get(hostId);
    if (history === undefined) return;
    history.commands += 1;
    history.bytes += command.length + (payload?.data.byteLength ?? 0) + (payload?.parts ?? 0) * PART_BYTES;
  }

  isLong(hostId: string): boolean {
    const history = this.#of(hostId);
    return history.commands > this.#limits.commands || history.bytes > this.#limits.bytes;
  }

  /** About how many bytes are kept. SQLite would read all of them to tell. */
  bytesOf(hostId: string): number {
    return this.#of(hostId).bytes;
  }

  /** So much has been deleted, and there may be more to be. */
  notePruned(hostId: string, { commands, bytes }: History): void {
    const pruned = this.#pruned.get(hostId) ?? { commands: 0, bytes: 0 };
    pruned.commands += commands;
    pruned.bytes += bytes;
    this.#pruned.set(hostId, pruned);
  }

  /** All is deleted that was to be. */
  endPruning(hostId: string): void {
    const { commands = 0, bytes = 0 } = this.#pruned.get(hostId) ?? {};
    this.#pruned.delete(hostId);
    const history = this.#known.get(hostId);
    if (history === undefined) return;
    history.commands -= commands;
    history.bytes -= bytes;
  }

  /** It is not what is known any more. */
  forget(hostId?: string): void {
    if (hostId === undefined) {
      this.#known.clear();
      this.#pruned.clear();
    } else {
      this.#known.delete(hostId);
      this.#pruned.delete(hostId);
    }
  }

  #of(hostId: string): History {
    const history = this.#known.get(hostId) ?? this.#read(hostId);
    this.#known.set(hostId, history);
    return history;
  }

  #read(hostId: string): History {
    const { commands, bytes } = this.#journal.get({ host: hostId })!;
    return { commands, bytes: bytes + this.#parts.get(hostId)! * PART_BYTES };
  }
}
