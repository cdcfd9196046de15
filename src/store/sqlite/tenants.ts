/** Tenants, found by the hash of their key. */
import { randomUUID } from 'node:crypto';
import type Database from 'better-sqlite3';
import type { Tenant, Tenants } from '../store.ts';
import { unavailable } from './errors.ts';
import type { Writer } from './writes.ts';

const COLUMNS = 'id, name, created';

export function openTenants(database: Database.Database, writer: Writer): Tenants {
  const byKeyHash = database.prepare<[string], Tenant>(`SELECT ${COLUMNS} FROM tenants WHERE key_hash = ?`);
  const byName = database.prepare<[string], Tenant>(`SELECT ${COLUMNS} FROM tenants WHERE name = ?`);
  const all = database.prepare<[], Tenant>(`SELECT ${COLUMNS} FROM tenants ORDER BY name`);
  // Every request asks; nobody but this service writes.
  const known = new Map<string, Tenant>();

  return {
    async create(name, keyHash) {
      const tenant: Tenant = { id: `t-${randomUUID()}`, name, created: new Date().toISOString() };
      await writer.write({ kind: 'tenant.create', tenant, keyHash });
      return tenant;
    },
    async findByKeyHash(keyHash) {
      const tenant = known.get(keyHash) ?? read(() => byKeyHash.get(keyHash));
      if (tenant !== undefined) known.set(keyHash, tenant);
      return tenant;
    },
    findByName: async (name) => read(() => byName.get(name)),
    list: async () => read(() => all.all()),
    async setKeyHash(id, keyHash) {
      const changes = await writer.write({ kind: 'tenant.key', id, keyHash });
      known.clear();
      return changes > 0;
    },
  };
}

function read<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw unavailable('cannot read tenants', error);
  }
}
