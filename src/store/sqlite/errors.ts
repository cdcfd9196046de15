/** What SQLite says as an error of the contract. */
import { StoreFull, StoreUnavailable } from '../errors.ts';

export function unavailable(what: string, cause: unknown): StoreUnavailable {
  const kind = (cause as { code?: string } | undefined)?.code === 'SQLITE_FULL' ? StoreFull : StoreUnavailable;
  return new kind(`${what}: ${reason(cause)}`, { cause });
}

export function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
