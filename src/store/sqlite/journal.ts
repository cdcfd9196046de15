/** The journal: every host's commands in order, and what a frozen kernel hands over to the next one. */
import { hash } from 'node:crypto';
import type Database from 'better-sqlite3';
import { HandoverDamaged, type Journal, type JournalEntry, type StoredCommand } from '../store.ts';
import { isLarge, pack, unpack } from './blob.ts';
import { commandChecksum, openAge } from './checksums.ts';
import { isDamage, isFailure, reason, unavailable } from './errors.ts';
import { eventRows } from './events.ts';
import { openParts, type Packed, type Parts } from './parts.ts';
import { BEGIN, BEGIN_OF_HOST, END, END_OF_HOST } from './places.ts';
import { requestRow } from './requests.ts';
import type { HandoverRow, JournalRow, Writer } from './writes.ts';

/** How much one read of the journal returns at most (plus one command), in UTF-16 units and bytes. */
const READ_LIMIT = 1 << 20;

interface Columns {
  sequence: number;
  command: string;
  digest: string;
  payload: Uint8Array | null;
  format: number | null;
  parts: number | null;
  checksum: number | null;
}

export function openJournal(database: Database.Database, writer: Writer): Journal {
  const after = database.prepare<[{ host: string; sequence: number }], Columns>(
    `SELECT sequence, command, digest, payload, payload_format AS format, payload_parts AS parts, checksum
     FROM journal WHERE place > ${BEGIN_OF_HOST} + :sequence AND place <= ${END_OF_HOST} ORDER BY place`,
  );
  const handover = database.prepare<[string, number], HandoverRow>(
    'SELECT format, data, checksum FROM handovers WHERE host_id = ? AND sequence = ?',
  );
  const unbooted = database
    .prepare<[], string>(
      `SELECT id FROM (
         SELECT id, ${BEGIN} + max(sequence) AS freeze, ${END} AS end FROM handovers JOIN hosts ON id = host_id
         WHERE deleted IS NOT 'deleted' GROUP BY id)
       WHERE NOT EXISTS (
         SELECT 1 FROM journal WHERE place > freeze AND place <= end
         AND CASE WHEN json_valid(command) THEN command ->> '$.op' END = 'kexec.boot')
       ORDER BY id`,
    )
    .pluck();

  const parts = openParts(database, writer);
  const isOld = openAge(database);

  return {
    async append(entry) {
      const { hostId, sequence, payload } = entry;
      // Not a promise where it need not be one: what is appended next must come next.
      const row =
        payload !== undefined && isLarge(payload) ? await largeRow(entry, payload, parts) : smallRow(entry, payload);
      const events = eventRows(hostId, sequence, entry.events);
      const request = requestRow(entry.request, hostId, sequence);
      await writer.write({ kind: 'append', row, handover: handoverRow(entry), events, request });
    },
    async read(hostId, sequence) {
      const commands: StoredCommand[] = [];
      try {
        const mayBeOld = isOld(hostId);
        let size = 0;
        for (const columns of after.iterate({ host: hostId, sequence })) {
          const command = storedCommand(hostId, columns, parts, mayBeOld);
          commands.push(command);
          size += command.command.length + (command.payload?.byteLength ?? 0);
          if (size >= READ_LIMIT) break;
        }
      } catch (error) {
        if (!isDamage(error)) throw unavailable(`cannot read the journal of host ${hostId}`, error);
        // What is before the damaged page is whole. The next one to be read is the one that is not.
        const next = (commands.at(-1)?.sequence ?? sequence) + 1;
        commands.push({
          sequence: next,
          command: '',
          digest: '',
          damaged: `the database is damaged (${reason(error)})`,
        });
      }
      return commands;
    },
    async handover(hostId, sequence) {
      const row = rowOfHandover(() => handover.get(hostId, sequence), sequence);
      if (row === undefined) throw new HandoverDamaged(`the handover of command ${sequence} is missing`);
      const text = textOf(row, sequence);
      if (checksum(text) !== row.checksum) {
        throw new HandoverDamaged(`the handover of command ${sequence} does not match its checksum`);
      }
      return { text };
    },
    async unbooted() {
      try {
        return unbooted.all();
      } catch (error) {
        throw unavailable('cannot read handovers', error);
      }
    },
  };
}

function handoverRow({ handover }: JournalEntry): HandoverRow | null {
  if (handover === undefined) return null;
  const { text } = handover;
  const { format, data } = pack(new TextEncoder().encode(text ?? ''));
  return { format, data: text === null ? null : data, checksum: checksum(text) };
}

function smallRow(entry: JournalEntry, payload: Uint8Array | undefined): JournalRow {
  if (payload === undefined) return rowOf(entry, null);
  const blob = pack(payload);
  return rowOf(entry, { blob: { ...blob, parts: null }, data: [blob.data] });
}

async function largeRow(entry: JournalEntry, payload: Uint8Array, parts: Parts): Promise<JournalRow> {
  const { hostId, epoch, sequence } = entry;
  return rowOf(entry, await parts.put({ hostId, epoch, sequence, kind: 'payload' }, payload));
}

function rowOf(entry: JournalEntry, payload: Packed | null): JournalRow {
  const { hostId, epoch, sequence, command, digest } = entry;
  const row = { hostId, epoch, sequence, command, digest, payload: payload?.blob ?? null };
  return { ...row, checksum: commandChecksum(row, payload?.data ?? null) };
}

function storedCommand(hostId: string, columns: Columns, inParts: Parts, mayBeOld: boolean): StoredCommand {
  const { sequence, command, digest, payload: data, format, parts, checksum } = columns;
  if (typeof command !== 'string' || typeof digest !== 'string')
    return { sequence, command: '', digest: '', damaged: 'its row is none of a command' };
  const stored = { sequence, command, digest };
  const payload = data === null || format === null ? null : { format, data, parts };
  try {
    if (checksum === null && !mayBeOld) return { ...stored, damaged: 'its row has no checksum' };
    const blob = payload && inParts.whole({ hostId, sequence, kind: 'payload' }, payload);
    if (checksum !== null && checksum !== commandChecksum({ ...stored, hostId, payload }, blob && [blob.data]))
      return { ...stored, damaged: 'its row does not match its checksum' };
    return blob === null ? stored : { ...stored, payload: unpack(blob) };
  } catch (error) {
    if (isFailure(error)) throw error;
    return { ...stored, damaged: `its payload cannot be read: ${reason(error)}` };
  }
}

function rowOfHandover(read: () => HandoverRow | undefined, sequence: number): HandoverRow | undefined {
  try {
    return read();
  } catch (error) {
    if (!isDamage(error)) throw unavailable('cannot read handovers', error);
    throw new HandoverDamaged(`the handover of command ${sequence} cannot be read: ${reason(error)}`);
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
