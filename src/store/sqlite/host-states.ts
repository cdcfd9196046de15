/**
 * What a list tells of each host without building one: its events say in which state it is and which kernel runs, and how many of
 * them are hazards. Each is found by an index of those events alone.
 */
import type Database from 'better-sqlite3';
import { type ListedHost, MOST_COUNTED } from '../store.ts';
import { isDamage } from './errors.ts';

type Told = Pick<ListedHost, 'state' | 'kernel' | 'hazards'>;

interface Row {
  hazards: number;
  /** Of the newest event of state; all null: none is kept. */
  kind: 'boot' | 'crash' | 'panic' | 'kexec' | 'restored' | 'copy' | null;
  kernel: number | null;
  /** The state that the event names itself. */
  named: Told['state'];
  /** Whether its command has crashed the kernel before: the crash kernel boots within it. */
  isOfCrash: 0 | 1 | null;
}

const UNKNOWN: Told = { state: null, kernel: null, hazards: null };

/** As the index of them has it. SQLite would look through all events of a host otherwise. */
const OF_STATE = "kind IN ('boot', 'crash', 'panic', 'kexec', 'restored', 'copy')";

export function openTelling(database: Database.Database): (hostId: string) => Told {
  const told = database.prepare<[{ host: string }], Row>(
    `SELECT newest.*,
       (SELECT count(*) FROM (SELECT 1 FROM events WHERE host_id = :host AND kind = 'hazard' LIMIT ${MOST_COUNTED})) AS hazards
     FROM hosts LEFT JOIN (
       SELECT kind, kernel, CASE WHEN json_valid(data) THEN data ->> '$.state' END AS named,
         EXISTS (SELECT 1 FROM events AS other INDEXED BY events_of_state WHERE other.host_id = :host
           AND other.sequence = last.sequence AND other.${OF_STATE} AND other.kind = 'crash') AS isOfCrash
       FROM events AS last INDEXED BY events_of_state WHERE host_id = :host AND ${OF_STATE}
       ORDER BY sequence DESC, idx DESC LIMIT 1) AS newest
     WHERE hosts.id = :host AND (events_stored OR hosts.checksum IS NOT NULL)`,
  );
  return (hostId) => {
    try {
      const row = told.get({ host: hostId });
      // Those of an earlier version are stored when it is built for the first time.
      if (row === undefined) return UNKNOWN;
      const { kernel, hazards } = row;
      return { state: stateOf(row), kernel, hazards };
    } catch (error) {
      // What is damaged, an inspection and a read of the events tell.
      if (!isDamage(error)) throw error;
      return UNKNOWN;
    }
  };
}

function stateOf({ kind, named, isOfCrash }: Pick<Row, 'kind' | 'named' | 'isOfCrash'>): Told['state'] {
  switch (kind) {
    case 'boot':
      return isOfCrash === 1 ? 'kdump' : 'running';
    case 'crash':
      return 'kdump';
    default:
      // Those that name no state have none here.
      return kind === 'panic' || kind === 'kexec' ? kind : named;
  }
}
