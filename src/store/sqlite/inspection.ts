/** Looks at all that is stored: whether each row is what was stored, whether all of them are there, and what SQLite finds. */
import { setTimeout } from 'node:timers/promises';
import type Database from 'better-sqlite3';
import {
  type Damage,
  damagedCommand,
  damagedDescription,
  damagedHandover,
  damagedSnapshot,
  type EventId,
  type FoundDamage,
  HandoverDamaged,
  lostEnd,
} from '../store.ts';
import { connectForReading } from './database.ts';
import { damaged, isDamage, reason } from './errors.ts';
import { openEvents } from './events.ts';
import { openHosts } from './hosts.ts';
import { openJournal } from './journal.ts';
import { MARKS, type Mark, type ReadMarks, readMarks } from './marks.ts';
import { openDamagedRequests } from './requests.ts';
import { openSnapshots } from './snapshots.ts';
import type { Writer } from './writes.ts';

/** A command that is of none of the hosts. */
const STRAYED = 'SELECT 1 FROM journal WHERE serial NOT IN (SELECT serial FROM hosts WHERE serial IS NOT NULL) LIMIT 1';

/** What numbers the events of a host have, and what the newest one is that is no longer kept. */
const NUMBERS = `SELECT count(number) AS count, min(number) AS first, max(number) AS last, gone_sequence AS gone
  FROM hosts LEFT JOIN events ON events.host_id = hosts.id WHERE hosts.id = ?`;

interface Numbers {
  count: number;
  first: number;
  last: number;
  gone: number | null;
}

type Tell = (damage: FoundDamage) => void;

/** Events that are looked at together. */
const EVENTS = 1000;
/** Findings of SQLite that are told. */
const MOST_FINDINGS = 3;
/** What is behind a commit in the marks is there after this, in milliseconds. */
const MARKED_MS = 100;
/** Tables with an index, which a quick check does not compare with them. */
export const INDEXED = [
  'tenants',
  'tenant_keys',
  'hosts',
  'handovers',
  'events',
  'snapshots',
  'parts',
  'idempotency_keys',
];

const NOBODY: Writer = { write: () => Promise.reject(new Error('bug: an inspection writes nothing')) };

/** With a connection of its own. Never rejects. */
export async function inspect(directory: string, tell: Tell): Promise<void> {
  let database: Database.Database | undefined;
  try {
    database = connectForReading(directory);
    await new Inspection(database, directory, tell).run();
  } catch (error) {
    tell({ hostId: null, kind: 'database', what: damaged(reason(error)) });
  } finally {
    database?.close();
  }
}

class Inspection {
  readonly #database: Database.Database;
  readonly #directory: string;
  readonly #tell: Tell;
  readonly #stores;

