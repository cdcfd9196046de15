/**
 * Commits many writes, of many hosts, in one transaction: a commit costs the same for one and for a hundred. A write
 * that fails does not take the others along, but it takes along the later commands of its host.
 */
import { dirname } from 'node:path';
import type Database from 'better-sqlite3';
import { KeyExists, KeyTaken, OwnerPassed, type StoreUnavailable, TenantExists } from '../errors.ts';
import { identityChecksum } from './checksums.ts';
import { prepareClearing } from './clearing.ts';
import { Ends } from './ends.ts';
import { codeOf, unavailable } from './errors.ts';
import { type EventLimits, EventRows } from './event-rows.ts';
import { Histories, type HistoryLimits } from './histories.ts';
import { HostSizes } from './host-sizes.ts';
import { type Mark, Marks } from './marks.ts';
import { NOBODYS } from './parts.ts';
import { BEGIN_OF_HOST, OF_HOST, SERIALS } from './places.ts';
import { preparePruning } from './pruning.ts';
import { prepareRequests } from './requests.ts';
import { Room } from './room.ts';
import { prepareTenants } from './tenant-rows.ts';
import type { SnapshotRow, Write } from './writes.ts';

type Failure = StoreUnavailable | OwnerPassed | TenantExists | KeyExists | KeyTaken;

/** What became of a write: what it gives, or why nothing of it is stored. */
export type Outcome = { result: number } | { error: Failure };

type Apply = (write: Write) => number;

export class GroupCommit {
  readonly #room: Room;
  readonly #apply: Apply;
  readonly #ends: Ends;
  readonly #histories: Histories;
  readonly #events: EventRows;
  readonly #sizes: HostSizes;
  readonly #marks: Marks;
  readonly #group: (writes: readonly Write[]) => number[];
  #commits = 0;

