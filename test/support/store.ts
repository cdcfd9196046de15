/** A store of its own for a test, in a directory that goes when the test ends. */
import type { TestContext } from 'node:test';
import { openStore, type SqliteStore } from '../../src/store/sqlite/store.ts';
import { type Directory, hashKey } from '../../src/store/store.ts';
import { temporaryDirectory } from './service.ts';

export function temporaryStore(t: TestContext, directory: string = temporaryDirectory(t)): SqliteStore {
  const store = openStore({ directory });
  t.after(() => store.close());
  return store;
}

/** A tenant, because hosts need one; its id. */
export async function someTenant(store: Directory, name = 'acme'): Promise<string> {
  return (await store.tenants.create(name, hashKey(`key of ${name}`))).id;
}
