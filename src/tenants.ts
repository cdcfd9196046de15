/** Creates the tenants that the configuration names, when the service starts. */
import type { Config } from './config.ts';
import type { Log } from './log.ts';
import { type DamageBook, hashKey, newKey, StoreDamaged, type Tenants } from './store/store.ts';

type Given = Pick<Config, 'dev' | 'devKey' | 'adminKey' | 'tenants'>;

/**
 * Creates missing tenants. Throws TenantExists if a key belongs to another tenant, and StoreDamaged where something goes
 * wrong in a database that is `damage`d.
 */
export async function seedTenants(tenants: Tenants, config: Given, log: Log, damage?: DamageBook): Promise<void> {
  try {
    await seed(tenants, config, log);
  } catch (error) {
    const found = damage?.all.find(({ kind }) => kind === 'database');
    throw found === undefined ? error : new StoreDamaged(found.what, { cause: error });
  }
}

async function seed(tenants: Tenants, config: Given, log: Log): Promise<void> {
  if (!config.dev) await lockDevTenant(tenants, config, log);
  for (const { name, key } of config.tenants) {
    const tenant = await tenants.findByName(name);
    const made = tenant === undefined;
    if (made) await tenants.create(name, hashKey(key));
    const changed = !made && (await tenants.setKeyHash(tenant.id, hashKey(key)));
    // The key of the development mode is printed at its start.
    if (config.dev && key === config.devKey) continue;
    if (made) log.info({ tenant: name }, 'tenant created from the configuration');
    if (changed) log.warn({ tenant: name }, 'tenant has another key now, that of the configuration');
  }
  if (config.adminKey === null && (await tenants.list(1)).length === 0) {
    log.warn({}, 'nobody can use the service: set HOLDOVER_TENANTS or HOLDOVER_ADMIN_KEY');
  }
}

/**
 * The key of the development mode is well known. A data directory that was used in that mode may be served to a
 * network later, so the key is taken away, unless the configuration gives it to somebody.
 */
async function lockDevTenant(tenants: Tenants, { devKey, tenants: given }: Given, log: Log): Promise<void> {
  const tenant = (await tenants.findByKeyHash(hashKey(devKey)))?.tenant;
  if (tenant === undefined || given.some(({ key }) => key === devKey)) return;
  await tenants.setKeyHash(tenant.id, hashKey(newKey()));
  log.warn({ tenant: tenant.name }, 'tenant locked: its key was that of the development mode');
}
