/** Events as they are read: in order, filtered, and in steps, as a host may have very many that do not fit. */
import { setImmediate } from 'node:timers/promises';
import type Database from 'better-sqlite3';
import type { EmittedEvent } from '../../host/command.ts';
import {
  type EventFilter,
  type EventId,
  type EventPage,
  type Events,
  StoreDamaged,
  type StoredEvent,
} from '../store.ts';
import { eventChecksum, openAge } from './checksums.ts';
import { isFailure, reason, unavailable } from './errors.ts';
import type { EventRow, Writer } from './writes.ts';

/** Rows that are looked at without a pause, for a filter. */
const WINDOW = 2000;
/** Fewer events than this are deleted in one go. */
const FEW = 2000;

const NO_ROWS: readonly EventRow[] = [];

/** Events as the writer gets them. Costs nothing where there are none. */
export function eventRows(hostId: string, sequence: number, events: readonly EmittedEvent[] = []): readonly EventRow[] {
  if (events.length === 0) return NO_ROWS;
  return events.map(({ data, ...event }, index) => {
    const row = { hostId, sequence, index, ...event, data: JSON.stringify(data) };
    return { ...row, bdf: typeof data.bdf === 'string' ? data.bdf : null, checksum: eventChecksum(row) };
  });
}

type Columns = Omit<StoredEvent, 'data'> & { data: string; checksum: number | null };

interface Gone {
  sequence: number | null;
  index: number | null;
}

interface Bounds {
  host: string;
  sequence: number;
  index: number;
}

const BEHIND = 'FROM events WHERE host_id = :host AND (sequence, idx) > (:sequence, :index)';
const EVENT = 'SELECT sequence, idx AS "index", time, kernel, kind, message, data, checksum';
const ID = 'SELECT sequence, idx AS "index"';

/** Before the first event of any host. */
const START: EventId = { sequence: -1, index: 0 };