  constructor(database: Database.Database, directory: string, tell: Tell) {
    this.#database = database;
    this.#directory = directory;
    this.#tell = tell;
    this.#stores = {
      hosts: openHosts(database, NOBODY),
      journal: openJournal(database, NOBODY),
      events: openEvents(database, NOBODY),
      snapshots: openSnapshots(database, NOBODY),
      damagedRequests: openDamagedRequests(database),
    };
  }

  async run(): Promise<void> {
    // Before the database, which never knows less than they do.
    const before = readMarks(this.#directory);
    this.#tellOfMarks(before);
    const isWhole = this.#check();
    const found = new Set<string>();
    for (const id of this.#idsOf('hosts')) {
      found.add(id);
      // All that is read of a host is of one moment.
      this.#database.exec('BEGIN');
      try {
        await this.#lookAt(id, before.marks.get(id), isWhole);
      } finally {
        this.#database.exec('COMMIT');
      }
    }
    await this.#lookForMissing(before.marks, found);
  }

  /** Of the table itself: an index may not lead to all of them. */
  #idsOf(table: 'hosts' | 'tenants'): string[] {
    const ids: string[] = [];
    const there = table === 'hosts' ? "WHERE deleted IS NOT 'deleted'" : '';
    try {
      const rows = this.#database.prepare<[], string>(`SELECT id FROM ${table} NOT INDEXED ${there}`).pluck();
      for (const id of rows.iterate()) ids.push(id);
    } catch (error) {
      this.#tell({ hostId: null, kind: 'database', what: damaged(`${table}: ${reason(error)}`) });
    }
    return ids;
  }

  /** `isWhole`: pages lead where they should. Otherwise what is read in one go may have no end. */
  async #lookAt(id: string, mark: Mark | undefined, isWhole: boolean): Promise<void> {
    const tell = (damage: Damage): void => this.#tell({ ...damage, hostId: id });
    try {
      const host = await this.#stores.hosts.get(id);
      const origin = await this.#stores.hosts.origin(id);
      if (host === undefined || origin === undefined) {
        if (!this.#isThere(id)) return;
        return tell(damagedDescription('the index of the hosts does not lead to it'));
      }
      if (host.damaged !== undefined) tell(damagedDescription(host.damaged));
      if ('damaged' in origin) tell(damagedDescription(origin.damaged));
      if (mark === 'deleted') {
        const what = 'the host was deleted, which the database has forgotten: delete it again';
        tell({ kind: 'deletion', what });
      }
      const snapshots = await this.#lookAtSnapshots(id, tell);
      const last = await this.#lookAtJournal(id, snapshots, tell);
      const end = Math.max(last, snapshots.newest);
      if (typeof mark === 'number' && mark > end) tell(lostEnd(end, mark));
      await this.#lookAtHandovers(id, tell);
      await this.#lookAtEvents(id, tell, isWhole);
      const requests = this.#stores.damagedRequests(id);
      if (requests > 0) tell(damagedRequests(requests));
    } catch (error) {
      tell({ kind: 'database', what: damaged(reason(error)) });
    }
  }

  #isThere(id: string): boolean {
    const found = this.#database
      .prepare("SELECT 1 FROM hosts NOT INDEXED WHERE id = ? AND deleted IS NOT 'deleted'")
      .get(id);
    return found !== undefined;
  }

  /** The last command that the newest one holds, and the newest that is whole. */
  async #lookAtSnapshots(id: string, tell: (damage: Damage) => void): Promise<{ newest: number; whole: number }> {
    const found = { newest: 0, whole: 0 };
    for (let before = Number.MAX_SAFE_INTEGER; ; ) {
      const snapshot = await this.#stores.snapshots.before(id, before);
      if (snapshot === undefined) return found;
      before = snapshot.sequence;
      found.newest = Math.max(found.newest, before);
      if ('damaged' in snapshot) tell(damagedSnapshot(before, snapshot.damaged));
      else found.whole = Math.max(found.whole, before);
    }
  }

  /** The last command that there is; infinite: what follows cannot be read. */
  async #lookAtJournal(
    id: string,
    { newest, whole }: { newest: number; whole: number },
    tell: (damage: Damage) => void,
  ): Promise<number> {
    const { journal } = this.#stores;
    let last = 0;
    let first: Damage | undefined;
    let more = 0;
    const note = (sequence: number, why: string): void => {
      if (first !== undefined) more += 1;
      else if (sequence > whole) first = damagedCommand(sequence, why);
      else first = damagedPast(sequence, why, whole);
    };
    while (Number.isFinite(last)) {
      const commands = await journal.read(id, last);
      if (commands.length === 0) break;
      for (const { sequence, command, damaged: why } of commands) {
        // Those that a snapshot holds need not be there.
        const isKept = last > 0 || sequence - 1 > newest;
        if (isKept && sequence !== last + 1) note(last + 1, 'it is gone');
        if (why !== undefined) note(sequence, why);
        last = command === '' || sequence <= last ? Number.POSITIVE_INFINITY : sequence;
      }
    }
    if (first !== undefined)
      tell({ ...first, what: more === 0 ? first.what : `${first.what} (${more} more are, too)` });
    return last;
  }

  async #lookAtHandovers(id: string, tell: (damage: Damage) => void): Promise<void> {
    const sequences = this.#database
      .prepare<[string], number>('SELECT sequence FROM handovers WHERE host_id = ?')
      .pluck()
      .all(id);
    for (const sequence of sequences) {
      try {
        await this.#stores.journal.handover(id, sequence);
      } catch (error) {
        if (!(error instanceof HandoverDamaged)) throw error;
        tell(damagedHandover(error.message));
      }
    }
  }

  async #lookAtEvents(id: string, tell: (damage: Damage) => void, isWhole: boolean): Promise<void> {
    const tellOf = (why: string): void => {
      const what = `some of what the host has told cannot be read: ${why}; the host itself is whole: nothing has to be done`;
      tell({ kind: 'events', what });
    };
    try {
      for (let after: EventId | null = null; ; ) {
        const page = await this.#stores.events.read(id, {}, after, EVENTS);
        if (page.events.length === 0) break;
        after = page.reached;
      }
    } catch (error) {
      return tellOf(reason(error));
    }
    if (!isWhole) return;
    const { count, first, last, gone } = this.#database.prepare<[string], Numbers>(NUMBERS).get(id)!;
    const numbers = count === 0 ? 0 : last - (gone === null ? 1 : first) + 1;
    if (numbers !== count) tellOf(`of ${numbers} events ${count} are there`);
  }

  /** What the marks know and the database does not. */
  async #lookForMissing(before: ReadonlyMap<string, Mark>, hosts: ReadonlySet<string>): Promise<void> {
    const tenants = new Set(this.#idsOf('tenants'));
    const isMissing = ([id, mark]: readonly [string, Mark]): boolean =>
      mark === 'tenant' ? !tenants.has(id) : mark !== 'deleted' && !hosts.has(id);
    let missing = [...before].filter(isMissing);
    if (missing.length === 0) return;
    // They may have been deleted since.
    await setTimeout(MARKED_MS);
    const { marks } = readMarks(this.#directory);
    missing = missing.filter(([id]) => marks.has(id) && isMissing([id, marks.get(id)!]));
    for (const [id, mark] of missing) {
      const is = mark === 'tenant' ? `tenant ${id} was stored and is gone` : `host ${id} was stored and is gone`;
      const what = `${is}: the database has lost its newest commits, or is an older copy. Have a newer one put back, or, where this one was put back on purpose, ${MARKS} deleted while the service is stopped`;
      this.#tell({ hostId: mark === 'tenant' ? null : id, kind: mark === 'tenant' ? 'tenants' : 'host', what });
    }
  }

  #tellOfMarks({ damaged: lines }: ReadMarks): void {
    if (lines === 0) return;
    const what = `${lines} lines of ${MARKS} in HOLDOVER_DATA_DIR are damaged: whether the hosts that they were about have lost their newest commands is not known. It is written anew: nothing has to be done`;
    this.#tell({ hostId: null, kind: 'marks', what });
  }

  /** What SQLite itself finds; false where that is something. */
  #check(): boolean {
    const findings: string[] = [];
    const attempt = (look: () => string[]): void => {
      try {
        findings.push(...look());
      } catch (error) {
        if (!isDamage(error)) throw error;
        findings.push(reason(error));
      }
    };
    for (const pragma of ['quick_check', ...INDEXED.map((table) => `integrity_check(${table})`)])
      attempt(() => {
        const found = this.#database.pragma(pragma) as Record<string, string>[];
        return found.flatMap((row) => Object.values(row)).filter((finding) => finding !== 'ok');
      });
    const isWhole = findings.length === 0;
    // A row whose key has changed belongs to nobody, and may be where it belongs by its order.
    if (isWhole)
      attempt(() => {
        const found = this.#database.pragma('foreign_key_check') as { table: string; parent: string }[];
        return [
          ...found.map(({ table, parent }) => `a row of ${table} is of none of the ${parent}`),
          ...(this.#database.prepare(STRAYED).get() === undefined ? [] : ['a row of journal is of none of the hosts']),
        ];
      });
    if (findings.length === 0) return true;
    const told = [...new Set(findings)].map((finding) => finding.replaceAll('\n', ', '));
    const more = told.length > MOST_FINDINGS ? `; and ${told.length - MOST_FINDINGS} more` : '';
    this.#tell({ hostId: null, kind: 'database', what: damaged(`${told.slice(0, MOST_FINDINGS).join('; ')}${more}`) });
    return isWhole;
  }
}

/** A command that a later snapshot holds. */
const damagedPast = (sequence: number, why: string, snapshot: number): Damage => ({
  kind: 'journal',
  what: `command ${sequence} of the host is damaged: ${why}; the host goes on from its snapshot behind command ${snapshot}, but cannot be built from its commands: nothing has to be done as long as there is that snapshot`,
});

const damagedRequests = (count: number): Damage => ({
  kind: 'requests',
  what: `which requests with an Idempotency-Key have been carried out is damaged in ${count} rows of the host: one that is sent again with such a key is refused, or carried out again; the host itself is whole: nothing has to be done`,
});
