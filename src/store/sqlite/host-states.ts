/**
 * What a list tells of each host without building one: its events say in which state it is and which kernel runs, and how many of
 * them are hazards. Each is found by an index of those events alone.
 */
import type Database from 'better-sqlite3';
import { type ListedHost, MOST_COUNTED } from '../store.ts';
import { isDamage } from './errors.ts';

type Told = Pick<ListedHost, 'state' | 'kernel' | 'hazards'>;

interface StateRow {
  sequence: number;
  kind: 'boot' | 'crash' | 'panic' | 'kexec' | 'restored' | 'copy';
  kernel: number;
  /** The state that the event names itself. */
  named: Told['state'];
}

const UNKNOWN: Told = { state: null, kernel: null, hazards: null };

/** By that index, or SQLite would look through all events of the host; and with the condition as the index has it. */
const EVENTS_OF_STATE = 'events INDEXED BY events_of_state';
const OF_STATE = "kind IN ('boot', 'crash', 'panic', 'kexec', 'restored', 'copy')";

export function openTelling(database: Database.Database): (hostId: string) => Told {
  const newest = database.prepare<[string], StateRow>(
    `SELECT sequence, kind, kernel, CASE WHEN json_valid(data) THEN data ->> '$.state' END AS named
     FROM ${EVENTS_OF_STATE} WHERE host_id = ? AND ${OF_STATE} ORDER BY sequence DESC, idx DESC LIMIT 1`,
  );
  // The crash kernel boots within the command that crashes the one before.
  const isOfCrash = database.prepare<[string, number], unknown>(
    `SELECT 1 FROM ${EVENTS_OF_STATE} WHERE host_id = ? AND sequence = ? AND ${OF_STATE} AND kind = 'crash'`,
  );
  const hazards = database
    .prepare<[string], number>(
      `SELECT count(*) FROM (SELECT 1 FROM events WHERE host_id = ? AND kind = 'hazard' LIMIT ${MOST_COUNTED})`,
    )
    .pluck();
  // Those of an earlier version are stored when it is built for the first time.
  const areStored = database
    .prepare<[string], number>('SELECT events_stored OR checksum IS NOT NULL FROM hosts WHERE id = ?')
    .pluck();

  const stateOf = (hostId: string, { kind, sequence, named }: StateRow): Told['state'] => {
    switch (kind) {
      case 'boot':
        return isOfCrash.get(hostId, sequence) === undefined ? 'running' : 'kdump';
      case 'crash':
        return 'kdump';
      case 'panic':
      case 'kexec':
        return kind;
      case 'restored':
      case 'copy':
        return named;
    }
  };
  return (hostId) => {
    try {
      if (areStored.get(hostId) !== 1) return UNKNOWN;
      const row = newest.get(hostId);
      const count = hazards.get(hostId) ?? 0;
      if (row === undefined) return { ...UNKNOWN, hazards: count };
      return { state: stateOf(hostId, row), kernel: row.kernel, hazards: count };
    } catch (error) {
      // What is damaged, an inspection and a read of the events tell.
      if (!isDamage(error)) throw error;
      return UNKNOWN;
    }
  };
}