export function openEvents(database: Database.Database, writer: Writer): Events {
  const all = database.prepare<[Bounds & { limit: number }], Columns>(
    `${EVENT} ${BEHIND} ORDER BY sequence, idx LIMIT :limit`,
  );
  const some = database.prepare<[Record<string, unknown>], Columns>(
    `${EVENT} ${BEHIND} AND (sequence, idx) <= (:lastSequence, :lastIndex)
       AND (:kinds IS NULL OR kind IN (SELECT value FROM json_each(:kinds)))
       AND (:hazards IS NULL OR CASE WHEN kind = 'hazard' AND json_valid(data)
         THEN data ->> '$.hazard' IN (SELECT value FROM json_each(:hazards)) ELSE TRUE END)
       AND (:bdf IS NULL OR bdf = :bdf)
       AND (:kernel IS NULL OR kernel = :kernel)
       AND (:from IS NULL OR (length(time), time) >= (length(:from), :from))
       AND (:to IS NULL OR (length(time), time) <= (length(:to), :to))
     ORDER BY sequence, idx LIMIT :limit`,
  );
  const windowEnd = database.prepare<[Bounds], EventId>(
    `${ID} ${BEHIND} ORDER BY sequence, idx LIMIT 1 OFFSET ${WINDOW - 1}`,
  );
  const first = database.prepare<[string], EventId>(
    `${ID} FROM events WHERE host_id = ? ORDER BY sequence, idx LIMIT 1`,
  );
  const last = database.prepare<[string], EventId>(
    `${ID} FROM events WHERE host_id = ? ORDER BY sequence DESC, idx DESC LIMIT 1`,
  );
  const goneOf = database.prepare<[string], Gone>(
    'SELECT gone_sequence AS sequence, gone_idx AS "index" FROM hosts WHERE id = ?',
  );
  // A host with a checksum is none of an earlier version.
  const stored = database
    .prepare<[string], number>('SELECT events_stored OR checksum IS NOT NULL FROM hosts WHERE id = ?')
    .pluck();
  const isOld = openAge(database);
  const isLong = database.prepare<[string], unknown>(`SELECT 1 FROM events WHERE host_id = ? LIMIT 1 OFFSET ${FEW}`);

  /** One step: all that it says is of one moment. */
  const step = database.transaction(
    (hostId: string, filter: EventFilter, after: EventId | null, limit: number): EventPage & { done: boolean } => {
      const bounds = { host: hostId, ...(after ?? START) };
      const gone = goneOf.get(hostId);
      const oldest = gone?.sequence == null ? null : (first.get(hostId) ?? null);
      const missed = after !== null && oldest !== null && isBefore(after, gone as EventId);
      if (isEmpty(filter)) {
        const { events } = wholeOf(hostId, all.iterate({ ...bounds, limit }), isOld(hostId));
        return { events, reached: idOf(events.at(-1)) ?? after, oldest, missed, done: true };
      }
      const end = windowEnd.get(bounds);
      const until = end ?? last.get(hostId);
      if (until === undefined) return { events: [], reached: after, oldest, missed, done: true };
      const { kinds = null, hazards = null, bdf = null, kernel = null, from = null, to = null } = filter;
      const found = some.iterate({
        ...bounds,
        lastSequence: until.sequence,
        lastIndex: until.index,
        kinds: kinds && JSON.stringify(kinds),
        hazards: hazards && JSON.stringify(hazards),
        bdf,
        kernel,
        from,
        to,
        limit,
      });
      const { events, cut } = wholeOf(hostId, found, isOld(hostId));
      const full = cut || events.length === limit;
      const reached = full ? idOf(events.at(-1)) : later(after, until);
      return { events, reached, oldest, missed, done: full || end === undefined };
    },
  );

  return {
    async read(hostId, filter, after, limit) {
      const page = attempt(hostId, () => step(hostId, filter, after, limit));
      for (let { done } = page; !done; ) {
        await setImmediate();
        const next = attempt(hostId, () => step(hostId, filter, page.reached, limit - page.events.length));
        // Whoever goes on from here is told.
        if (next.missed) break;
        page.events.push(...next.events);
        page.reached = next.reached;
        done = next.done;
      }
      const { events, reached, oldest, missed } = page;
      return { events, reached, oldest, missed };
    },
    areStored: async (hostId) => attempt(hostId, () => stored.get(hostId)) !== 0,
    async begin(owner) {
      // If they are many, bit by bit: nobody has to wait for a long commit.
      while (attempt(owner.hostId, () => isLong.get(owner.hostId)) !== undefined) {
        await writer.write({ kind: 'events.prune', owner });
      }
      await writer.write({ kind: 'events.begin', owner });
    },
    async add(owner, sequence, events) {
      if (events.length === 0) return;
      await writer.write({ kind: 'events.add', owner, rows: eventRows(owner.hostId, sequence, events) });
    },
    async end(owner) {
      await writer.write({ kind: 'events.end', owner });
    },
  };
}

const isBefore = (a: EventId, b: EventId): boolean =>
  a.sequence < b.sequence || (a.sequence === b.sequence && a.index < b.index);

const later = (a: EventId | null, b: EventId): EventId | null => (a === null || isBefore(a, b) ? b : a);

const isEmpty = (filter: EventFilter): boolean => Object.values(filter).every((asked) => asked === undefined);

const idOf = (event: StoredEvent | undefined): EventId | null =>
  event === undefined ? null : { sequence: event.sequence, index: event.index };

/** Those before one that is damaged (`cut`), which is told where it is the first. */
function wholeOf(hostId: string, rows: Iterable<Columns>, mayBeOld: boolean): { events: StoredEvent[]; cut: boolean } {
  const events: StoredEvent[] = [];
  try {
    for (const { checksum, ...row } of rows) {
      const isKnown = checksum === null ? mayBeOld : checksum === eventChecksum({ hostId, ...row });
      const last = events.at(-1);
      if (!isKnown || (last !== undefined && !isBefore(last, row))) throw new DamagedEvent(row);
      events.push({ ...row, data: JSON.parse(row.data) });
    }
  } catch (error) {
    if (events.length === 0 || isFailure(error)) throw error;
    return { events, cut: true };
  }
  return { events, cut: false };
}

class DamagedEvent extends Error {
  constructor({ sequence, index }: EventId) {
    super(
      `event ${sequence}-${index} is not what was stored: those behind it are read with after=${sequence}-${index}`,
    );
  }
}

function attempt<T>(hostId: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof DamagedEvent || error instanceof SyntaxError)
      throw new StoreDamaged(`events of this host are damaged: ${reason(error)}`, { cause: error });
    throw unavailable(`cannot read events of host ${hostId}`, error);
  }
}
