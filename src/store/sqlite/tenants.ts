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

/** Quotas of a throw-away one are its parent's. */
const COLUMNS = `id, name, created, parent_id AS parentId, expires AS expiresAt,
  CASE WHEN parent_id IS NULL THEN quotas
    ELSE (SELECT parent.quotas FROM tenants AS parent WHERE parent.id = tenants.parent_id) END AS quotas`;

interface HolderColumns extends Columns {
  key: string;
  role: StoredKey['role'];
  made: string;
  until: string | null;
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
    `SELECT ${COLUMNS}, key, role, made, until
     FROM (SELECT tenant_id, name AS key, role, created AS made, expires AS until, key_hash AS hash FROM tenant_keys)
       JOIN tenants ON id = tenant_id WHERE hash = ?`,
  );
  const keys = database.prepare<[string], StoredKey>(
    'SELECT name, role, created, expires FROM tenant_keys WHERE tenant_id = ? ORDER BY name',
  );
  const page = database.prepare<[string, number], Columns>(
    `SELECT ${COLUMNS} FROM tenants WHERE name > ? ORDER BY name LIMIT ?`,
  );
  const ofParent = database.prepare<[string], Columns>(
    `SELECT ${COLUMNS} FROM tenants WHERE parent_id = ? ORDER BY name`,
  );
  // Without a parent none has an end, whatever stands there.
  const expiring = database.prepare<[string, number], Columns>(
    `SELECT ${COLUMNS} FROM tenants WHERE parent_id IS NOT NULL AND expires <= ? ORDER BY expires LIMIT ?`,
  );
  // Every request asks; nobody but this service writes.
  const known = changes.cache<KeyHolder>(MOST_KNOWN);

  return {
    async create(name, keyHash) {
      const { id, created } = newRow();
      const tenant = { id, name, created, parentId: null, expiresAt: null };
      await writer.write({ kind: 'tenant.create', tenant, keyHash });
      return { ...tenant, quotas: {} };
    },
    async createChild(parent, { name, expiresAt, most }, keyHash) {
      const row = newRow();
      const tenant = { ...row, name: `${parent.name}/${name ?? row.id}`, parentId: parent.id, expiresAt };
      const bound = Number.isFinite(most) ? { most } : {};
      const made = await writer.write({ kind: 'tenant.create', tenant, keyHash, ...bound });
      return made === 0 ? undefined : { ...tenant, quotas: parent.quotas };
    },
    children: async (parentId) => read(() => ofParent.all(parentId)).map(tenantOf),
    expired: async (by, limit) => read(() => expiring.all(by, limit)).map(tenantOf),
    async end(id) {
      await writer.write({ kind: 'tenant.end', id, expires: new Date().toISOString() });
      changes.note(ANY);
    },
    async delete(id) {
      const gone = (await writer.write({ kind: 'tenant.delete', id })) > 0;
      changes.note(ANY);
      return gone;
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

const newRow = () => ({ id: `t-${randomUUID()}`, created: new Date().toISOString() });

function tenantOf({ quotas, ...tenant }: Columns): Tenant {
  return { ...tenant, quotas: quotas === null ? {} : given(quotas) };
}

function holderOf(columns: HolderColumns | undefined): KeyHolder | undefined {
  if (columns === undefined) return undefined;
  const { key: name, role, made: created, until: expires, ...tenant } = columns;
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
