/** Deletes hosts with all that is stored and known of them: one, or those of a tenant that fit. */
import { DELETED_AT_A_TIME } from '../limits.ts';
import type { HostCursor, HostFilter } from '../store/store.ts';
import type { Context } from './route.ts';

export type Removing = Pick<Context, 'lanes' | 'directory' | 'quotas'>;

export async function removeHost({ lanes, directory, quotas }: Removing, id: string): Promise<void> {
  await lanes.remove(id);
  quotas.forget(id);
  directory.hosts.forget(id);
  directory.damage.forget(id);
}

/** How many there were. Where one cannot be deleted, that is thrown: some are gone then, and others are not. */
export async function removeHosts(context: Removing, tenantId: string, filter: HostFilter): Promise<number> {
  let removed = 0;
  for (let after: HostCursor | undefined; ; ) {
    const hosts = await context.directory.hosts.list(tenantId, DELETED_AT_A_TIME, after, filter);
    if (hosts.length === 0) return removed;
    await Promise.all(hosts.map(({ id }) => removeHost(context, id)));
    removed += hosts.length;
    after = hosts.at(-1)!;
  }
}
