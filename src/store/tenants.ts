/** Tenants, found by the hash of their key. */
import { randomUUID } from 'node:crypto';
import type Database from 'better-sqlite3';
import { TenantExists, unavailable } from './errors.ts';
import type { Tenant } from './rows.ts';

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

export function openTenants(database: Database.Database): Tenants {
  const insert = database.prepare('INSERT INTO tenants (id, name, key_hash, created) VALUES (?, ?, ?, ?)');
  const byKeyHash = database.prepare<[string], Tenant>(`SELECT ${COLUMNS} FROM tenants WHERE key_hash = ?`);
  const byName = database.prepare<[string], Tenant>(`SELECT ${COLUMNS} FROM tenants WHERE name = ?`);
  const all = database.prepare<[], Tenant>(`SELECT ${COLUMNS} FROM tenants ORDER BY name`);
  const setKey = database.prepare('UPDATE tenants SET key_hash = ? WHERE id = ? AND key_hash <> ?');

  return {
    async create(name, keyHash) {
      const tenant: Tenant = { id: `t-${randomUUID()}`, name, created: new Date().toISOString() };
      change(() => insert.run(tenant.id, name, keyHash, tenant.created), name);
      return tenant;
    },
    findByKeyHash: (keyHash) => read(() => byKeyHash.get(keyHash)),
    findByName: (name) => read(() => byName.get(name)),
    list: () => read(() => all.all()),
    async setKeyHash(id, keyHash) {
      return change(() => setKey.run(keyHash, id, keyHash), id).changes > 0;
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

function change<T>(work: () => T, tenant: string): T {
  try {
    return work();
  } catch (error) {
    if ((error as { code?: string }).code === 'SQLITE_CONSTRAINT_UNIQUE') {
      throw new TenantExists(`the name or the key of tenant ${tenant} is taken`, { cause: error });
    }
    throw unavailable(`cannot store tenant ${tenant}`, error);
  }
}
