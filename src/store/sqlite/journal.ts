/** The journal: every host's commands in order, and what a frozen kernel hands over to the next one. */
import { hash } from 'node:crypto';
import type Database from 'better-sqlite3';
import { HandoverDamaged, type Journal, type JournalEntry, type StoredCommand } from '../store.ts';
import { isLarge, pack, packLarge, unpack } from './blob.ts';
import { reason, unavailable } from './errors.ts';
import { eventRows } from './events.ts';
import { openParts, type Parts } from './parts.ts';
import type { HandoverRow, JournalRow, StoredBlob, Writer } from './writes.ts';

/** How much one read of the journal returns at most (plus one command), in UTF-16 units and bytes. */
const READ_LIMIT = 1 << 20;

interface Columns {
  sequence: number;
  command: string;
  digest: string;
  payload: Uint8Array | null;
  format: number | null;
  parts: number | null;
}

export function openJournal(database: Database.Database, writer: Writer): Journal {
  const after = database.prepare<[string, number], Columns>(
    `SELECT sequence, command, digest, payload, payload_format AS format, payload_parts AS parts FROM journal
     WHERE host_id = ? AND sequence > ? ORDER BY sequence`,
  );
  const handover = database.prepare<[string, number], HandoverRow>(
    'SELECT format, data, checksum FROM handovers WHERE host_id = ? AND sequence = ?',
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

  const parts = openParts(database, writer);

  return {
    async append(entry) {
      const { hostId, sequence, payload } = entry;
      // Not a promise where it need not be one: what is appended next must come next.
      const row =
        payload !== undefined && isLarge(payload) ? await largeRow(entry, payload, parts) : smallRow(entry, payload);
      const events = eventRows(hostId, sequence, entry.events);
      await writer.write({ kind: 'append', row, handover: handoverRow(entry), events });
    },
    async read(hostId, sequence) {
      try {
        const commands: StoredCommand[] = [];
        let size = 0;
        for (const columns of after.iterate(hostId, sequence)) {
          const command = storedCommand(hostId, columns, parts);
          commands.push(command);
          size += command.command.length + (command.payload?.byteLength ?? 0);
          if (size >= READ_LIMIT) break;
        }
        return commands;
      } catch (error) {
        throw unavailable(`cannot read the journal of host ${hostId}`, error);
      }
    },
    async handover(hostId, sequence) {
      const row = attemptRead(() => handover.get(hostId, sequence));
      if (row === undefined) throw new HandoverDamaged(`the handover of command ${sequence} is missing`);
      const text = textOf(row, sequence);
      if (checksum(text) !== row.checksum) {
        throw new HandoverDamaged(`the handover of command ${sequence} does not match its checksum`);
      }
      return { text };
    },
    unbooted: async () => attemptRead(() => unbooted.all()),
  };
}

function handoverRow({ handover }: JournalEntry): HandoverRow | null {
  if (handover === undefined) return null;
  const { text } = handover;
  const { format, data } = pack(new TextEncoder().encode(text ?? ''));
  return { format, data: text === null ? null : data, checksum: checksum(text) };
}

function smallRow(entry: JournalEntry, payload: Uint8Array | undefined): JournalRow {
  return rowOf(entry, payload === undefined ? null : { ...pack(payload), parts: null });
}

async function largeRow(entry: JournalEntry, payload: Uint8Array, parts: Parts): Promise<JournalRow> {
  const { hostId, epoch, sequence } = entry;
  const place = { hostId, epoch, sequence, kind: 'payload' } as const;
  return rowOf(entry, await parts.put(place, await packLarge(payload)));
}

function rowOf({ hostId, epoch, sequence, command, digest }: JournalEntry, payload: StoredBlob | null): JournalRow {
  return { hostId, epoch, sequence, command, digest, payload };
}

function storedCommand(hostId: string, columns: Columns, inParts: Parts): StoredCommand {
  const { sequence, command, digest, payload, format, parts } = columns;
  const stored = { sequence, command, digest };
  if (payload === null || format === null) return stored;
  try {
    const blob = inParts.whole({ hostId, sequence, kind: 'payload' }, { format, data: payload, parts });
    return { ...stored, payload: unpack(blob) };
  } catch (error) {
    return { ...stored, damaged: `its payload cannot be read: ${reason(error)}` };
  }
}

function textOf({ format, data }: HandoverRow, sequence: number): string | null {
  if (data === null) return null;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(unpack({ format, data }));
  } catch (error) {
    throw new HandoverDamaged(`the handover of command ${sequence} cannot be read: ${reason(error)}`);
  }
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
