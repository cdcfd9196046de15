import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readConfig } from '../src/config.ts';
import { hashKey, TenantExists } from '../src/store/store.ts';
import { seedTenants } from '../src/tenants.ts';
import { temporaryStore } from './support/store.ts';

function memoryLog() {
  const lines: string[] = [];
  const note = (details: object, message: string): void => void lines.push(`${JSON.stringify(details)} ${message}`);
  return { lines, info: note, warn: note, error: note };
}

test('tenants of the configuration are created once, and follow a change of their key', async (t) => {
  const { tenants } = temporaryStore(t);
  const log = memoryLog();
  const seed = (given: string): Promise<void> => seedTenants(tenants, readConfig([], { HOLDOVER_TENANTS: given }), log);
  await seed('acme:secret-1,zeta:secret-2');
  const acme = (await tenants.findByKeyHash(hashKey('secret-1')))?.tenant;
  assert.equal(acme?.name, 'acme');
  await seed('acme:secret-1');
  assert.equal(log.lines.length, 2);
  await seed('acme:secret-3');
  assert.equal(await tenants.findByKeyHash(hashKey('secret-1')), undefined);
  assert.deepEqual((await tenants.findByKeyHash(hashKey('secret-3')))?.tenant, acme);
  assert.match(log.lines[2] ?? '', /"acme".*another key/);
  assert.doesNotMatch(log.lines.join('\n'), /secret/);
  await assert.rejects(seed('new:secret-2'), TenantExists);
});

test('the key of the development mode does not open the service outside of it', async (t) => {
  const { tenants } = temporaryStore(t);
  const log = memoryLog();
  await seedTenants(tenants, readConfig(['--dev'], {}), log);
  const dev = (await tenants.findByKeyHash(hashKey('dev-key')))?.tenant;
  assert.equal(dev?.name, 'dev');
  await seedTenants(tenants, readConfig([], {}), log);
  assert.equal(await tenants.findByKeyHash(hashKey('dev-key')), undefined);
  await seedTenants(tenants, readConfig(['--dev'], {}), log);
  assert.deepEqual((await tenants.findByKeyHash(hashKey('dev-key')))?.tenant, dev);
  await seedTenants(tenants, readConfig([], { HOLDOVER_TENANTS: 'dev:dev-key' }), log);
  assert.deepEqual((await tenants.findByKeyHash(hashKey('dev-key')))?.tenant, dev);
});

test('a service that nobody can use says so', async (t) => {
  const log = memoryLog();
  await seedTenants(temporaryStore(t).tenants, readConfig([], {}), log);
  assert.match(log.lines.join('\n'), /nobody can use the service/);
});
