/** Tenants, found by the hash of their key. */
import { randomUUID } from 'node:crypto';
import type Database from 'better-sqlite3';
import type { KeptQuotas, Tenant, Tenants } from '../store.ts';
import { unavailable } from './errors.ts';
import type { Writer } from './writes.ts';

interface Columns extends Omit<Tenant, 'quotas'> {
  quotas: string | null;
}

const COLUMNS = 'id, name, created, quotas';

export function openTenants(database: Database.Database, writer: Writer): Tenants {
  const by = (column: string): ((value: string) => Tenant | undefined) => {
    const statement = database.prepare<[string], Columns>(`SELECT ${COLUMNS} FROM tenants WHERE ${column} = ?`);
    return (value) => {
      const columns = read(() => statement.get(value));
      return columns && tenantOf(columns);
    };
  };
  const [byKeyHash, byName, byId] = [by('key_hash'), by('name'), by('id')];
  const page = database.prepare<[string, number], Columns>(
    `SELECT ${COLUMNS} FROM tenants WHERE name > ? ORDER BY name LIMIT ?`,
  );
  // Every request asks; nobody but this service writes.
  const known = new Map<string, Tenant>();

  return {
    async create(name, keyHash) {
      const tenant = { id: `t-${randomUUID()}`, name, created: new Date().toISOString() };
      await writer.write({ kind: 'tenant.create', tenant, keyHash });
      return { ...tenant, quotas: {} };
    },
    async findByKeyHash(keyHash) {
      const tenant = known.get(keyHash) ?? byKeyHash(keyHash);
      if (tenant !== undefined) known.set(keyHash, tenant);
      return tenant;
    },
    findByName: async (name) => byName(name),
    get: async (id) => byId(id),
    list: async (limit, after = '') => read(() => page.all(after, limit)).map(tenantOf),
    async setKeyHash(id, keyHash) {
      const changes = await writer.write({ kind: 'tenant.key', id, keyHash });
      known.clear();
      return changes > 0;
    },
    async setQuotas(id, quotas) {
      const text = Object.keys(quotas).length === 0 ? null : JSON.stringify(quotas);
      await writer.write({ kind: 'tenant.quotas', id, quotas: text });
      known.clear();
    },
  };
}

function tenantOf({ quotas, ...tenant }: Columns): Tenant {
  return { ...tenant, quotas: quotas === null ? {} : given(quotas) };
}

/** What cannot be read is as it is for all. */
function given(text: string): KeptQuotas {
  try {
    return JSON.parse(text) as KeptQuotas;
  } catch {
    return {};
  }
}

function read<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw unavailable('cannot read tenants', error);
  }
}
