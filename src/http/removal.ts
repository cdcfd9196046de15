/** Deletes a host with all that is stored and known of it. */
import type { Context } from './route.ts';

export async function removeHost(
  { lanes, directory, quotas }: Pick<Context, 'lanes' | 'directory' | 'quotas'>,
  id: string,
): Promise<void> {
  await lanes.remove(id);
  quotas.forget(id);
  directory.hosts.forget(id);
  directory.damage.forget(id);
}
