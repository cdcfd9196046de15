/** The ways in which the store fails: each an error of its own, so that callers can tell them apart. */

/** Nothing was stored, or nothing could be read: the disk is full, gone or locked. Trying again later may help. */
export class StoreUnavailable extends Error {
  override readonly name: string = 'StoreUnavailable';
}

/** There is no room for what was to be stored. */
export class StoreFull extends StoreUnavailable {
  override readonly name = 'StoreFull';
}

/** A tenant of that name, or with that key, is there already. */
export class TenantExists extends Error {
  override readonly name = 'TenantExists';
}

/** A handover record that is missing or not what was written. Trying again does not help. */
export class HandoverDamaged extends Error {
  override readonly name = 'HandoverDamaged';
}

export function unavailable(what: string, cause: unknown): StoreUnavailable {
  const kind = (cause as { code?: string } | undefined)?.code === 'SQLITE_FULL' ? StoreFull : StoreUnavailable;
  return new kind(`${what}: ${reason(cause)}`, { cause });
}

export function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
