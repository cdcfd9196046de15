/**
 * CRC-32 of what rows say, host and place included: a row whose bytes have changed, or that stands for another one, is
 * not taken for what was stored. Hosts of earlier versions have none, nor their rows of that time, which are taken as they
 * are; a row without one of another host is none that was stored.
 */
import { crc32 } from 'node:zlib';
import type Database from 'better-sqlite3';
import type { HostIdentity, RequestKey } from '../rows.ts';
import type { EventRow, JournalRow, SnapshotRow } from './writes.ts';

/** Whether a row that has no checksum may be one of that host. */
export function openAge(database: Database.Database): (hostId: string) => boolean {
  const isOld = database.prepare<[string], number>('SELECT checksum IS NULL FROM hosts WHERE id = ?').pluck();
  return (hostId) => isOld.get(hostId) !== 0;
}

const crc32Of = (pieces: readonly Uint8Array[], before: number): number =>
  pieces.reduce((checksum, piece) => crc32(piece, checksum), before);

/** What stands in a row that has no payload. */
const NONE = { format: null, parts: null };

/** `data`: all of the payload as stored, piece by piece, wherever it stands. */
export function commandChecksum(
  {
    hostId,
    sequence,
    command,
    digest,
    payload,
  }: Pick<JournalRow, 'hostId' | 'sequence' | 'command' | 'digest'> & {
    payload: Pick<SnapshotRow, 'format' | 'parts'> | null;
  },
  data: readonly Uint8Array[] | null,
): number {
  const { format, parts } = payload ?? NONE;
  const head = crc32(`${hostId} ${sequence} ${digest} ${format} ${parts} `);
  const text = crc32(command, head);
  return data === null ? text : crc32Of(data, text);
}

/** `data`: all of it as stored, piece by piece. */
export function snapshotChecksum(
  { hostId, sequence, engine, format, parts }: Omit<SnapshotRow, 'data' | 'epoch' | 'checksum'>,
  data: readonly Uint8Array[],
): number {
  return crc32Of(data, crc32(`${hostId} ${sequence} ${engine} ${format} ${parts} `));
}

/** The texts come last, with the length of the first before it. */
export function eventChecksum(event: Omit<EventRow, 'bdf' | 'checksum'>): number {
  const { hostId, sequence, index, time, kernel, kind, message, data } = event;
  const head = `${hostId} ${sequence} ${index} ${time} ${kernel} ${kind} ${String(message).length} `;
  return crc32(String(data), crc32(String(message), crc32(head)));
}

/** Of the row of a key, with the command or the host that it leads to. */
export const requestChecksum = ({ tenantId, key, fingerprint }: RequestKey, hostId: string, sequence: number): number =>
  crc32(`${tenantId} ${key} ${fingerprint} ${hostId} ${sequence}`);

/** Its end is one that nobody has given it otherwise. `serial`: null for that of a host of an earlier version, which had none. */
export const identityChecksum = (
  host: Omit<HostIdentity, 'damaged'> & { expiresAt?: string | null },
  serial: number | null,
): number => {
  const { id, tenantId, name, created, expiresAt = null } = host;
  const place = serial === null ? '' : `${serial} `;
  return crc32(`${place}${id} ${tenantId} ${created} ${name}${expiresAt === null ? '' : ` ${expiresAt}`}`);
};

export const specChecksum = (id: string, spec: string): number => crc32(spec, crc32(`${id} `));
