/** Tenants, found by the hash of a key of theirs. */
import { randomUUID } from 'node:crypto';
import type Database from 'better-sqlite3';
import type { KeptQuotas, KeyHolder, StoredKey, Tenant, Tenants } from '../store.ts';
import { Changes } from './changes.ts';
import { unavailable } from './errors.ts';
import type { Writer } from './writes.ts';

interface Columns extends Omit<Tenant, 'quotas'> {
  quotas: string | null;
}

const COLUMNS = 'id, name, created, quotas';

interface HolderColumns extends Columns {
  key: string;
  role: StoredKey['role'];
  made: string;
  expires: string | null;
}

/** Any change of a tenant is one of all: it may have had another key before. */
const ANY = 'tenants';
/** Tenants that are kept in memory. */
const MOST_KNOWN = 10_000;

/** `changes`: of other threads; default: there are none. */
export function openTenants(database: Database.Database, writer: Writer, changes = new Changes()): Tenants {
  const by = (column: string): ((value: string) => Tenant | undefined) => {
    const statement = database.prepare<[string], Columns>(`SELECT ${COLUMNS} FROM tenants WHERE ${column} = ?`);
    return (value) => {
      const columns = read(() => statement.get(value));
      return columns && tenantOf(columns);
    };
  };
  const [byName, byId] = [by('name'), by('id')];
  const byKeyHash = database.prepare<[string], HolderColumns>(
    `SELECT id, tenants.name AS name, tenants.created AS created, quotas,
       tenant_keys.name AS key, role, tenant_keys.created AS made, expires
     FROM tenant_keys JOIN tenants ON id = tenant_id WHERE tenant_keys.key_hash = ?`,
  );
  const keys = database.prepare<[string], StoredKey>(
    'SELECT name, role, created, expires FROM tenant_keys WHERE tenant_id = ? ORDER BY name',
  );
  const page = database.prepare<[string, number], Columns>(
    `SELECT ${COLUMNS} FROM tenants WHERE name > ? ORDER BY name LIMIT ?`,
  );
  // Every request asks; nobody but this service writes.
  const known = changes.cache<KeyHolder>(MOST_KNOWN);

  return {
    async create(name, keyHash) {
      const tenant = { id: `t-${randomUUID()}`, name, created: new Date().toISOString() };
      await writer.write({ kind: 'tenant.create', tenant, keyHash });
      return { ...tenant, quotas: {} };
    },
    findByKeyHash: async (keyHash) => known.get(keyHash, () => holderOf(read(() => byKeyHash.get(keyHash))), ANY),
    findByName: async (name) => byName(name),
    get: async (id) => byId(id),
    list: async (limit, after = '') => read(() => page.all(after, limit)).map(tenantOf),
    async setKeyHash(id, keyHash) {
      const rows = await writer.write({ kind: 'tenant.key', id, keyHash, created: new Date().toISOString() });
      changes.note(ANY);
      return rows > 0;
    },
    keys: async (id) => read(() => keys.all(id)),
    async addKey(id, key, keyHash) {
      await writer.write({ kind: 'key.create', id, key, keyHash });
    },
    async removeKey(id, name) {
      const rows = await writer.write({ kind: 'key.delete', id, name });
      changes.note(ANY);
      return rows > 0;
    },
    async setQuotas(id, quotas) {
      const text = Object.keys(quotas).length === 0 ? null : JSON.stringify(quotas);
      await writer.write({ kind: 'tenant.quotas', id, quotas: text });
      changes.note(ANY);
    },
  };
}

function tenantOf({ quotas, ...tenant }: Columns): Tenant {
  return { ...tenant, quotas: quotas === null ? {} : given(quotas) };
}

function holderOf(columns: HolderColumns | undefined): KeyHolder | undefined {
  if (columns === undefined) return undefined;
  const { key: name, role, made: created, expires, ...tenant } = columns;
  return { tenant: tenantOf(tenant), key: { name, role, created, expires } };
}

/** What cannot be read is as it is for all. */
function given(text: string): KeptQuotas {
  try {
    const quotas: unknown = JSON.parse(text);
    return typeof quotas === 'object' && quotas !== null ? (quotas as KeptQuotas) : {};
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
