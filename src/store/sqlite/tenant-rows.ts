/** Tenants and their keys as the writer stores them. */
import type Database from 'better-sqlite3';
import { FIRST_KEY } from '../rows.ts';
import type { Write } from './writes.ts';

type TenantWrite = Extract<Write, { kind: `tenant.${string}` | `key.${string}` }>;

/** What has no bound. */
const ANY_NUMBER = Number.MAX_SAFE_INTEGER;

export function prepareTenants(database: Database.Database): (write: TenantWrite) => number {
  const create = database.prepare(
    `INSERT INTO tenants (id, name, key_hash, created, parent_id, expires)
     SELECT :id, :name, :id, :created, :parentId, :expiresAt
     WHERE :parentId IS NULL OR (SELECT count(*) FROM tenants WHERE parent_id = :parentId) < :most`,
  );
  const end = database.prepare('UPDATE tenants SET expires = :expires WHERE id = :id AND parent_id IS NOT NULL');
  const endKeys = database.prepare(
    `DELETE FROM tenant_keys WHERE tenant_id = (SELECT id FROM tenants WHERE id = ? AND parent_id IS NOT NULL)`,
  );
  const remove = database.prepare<[{ id: string }]>(
    `DELETE FROM tenants WHERE id = :id AND parent_id IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM hosts WHERE tenant_id = :id)`,
  );
  const createKey = database.prepare(
    'INSERT INTO tenant_keys (tenant_id, name, key_hash, role, created, expires) VALUES (?, ?, ?, ?, ?, ?)',
  );
  const setFirstKey = database.prepare(
    `INSERT INTO tenant_keys VALUES (?, ?, ?, 'full', ?, NULL) ON CONFLICT (tenant_id, name)
     DO UPDATE SET key_hash = excluded.key_hash, created = excluded.created, role = 'full', expires = NULL
     WHERE key_hash <> excluded.key_hash`,
  );
  const deleteKey = database.prepare('DELETE FROM tenant_keys WHERE tenant_id = ? AND name = ?');
  const isThere = database.prepare<[string], unknown>('SELECT 1 FROM tenants WHERE id = ?');
  const setQuotas = database.prepare('UPDATE tenants SET quotas = ? WHERE id = ?');

  return (write) => {
    switch (write.kind) {
      case 'tenant.create': {
        const { tenant, keyHash, most = ANY_NUMBER } = write;
        if (create.run({ ...tenant, most }).changes === 0) return 0;
        return createKey.run(tenant.id, FIRST_KEY, keyHash, 'full', tenant.created, null).changes;
      }
      case 'tenant.end':
        endKeys.run(write.id);
        return end.run({ id: write.id, expires: write.expires }).changes;
      case 'tenant.delete':
        endKeys.run(write.id);
        remove.run({ id: write.id });
        return isThere.get(write.id) === undefined ? 1 : 0;
      case 'tenant.key':
        return setFirstKey.run(write.id, FIRST_KEY, write.keyHash, write.created).changes;
      case 'key.create': {
        const { name, role, created, expires } = write.key;
        return createKey.run(write.id, name, write.keyHash, role, created, expires).changes;
      }
      case 'key.delete':
        return deleteKey.run(write.id, write.name).changes;
      case 'tenant.quotas':
        return setQuotas.run(write.quotas, write.id).changes;
    }
  };
}
