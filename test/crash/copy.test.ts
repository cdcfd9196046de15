/** The database may be copied while the service runs, as the README tells. */
import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import { startService, temporaryDirectory } from '../support/service.ts';

test('a copy made while the service runs has what was acknowledged before, and another service goes on from it', async (t) => {
  const directory = temporaryDirectory(t);
  const service = await startService(t, directory);
  const { body: host } = await service.request('POST', '/v1/hosts', { preset: 'vmm-lab' });
  const path = `/v1/hosts/${(host as { id: string }).id}`;
  await service.request('POST', `${path}/processes`, { name: 'vmm' });
  const before = await service.request('GET', path);
  const reading = new Database(join(directory, 'holdover.db'), { readonly: true });
  const copy = temporaryDirectory(t);
  reading.prepare('VACUUM INTO ?').run(join(copy, 'holdover.db'));
  reading.close();
  await service.request('POST', `${path}/processes`, { name: 'later' });

  const other = await startService(t, copy);
  assert.deepEqual(await other.request('GET', path), before);
  const { body } = await other.request('GET', `${path}/processes`);
  assert.deepEqual(
    (body as { items: { name: string }[] }).items.map(({ name }) => name),
    ['vmm'],
  );
});

test('after a clean stop holdover.db alone is all of it', async (t) => {
  const directory = temporaryDirectory(t);
  const service = await startService(t, directory);
  await service.request('POST', '/v1/hosts', { preset: 'vmm-lab' });
  assert.ok(statSync(join(directory, 'holdover.db-wal')).size > 0);
  assert.deepEqual(await service.stop(), { code: 0, signal: null });
  assert.ok(!existsSync(join(directory, 'holdover.db-wal')));
});
