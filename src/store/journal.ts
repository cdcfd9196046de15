/** The journal: every host's commands in order, and what a frozen kernel hands over to the next one. */
import { hash } from 'node:crypto';
import type Database from 'better-sqlite3';
import { HandoverDamaged, unavailable } from './errors.ts';
import type { JournalEntry } from './rows.ts';

export type StoredCommand = Pick<JournalEntry, 'sequence' | 'command' | 'digest'>;

export interface Journal {
  /** All entries or none, in one transaction; when it resolves they are stored. Rejects with StoreUnavailable. */
  commit(entries: readonly JournalEntry[]): Promise<void>;
  /** The commands after sequence `after`, in order: some of them (at least one), none at the end. */
  read(hostId: string, after: number): StoredCommand[];
  /** What the freeze of that sequence left. Throws HandoverDamaged where it is not what was stored. */
  handover(hostId: string, sequence: number): { text: string | null };
  /** Hosts whose last freeze was not followed by a boot. */
  unbooted(): string[];
}

/** How much one read of the journal returns at most (plus one command), in UTF-16 units. */
const READ_LIMIT = 1 << 20;

interface HandoverColumns {
  text: string | null;
  checksum: string;
}

export function openJournal(database: Database.Database): Journal {
  const append = database.prepare('INSERT INTO journal (host_id, sequence, command, digest) VALUES (?, ?, ?, ?)');
  const handOver = database.prepare('INSERT INTO handovers (host_id, sequence, text, checksum) VALUES (?, ?, ?, ?)');
  const after = database.prepare<[string, number], StoredCommand>(
    'SELECT sequence, command, digest FROM journal WHERE host_id = ? AND sequence > ? ORDER BY sequence',
  );
  const handover = database.prepare<[string, number], HandoverColumns>(
    'SELECT text, checksum FROM handovers WHERE host_id = ? AND sequence = ?',
  );
  const unbooted = database
    .prepare<[], string>(
      `SELECT last.host_id FROM (SELECT host_id, max(sequence) AS sequence FROM handovers GROUP BY host_id) AS last
       WHERE NOT EXISTS (
         SELECT 1 FROM journal WHERE journal.host_id = last.host_id AND journal.sequence > last.sequence
         AND journal.command ->> '$.op' = 'kexec.boot')
       ORDER BY last.host_id`,
    )
    .pluck();

  const commit = database.transaction((entries: readonly JournalEntry[]) => {
    for (const entry of entries) {
      append.run(entry.hostId, entry.sequence, entry.command, entry.digest);
      if (entry.handover === undefined) continue;
      const { text } = entry.handover;
      handOver.run(entry.hostId, entry.sequence, text, checksum(text));
    }
  });

  return {
    async commit(entries) {
      try {
        commit.immediate(entries);
      } catch (error) {
        throw unavailable('cannot store what the host did', error);
      }
    },
    read(hostId, sequence) {
      try {
        const commands: StoredCommand[] = [];
        let size = 0;
        for (const command of after.iterate(hostId, sequence)) {
          commands.push(command);
          size += command.command.length;
          if (size >= READ_LIMIT) break;
        }
        return commands;
      } catch (error) {
        throw unavailable(`cannot read the journal of host ${hostId}`, error);
      }
    },
    handover(hostId, sequence) {
      const row = attemptRead(() => handover.get(hostId, sequence));
      if (row === undefined) throw new HandoverDamaged(`the handover of command ${sequence} is missing`);
      if (checksum(row.text) !== row.checksum) {
        throw new HandoverDamaged(`the handover of command ${sequence} does not match its checksum`);
      }
      return { text: row.text };
    },
    unbooted: () => attemptRead(() => unbooted.all()),
  };
}

/** Nothing handed over differs from an empty text. */
function checksum(text: string | null): string {
  return text === null ? 'none' : hash('sha256', text, 'hex');
}

function attemptRead<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw unavailable('cannot read handovers', error);
  }
}
