/** Deletes the hosts of a tenant that fit, and tenants with all their hosts. */
import { DELETED_AT_A_TIME } from '../limits.ts';
import { type Directory, type HostCursor, type HostFilter, StoreUnavailable } from '../store/store.ts';

export type RemoveHost = (hostId: string) => Promise<void>;

/** How many there were. Where one cannot be deleted, that is thrown: some are gone then, and others are not. */
export async function removeHosts(
  { hosts }: Pick<Directory, 'hosts'>,
  tenantId: string,
  filter: HostFilter,
  remove: RemoveHost,
): Promise<number> {
  let removed = 0;
  for (let after: HostCursor | undefined; ; ) {
    const found = await hosts.list(tenantId, DELETED_AT_A_TIME, after, filter);
    if (found.length === 0) return removed;
    await Promise.all(found.map(({ id }) => remove(id)));
    removed += found.length;
    after = found.at(-1)!;
  }
}

/**
 * Deletes a throw-away tenant with all that it has; returns how many hosts it had. Nobody has its key from then on, and what is left
 * where this fails, or the process dies, goes when its end is looked for.
 */
export async function removeTenant(
  directory: Pick<Directory, 'hosts' | 'tenants'>,
  id: string,
  remove: RemoveHost,
): Promise<number> {
  await directory.tenants.end(id);
  let removed = 0;
  for (;;) {
    const hosts = await removeHosts(directory, id, {}, remove);
    removed += hosts;
    if (await directory.tenants.delete(id)) return removed;
    if (hosts === 0) throw new StoreUnavailable(`hosts of tenant ${id} cannot be deleted yet`);
  }
}