  constructor(database: Database.Database, limits?: HistoryLimits, eventLimits?: EventLimits) {
    this.#room = new Room(database);
    this.#ends = new Ends(database);
    this.#histories = new Histories(database, limits);
    this.#events = new EventRows(database, eventLimits);
    this.#sizes = new HostSizes(database, this.#histories);
    this.#marks = new Marks(dirname(database.name));
    this.#apply = prepareWrites(database, {
      ends: this.#ends,
      histories: this.#histories,
      events: this.#events,
      sizes: this.#sizes,
    });
    const group = database.transaction((writes: readonly Write[]) => writes.map(this.#apply));
    // One row alone is a transaction by itself.
    this.#group = (writes) => (isOneRow(writes) ? [this.#apply(writes[0]!)] : group.immediate(writes));
  }

  /** Transactions so far. */
  get commits(): number {
    return this.#commits;
  }

  /** The outcomes, in the order of the writes. `again`: there was no room, and some has been made. */
  commit(writes: readonly Write[], again = false): Outcome[] {
    // What is asked of the marks needs no database.
    if (writes.some(({ kind }) => kind === 'host.end')) {
      const others = this.commit(writes.filter(({ kind }) => kind !== 'host.end')).values();
      return writes.map((write) =>
        write.kind === 'host.end' ? { result: this.#marks.endOf(write.id) } : others.next().value!,
      );
    }
    if (writes.length === 0) return [];
    try {
      this.#commits += 1;
      const results = this.#group(writes);
      this.#marks.note(changesOf(writes, results));
      if (isCleared(writes, results)) this.#room.keepSpare();
      return results.map((result) => ({ result }));
    } catch (error) {
      this.#ends.forget();
      this.#histories.forget();
      this.#events.forget();
      this.#sizes.forget();
      // One of them is at fault: alone, it fails alone.
      if (writes.length > 1) return writes.flatMap((write) => this.commit([write]));
      if (codeOf(error) === 'SQLITE_FULL' && this.#room.makeFor(writes[0]!, again)) return this.commit(writes, true);
      return [{ error: typed(writes[0]!, error) }];
    }
  }

  /** Another one writes from now on. */
  rest(): void {
    this.#marks.close();
  }
}

/** Whether all that is to be stored is a command of one host. */
const isOneRow = (writes: readonly Write[]): boolean => {
  const [write] = writes;
  if (writes.length !== 1 || write!.kind !== 'append') return false;
  return write!.handover === null && write!.events.length === 0 && write!.request === null;
};

/** Whether a host is gone, and with it, perhaps, what kept the disk full. */
const isCleared = (writes: readonly Write[], results: readonly number[]): boolean =>
  writes.some(({ kind }, index) => kind === 'host.clear' && results[index] === 0);

/** What hosts and tenants have come to. */
function changesOf(writes: readonly Write[], results: readonly number[]): Map<string, Mark> {
  const changes = new Map<string, Mark>();
  for (const [index, write] of writes.entries()) {
    if (write.kind === 'append') changes.set(write.row.hostId, write.row.sequence);
    else if (write.kind === 'host.insert') changes.set(write.id, write.snapshot?.sequence ?? 0);
    else if (write.kind === 'host.delete') changes.set(write.owner.hostId, 'deleted');
    else if (write.kind === 'tenant.create' && results[index]! > 0) changes.set(write.tenant.id, 'tenant');
    else if (write.kind === 'tenant.delete' && results[index]! > 0) changes.set(write.id, 'deleted');
  }
  return changes;
}

/** What is known of hosts, so that a write need not ask. */
interface Known {
  ends: Ends;
  histories: Histories;
  events: EventRows;
  sizes: HostSizes;
}

function prepareWrites(database: Database.Database, { ends, histories, events, sizes }: Known): Apply {
  const tenants = prepareTenants(database);
  const insertHost = database.prepare(
    `INSERT INTO hosts (id, serial, tenant_id, name, spec, created, checksum, spec_checksum, labels, expires, events_stored)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`,
  );
  const newSerial = database
    .prepare<[], number>(`SELECT coalesce(max(serial), 0) + 1 FROM hosts WHERE ${SERIALS}`)
    .pluck();
  // Its id may be another one's from now on.
  const clearJournal = database.prepare<[{ host: string }]>(
    `DELETE FROM journal WHERE ${OF_HOST} AND EXISTS (SELECT 1 FROM hosts WHERE id = :host AND deleted = 'deleted')`,
  );
  const replaceDeleted = database.prepare("DELETE FROM hosts WHERE id = ? AND deleted = 'deleted'");
  const own = database
    .prepare<[string], number>(
      "UPDATE hosts SET epoch = epoch + 1 WHERE id = ? AND deleted IS NOT 'deleted' RETURNING epoch",
    )
    .pluck();
  const diverge = database.prepare('UPDATE hosts SET diverged = ? WHERE id = ?');
  const setLabels = database.prepare("UPDATE hosts SET labels = ? WHERE id = ? AND deleted IS NOT 'deleted'");
  const deleteHost = database.prepare("UPDATE hosts SET deleted = 'deleted' WHERE id = ?");
  const clear = prepareClearing(database);
  const append = database.prepare(
    `INSERT INTO journal (place, command, digest, payload, payload_format, payload_parts, checksum)
     VALUES ((? << 32) + ?, ?, ?, ?, ?, ?, ?)`,
  );
  const noteRequest = prepareRequests(database);
  const handOver = database.prepare(
    'INSERT INTO handovers (host_id, sequence, format, data, checksum) VALUES (?, ?, ?, ?, ?)',
  );
  const insertSnapshot = database.prepare(
    'INSERT OR REPLACE INTO snapshots (host_id, sequence, engine, format, data, parts, checksum) VALUES (?, ?, ?, ?, ?, ?, ?)',
  );
  const putSnapshot = ({ hostId, sequence, engine, format, data, parts, checksum }: SnapshotRow): unknown =>
    insertSnapshot.run(hostId, sequence, engine, format, data, parts, checksum);
  const kept = database
    .prepare<[string], number>(
      'SELECT sequence FROM snapshots WHERE host_id = ? ORDER BY sequence DESC LIMIT 1 OFFSET 1',
    )
    .pluck();
  const pruneSnapshots = database.prepare('DELETE FROM snapshots WHERE host_id = ? AND sequence < ?');
  const pruneJournal = preparePruning(database);
  const insertPart = database.prepare(
    'INSERT OR REPLACE INTO parts (host_id, sequence, kind, part, data) VALUES (?, ?, ?, ?, ?)',
  );
  // Other bytes each time, or there would be nothing to write.
  const check = database.prepare(
    `INSERT OR REPLACE INTO parts (host_id, sequence, kind, part, data)
     VALUES ('check', 0, 'payload', 0, randomblob(65536))`,
  );
  // Older than the older one of its snapshots, and of commands that are not kept any more.
  const prunePart = database.prepare(
    `DELETE FROM parts WHERE rowid = (
       SELECT rowid FROM parts,
         (SELECT sequence AS older FROM snapshots WHERE host_id = :host ORDER BY sequence DESC LIMIT 1 OFFSET 1)
       WHERE host_id = :host AND CASE kind
         WHEN 'snapshot' THEN sequence < older
         ELSE sequence <= older AND NOT EXISTS (
           SELECT 1 FROM journal WHERE place = ${BEGIN_OF_HOST} + parts.sequence)
         END LIMIT 1)`,
  );

  return (write) => {
    switch (write.kind) {
      case 'tenant.create':
      case 'tenant.end':
      case 'tenant.delete':
      case 'tenant.key':
      case 'key.create':
      case 'key.delete':
      case 'tenant.quotas':
        return tenants(write);
      case 'host.insert': {
        clearJournal.run({ host: write.id });
        replaceDeleted.run(write.id);
        const serial = newSerial.get()!;
        insertHost.run(
          write.id,
          serial,
          write.tenantId,
          write.name,
          write.spec,
          write.created,
          identityChecksum({ ...write, expiresAt: write.expires }, serial),
          write.specChecksum,
          write.labels,
          write.expires,
        );
        events.append(write.events);
        if (write.snapshot !== null) putSnapshot(write.snapshot);
        if (write.request !== null) noteRequest(write.request, write.id, write.snapshot?.sequence ?? 0);
        sizes.begin(write.id, write.spec.length + (write.snapshot?.data.byteLength ?? 0));
        return 1;
      }
      case 'host.own':
        ends.forget(write.id);
        events.forget(write.id);
        sizes.use(write.id);
        return own.get(write.id) ?? 0;
      case 'host.diverge':
        ends.check(write.owner);
        return diverge.run(write.divergence, write.owner.hostId).changes;
      case 'host.labels':
        return setLabels.run(write.labels, write.id).changes;
      case 'host.delete': {
        const { hostId } = write.owner;
        ends.check(write.owner);
        ends.forget(hostId);
        histories.forget(hostId);
        events.forget(hostId);
        sizes.end(hostId);
        return deleteHost.run(hostId).changes;
      }
      case 'host.clear':
        events.forget(write.id);
        return clear(write.id);
      case 'host.end':
        throw new Error('bug: it is asked of the marks');
      case 'append': {
        const { row, handover } = write;
        const serial = ends.advance(row);
        histories.note(row);
        const { data = null, format = null, parts = null } = row.payload ?? {};
        append.run(serial, row.sequence, row.command, row.digest, data, format, parts, row.checksum);
        if (handover !== null) {
          handOver.run(row.hostId, row.sequence, handover.format, handover.data, handover.checksum);
        }
        events.append(write.events);
        if (write.request !== null) noteRequest(write.request, row.hostId, row.sequence);
        sizes.note(row.hostId, sizeOf(write));
        return 1;
      }
      case 'events.begin':
        ends.check(write.owner);
        events.begin(write.owner.hostId);
        return 0;
      case 'events.add':
        ends.check(write.owner);
        events.append(write.rows);
        return write.rows.length;
      case 'events.end':
        ends.check(write.owner);
        events.end(write.owner.hostId);
        return 1;
      case 'events.prune':
        ends.check(write.owner);
        return events.prune(write.owner.hostId);
      case 'snapshot': {
        const { hostId } = write.row;
        ends.check(write.row);
        putSnapshot(write.row);
        // The one before stays, with the commands behind it, should the new one turn out damaged.
        const older = kept.get(hostId);
        if (older === undefined) return 1;
        pruneSnapshots.run(hostId, older);
        return 1;
      }
      case 'part': {
        const { hostId, sequence, kind, part, data } = write.row;
        // Or it would replace that of the owner.
        if (write.row.epoch !== NOBODYS) ends.check(write.row);
        sizes.note(hostId, data.byteLength);
        return insertPart.run(hostId, sequence, kind, part, data).changes;
      }
      case 'check':
        return check.run().changes;
      case 'journal.prune': {
        const { hostId } = write;
        const older = kept.get(hostId);
        if (older === undefined || !histories.isLong(hostId)) return 0;
        const pruned = pruneJournal(hostId, older);
        if (pruned.commands > 0) histories.notePruned(hostId, pruned);
        else histories.endPruning(hostId);
        return pruned.commands;
      }
      case 'part.prune': {
        const { changes } = prunePart.run({ host: write.hostId });
        // A snapshot has come, and what it makes needless has gone.
        if (changes === 0) sizes.count(write.hostId);
        return changes;
      }
    }
  };
}

/** What is stored of a request that has a key, in two places. */
const REQUEST_BYTES = 256;

/** About how many bytes a command takes, with what has come of it. */
function sizeOf({ row, handover, events, request }: Extract<Write, { kind: 'append' }>): number {
  let bytes = row.command.length + (row.payload?.data.byteLength ?? 0) + (handover?.data?.byteLength ?? 0);
  if (request !== null) bytes += REQUEST_BYTES;
  for (const { message, data } of events) bytes += message.length + data.length;
  return bytes;
}

/** What a failed write tells those who asked for it. */
function typed(write: Write, error: unknown): Failure {
  if (error instanceof OwnerPassed || error instanceof KeyTaken) return error;
  switch (write.kind) {
    case 'tenant.create':
    case 'tenant.end':
    case 'tenant.delete':
    case 'tenant.quotas':
    case 'tenant.key': {
      const tenant = write.kind === 'tenant.create' ? write.tenant.name : write.id;
      if ((error as { code?: string }).code === 'SQLITE_CONSTRAINT_UNIQUE') {
        return new TenantExists(`the name or the key of tenant ${tenant} is taken`, { cause: error });
      }
      return unavailable(`cannot store tenant ${tenant}`, error);
    }
    case 'key.create':
      if ((error as { code?: string }).code === 'SQLITE_CONSTRAINT_PRIMARYKEY')
        return new KeyExists(`tenant ${write.id} has a key ${write.key.name}`, { cause: error });
      return unavailable('cannot store a key', error);
    case 'key.delete':
      return unavailable('cannot delete a key', error);
    case 'host.insert':
    case 'host.own':
    case 'host.end':
    case 'host.labels':
      return unavailable(`cannot store host ${write.id}`, error);
    case 'host.clear':
      return unavailable(`cannot delete what is stored of host ${write.id}`, error);
    case 'host.diverge':
      return unavailable(`cannot store host ${write.owner.hostId}`, error);
    case 'host.delete':
      return unavailable(`cannot delete host ${write.owner.hostId}`, error);
    case 'append':
      return unavailable('cannot store what the host did', error);
    case 'events.begin':
    case 'events.add':
    case 'events.end':
    case 'events.prune':
      return unavailable(`cannot store events of host ${write.owner.hostId}`, error);
    case 'snapshot':
      return unavailable(`cannot store a snapshot of host ${write.row.hostId}`, error);
    case 'part':
      return unavailable(`cannot store a ${write.row.kind} of host ${write.row.hostId}`, error);
    case 'check':
      return unavailable('cannot store anything', error);
    case 'journal.prune':
    case 'part.prune':
      return unavailable(`cannot delete what is no longer used of host ${write.hostId}`, error);
  }
}
