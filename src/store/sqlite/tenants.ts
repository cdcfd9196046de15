/** Tenants, found by the hash of their key. */
import { randomUUID } from 'node:crypto';
import type Database from 'better-sqlite3';
import { unavailable } from '../errors.ts';
import type { Tenant } from '../rows.ts';
import type { Writer } from './writes.ts';

export interface Tenants {
  /** Throws TenantExists where the name or the key is taken. `keyHash` is that of `hashKey`. */
  create(name: string, keyHash: string): Promise<Tenant>;
  findByKeyHash(keyHash: string): Tenant | undefined;
  findByName(name: string): Tenant | undefined;
  /** All of them, by name. */
  list(): Tenant[];
  /** Gives a tenant another key; false where it had that key already. Throws TenantExists where another has it. */
  setKeyHash(id: string, keyHash: string): Promise<boolean>;
}

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
    findByKeyHash(keyHash) {
      const tenant = known.get(keyHash) ?? read(() => byKeyHash.get(keyHash));
      if (tenant !== undefined) known.set(keyHash, tenant);
      return tenant;
    },
    findByName: (name) => read(() => byName.get(name)),
    list: () => read(() => all.all()),
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
