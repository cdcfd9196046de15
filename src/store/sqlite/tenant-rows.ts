/** Tenants as the writer stores them. */
import type Database from 'better-sqlite3';
import type { Write } from './writes.ts';

type TenantWrite = Extract<Write, { kind: `tenant.${string}` }>;

/** What has no bound. */
const ANY_NUMBER = Number.MAX_SAFE_INTEGER;

export function prepareTenants(database: Database.Database): (write: TenantWrite) => number {
  const create = database.prepare(
    `INSERT INTO tenants (id, name, key_hash, created, parent_id, expires)
     SELECT :id, :name, :keyHash, :created, :parentId, :expiresAt
     WHERE :parentId IS NULL OR (SELECT count(*) FROM tenants WHERE parent_id = :parentId) < :most`,
  );
  const end = database.prepare(
    'UPDATE tenants SET expires = :expires, key_hash = :keyHash WHERE id = :id AND parent_id IS NOT NULL',
  );
  const remove = database.prepare<[{ id: string }]>(
    `DELETE FROM tenants WHERE id = :id AND parent_id IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM hosts WHERE tenant_id = :id)`,
  );
  const isThere = database.prepare<[string], unknown>('SELECT 1 FROM tenants WHERE id = ?');
  const setKey = database.prepare('UPDATE tenants SET key_hash = ? WHERE id = ? AND key_hash <> ?');
  const setQuotas = database.prepare('UPDATE tenants SET quotas = ? WHERE id = ?');

  return (write) => {
    switch (write.kind) {
      case 'tenant.create': {
        const { tenant, keyHash, most = ANY_NUMBER } = write;
        return create.run({ ...tenant, keyHash, most }).changes;
      }
      case 'tenant.end':
        return end.run({ id: write.id, expires: write.expires, keyHash: write.keyHash }).changes;
      case 'tenant.delete':
        remove.run({ id: write.id });
        return isThere.get(write.id) === undefined ? 1 : 0;
      case 'tenant.key':
        return setKey.run(write.keyHash, write.id, write.keyHash).changes;
      case 'tenant.quotas':
        return setQuotas.run(write.quotas, write.id).changes;
    }
  };
}
