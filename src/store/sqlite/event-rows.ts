/**
 * Events as the writer stores them. Each host keeps its newest ones up to a number and a size; the oldest go in bulk, so
 * that an append costs one insert and nothing else to speak of.
 */
import type Database from 'better-sqlite3';
import type { EventId } from '../rows.ts';
import type { EventRow } from './writes.ts';

export interface EventLimits {
  events: number;
  /** About what rows take. */
  bytes: number;
  /** How many go at once where there are more. */
  atOnce: number;
}

/** docs/events.md says so. */
export const EVENT_LIMITS: EventLimits = { events: 100_000, bytes: 64 << 20, atOnce: 1000 };

/** What a row takes beside its texts, about. */
const ROW_BYTES = 64;

/** How many events a host has had and the bytes that they took: all of them, and of these what is gone. */
interface Counters {
  events: number;
  bytes: number;
  goneEvents: number;
  goneBytes: number;
}

interface Place extends EventId {
  number: number;
  bytes: number;
}

export class EventRows {
  readonly #limits: EventLimits;
  readonly #known = new Map<string, Counters>();
  readonly #insert: Database.Statement<unknown[]>;
  readonly #first: Database.Statement<[string], Place>;
  readonly #last: Database.Statement<[string], Place>;
  readonly #nth: Database.Statement<[string, number], Place>;
  readonly #deleteUpTo: Database.Statement<[string, number, number]>;
  readonly #deleteAll: Database.Statement<[string]>;
  readonly #noteGone: Database.Statement<[number | null, number | null, string]>;
  readonly #noteStored: Database.Statement<[string]>;

  constructor(database: Database.Database, limits = EVENT_LIMITS) {
    this.#limits = limits;
    this.#insert = database.prepare(
      `INSERT INTO events (host_id, sequence, idx, time, kernel, kind, bdf, message, data, number, bytes, checksum)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    const place = 'SELECT sequence, idx AS "index", number, bytes FROM events WHERE host_id = ? ORDER BY';
    this.#first = database.prepare(`${place} sequence, idx LIMIT 1`);
    this.#last = database.prepare(`${place} sequence DESC, idx DESC LIMIT 1`);
    this.#nth = database.prepare(`${place} sequence, idx LIMIT 1 OFFSET ?`);
    this.#deleteUpTo = database.prepare('DELETE FROM events WHERE host_id = ? AND (sequence, idx) <= (?, ?)');
    this.#deleteAll = database.prepare('DELETE FROM events WHERE host_id = ?');
    this.#noteGone = database.prepare('UPDATE hosts SET gone_sequence = ?, gone_idx = ? WHERE id = ?');
    this.#noteStored = database.prepare('UPDATE hosts SET events_stored = 1 WHERE id = ?');
  }

  append(rows: readonly EventRow[]): void {
    for (const { hostId, sequence, index, time, kernel, kind, bdf, message, data, checksum } of rows) {
      const counters = this.#countersOf(hostId);
      counters.events += 1;
      counters.bytes += ROW_BYTES + Buffer.byteLength(message) + Buffer.byteLength(data);
      const { events, bytes, goneEvents, goneBytes } = counters;
      this.#insert.run(hostId, sequence, index, time, kernel, kind, bdf, message, data, events, bytes, checksum);
      if (events - goneEvents > this.#limits.events || bytes - goneBytes > this.#limits.bytes) this.prune(hostId);
    }
  }

  /** Deletes some of the oldest events of a host. Returns how many; 0: there are none. */
  prune(hostId: string): number {
    const place = this.#nth.get(hostId, this.#limits.atOnce - 1) ?? this.#last.get(hostId);
    if (place === undefined) return 0;
    const { changes } = this.#deleteUpTo.run(hostId, place.sequence, place.index);
    this.#noteGone.run(place.sequence, place.index, hostId);
    const counters = this.#countersOf(hostId);
    counters.goneEvents = place.number;
    counters.goneBytes = place.bytes;
    return changes;
  }

  /** Of a host of an earlier version, whose events have not been stored yet, or not all of them: they all come now. */
  begin(hostId: string): void {
    this.#deleteAll.run(hostId);
    this.forget(hostId);
    this.#noteGone.run(null, null, hostId);
  }

  /** They have come. */
  end(hostId: string): void {
    this.#noteStored.run(hostId);
  }

  /** It is not what is known any more. */
  forget(hostId?: string): void {
    if (hostId === undefined) this.#known.clear();
    else this.#known.delete(hostId);
  }

  #countersOf(hostId: string): Counters {
    const known = this.#known.get(hostId);
    if (known !== undefined) return known;
    const first = this.#first.get(hostId);
    const last = this.#last.get(hostId);
    const counters = {
      events: last?.number ?? 0,
      bytes: last?.bytes ?? 0,
      goneEvents: (first?.number ?? 1) - 1,
      // With the first one itself, whose bytes nobody misses.
      goneBytes: first?.bytes ?? 0,
    };
    this.#known.set(hostId, counters);
    return counters;
  }
}
