/** Old commands go bit by bit: to delete a large row SQLite reads all of it, and nobody has to wait for very many of them. */
import type Database from 'better-sqlite3';
import type { History } from './histories.ts';
import { PART_BYTES } from './parts.ts';
import { BEGIN_OF_HOST } from './places.ts';

/** So much goes at once. */
const COMMANDS = 1000;
const BYTES = 4 << 20;

interface Row {
  sequence: number;
  bytes: number;
  parts: number;
}

/** Deletes the oldest ones up to that sequence; what has gone. */
export function preparePruning(database: Database.Database): (hostId: string, until: number) => History {
  const upTo = `place BETWEEN ${BEGIN_OF_HOST} AND ${BEGIN_OF_HOST} + :until`;
  const oldest = database.prepare<[{ host: string; until: number }], Row>(
    `SELECT sequence, octet_length(command) + coalesce(octet_length(payload), 0) AS bytes, coalesce(payload_parts, 0) AS parts
     FROM journal WHERE ${upTo} ORDER BY place LIMIT ${COMMANDS}`,
  );
  const forget = database.prepare<[string, number, number]>(
    'DELETE FROM idempotency_keys WHERE host_id = ? AND sequence BETWEEN ? AND ?',
  );
  const remove = database.prepare<[{ host: string; until: number }]>(`DELETE FROM journal WHERE ${upTo}`);
  const handovers = database.prepare<[string, number]>('DELETE FROM handovers WHERE host_id = ? AND sequence <= ?');
  return (hostId, until) => {
    const gone = { commands: 0, bytes: 0 };
    let first = 0;
    let last = 0;
    for (const { sequence, bytes, parts } of oldest.iterate({ host: hostId, until })) {
      if (gone.commands === 0) first = sequence;
      last = sequence;
      gone.commands += 1;
      gone.bytes += bytes + parts * PART_BYTES;
      if (gone.bytes > BYTES) break;
    }
    if (gone.commands === 0) return gone;
    remove.run({ host: hostId, until: last });
    handovers.run(hostId, last);
    // Not that of the host itself, whose place is before its first command.
    forget.run(hostId, first, last);
    return gone;
  };
}
