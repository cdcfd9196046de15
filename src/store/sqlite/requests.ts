/** Requests that are known by a key: their rows are stored with what they have led to, and go with it. */
import type Database from 'better-sqlite3';
import { KeyTaken, StoreDamaged } from '../errors.ts';
import type { Requested, RequestKey } from '../rows.ts';
import { requestChecksum } from './checksums.ts';
import type { RequestRow } from './writes.ts';

interface Columns extends Requested {
  checksum: number;
}

const isWhole = ({ checksum, fingerprint, hostId, sequence }: Columns, key: Pick<RequestKey, 'tenantId' | 'key'>) =>
  checksum === requestChecksum({ ...key, fingerprint }, hostId, sequence);

/** Null: it has no key. */
export function requestRow(request: RequestKey | undefined, hostId: string, sequence: number): RequestRow | null {
  if (request === undefined) return null;
  return { ...request, checksum: requestChecksum(request, hostId, sequence) };
}

export type FindRequest = (key: Pick<RequestKey, 'tenantId' | 'key'>) => Requested | undefined;

/** Those of deleted hosts are gone, whether their rows are or not. */
export function openRequests(database: Database.Database): FindRequest {
  const find = database.prepare<[string, string], Columns>(
    `SELECT fingerprint, host_id AS hostId, sequence, idempotency_keys.checksum FROM idempotency_keys
     JOIN hosts ON hosts.id = host_id AND deleted IS NOT 'deleted' WHERE idempotency_keys.tenant_id = ? AND key = ?`,
  );
  return ({ tenantId, key }) => {
    const row = find.get(tenantId, key);
    if (row === undefined) return undefined;
    const { checksum: _, ...requested } = row;
    if (!isWhole(row, { tenantId, key }))
      throw new StoreDamaged('what is stored of a request with that Idempotency-Key does not match its checksum');
    return requested;
  };
}

/** How many of those that a host has carried out are not what was stored. */
export function openDamagedRequests(database: Database.Database): (hostId: string) => number {
  const all = database.prepare<[string], Columns & RequestKey>(
    `SELECT tenant_id AS tenantId, key, fingerprint, host_id AS hostId, sequence, checksum FROM idempotency_keys WHERE host_id = ?`,
  );
  return (hostId) => {
    let damaged = 0;
    for (const row of all.iterate(hostId)) if (!isWhole(row, row)) damaged += 1;
    return damaged;
  };
}

/** Stores one. Throws KeyTaken where there is one of that key. */
export function prepareRequests(
  database: Database.Database,
): (request: RequestRow, hostId: string, sequence: number) => void {
  const insert = database.prepare(
    `INSERT INTO idempotency_keys (tenant_id, key, fingerprint, host_id, sequence, checksum) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (tenant_id, key) DO UPDATE SET
       fingerprint = excluded.fingerprint, host_id = excluded.host_id, sequence = excluded.sequence, checksum = excluded.checksum
     WHERE host_id IN (SELECT id FROM hosts WHERE deleted = 'deleted')`,
  );
  return ({ tenantId, key, fingerprint, checksum }, hostId, sequence) => {
    if (insert.run(tenantId, key, fingerprint, hostId, sequence, checksum).changes === 0) throw new KeyTaken();
  };
}
