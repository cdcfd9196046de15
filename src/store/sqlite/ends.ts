/**
 * Whose each host is, and where its journal ends. It is kept in memory, as one connection writes: a command costs no
 * question to the database.
 */
import type Database from 'better-sqlite3';
import { OwnerPassed, StoreDamaged } from '../errors.ts';
import type { JournalEntry, Ownership } from '../rows.ts';
import { BEGIN, END } from './places.ts';

interface End {
  epoch: number;
  /** What its commands are found by in the journal. */
  serial: number;
  sequence: number;
}

/** So many are known at a time. */
const MOST_KNOWN = 65_536;

export class Ends {
  readonly #known = new Map<string, End>();
  readonly #stored: Database.Statement<[string], End>;

  constructor(database: Database.Database) {
    this.#stored = database.prepare<[string], End>(
      `SELECT epoch, serial, max(coalesce((SELECT max(place) FROM journal WHERE place BETWEEN ${BEGIN} AND ${END}) - ${BEGIN}, 0),
                                 coalesce((SELECT max(sequence) FROM snapshots WHERE host_id = hosts.id), 0)) AS sequence
       FROM (SELECT id, epoch, serial FROM hosts WHERE id = ? AND deleted IS NOT 'deleted') AS hosts`,
    );
  }

  /** Throws OwnerPassed where it is not the owner that writes. */
  check({ hostId, epoch }: Ownership): End {
    const end = this.#known.get(hostId) ?? this.#learn(hostId);
    if (end === undefined) throw new OwnerPassed(`host ${hostId} is gone`);
    if (end.epoch !== epoch) throw new OwnerPassed(`host ${hostId} is at epoch ${end.epoch}, not ${epoch}`);
    return end;
  }

  /**
   * One more command of the host with the returned serial. A lane executes ahead of its commits, so when one fails, its host's next ones are on the way
   * already: they do not follow on what is stored, and are refused.
   */
  advance(entry: Pick<JournalEntry, 'hostId' | 'epoch' | 'sequence'>): number {
    const end = this.check(entry);
    const { sequence } = entry;
    if (sequence !== end.sequence + 1) {
      throw new Error(`command ${sequence} does not follow on ${end.sequence}, the last one stored`);
    }
    end.sequence = sequence;
    return end.serial;
  }

  /** It is not what is known any more. */
  forget(hostId?: string): void {
    if (hostId === undefined) this.#known.clear();
    else this.#known.delete(hostId);
  }

  #learn(hostId: string): End | undefined {
    const end = this.#stored.get(hostId);
    if (end === undefined) return undefined;
    if (!Number.isSafeInteger(end.sequence)) throw new StoreDamaged(`the last command of host ${hostId} has no number`);
    if (this.#known.size >= MOST_KNOWN) this.#known.clear();
    this.#known.set(hostId, end);
    return end;
  }
}
