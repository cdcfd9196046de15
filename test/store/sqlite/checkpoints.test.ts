import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { WAL_BYTES } from '../../../src/store/sqlite/database.ts';
import { FIRST_EPOCH } from '../../../src/store/store.ts';
import { SPEC } from '../../lanes/fake-host.ts';
import { temporaryDirectory } from '../../support/service.ts';
import { someTenant, temporaryStore } from '../../support/store.ts';

test('what is much in the WAL gets into the database while nobody who commits does it', async (t) => {
  const directory = temporaryDirectory(t);
  const store = temporaryStore(t, directory);
  const tenantId = await someTenant(store);
  await store.hosts.insert({ id: 'h', tenantId, name: 'h', spec: SPEC, created: '2026-01-01T00:00:00.000Z' });
  const owner = { hostId: 'h', epoch: FIRST_EPOCH };
  const sizeOf = (file: string): number => statSync(join(directory, file)).size;
  const bytes = randomBytes(2 * WAL_BYTES);
  await store.snapshots.put({ ...owner, sequence: 1, engine: 'x', bytes });
  assert.ok(sizeOf('holdover.db-wal') > WAL_BYTES, 'SQLite would have done it with the commit');
  // Then it begins anew with the next commit, and is cut off there.
  for (let sequence = 2; sizeOf('holdover.db-wal') > WAL_BYTES; sequence += 1) {
    await store.snapshots.put({ ...owner, sequence, engine: 'x', bytes: new Uint8Array(8) });
    await setImmediate();
  }
  assert.ok(sizeOf('holdover.db') > bytes.byteLength);
});
