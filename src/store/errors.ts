/** The ways in which a store fails: each an error of its own, so that callers can tell them apart. */
import type { SentError } from '../threads/errors.ts';

/** Nothing was stored, or nothing could be read: the disk is full, gone or locked. Trying again later may help. */
export class StoreUnavailable extends Error {
  override readonly name: string = 'StoreUnavailable';
}

/** There is no room for what was to be stored. */
export class StoreFull extends StoreUnavailable {
  override readonly name = 'StoreFull';
}

/** What is stored is not what was stored. Trying again does not help; the message says what to do. */
export class StoreDamaged extends StoreUnavailable {
  override readonly name = 'StoreDamaged';
}

/** The host has another owner by now, or is gone: nothing was stored, and what is in memory of it may be out of date. */
export class OwnerPassed extends Error {
  override readonly name = 'OwnerPassed';
}

/** A tenant of that name, or with that key, is there already. */
export class TenantExists extends Error {
  override readonly name = 'TenantExists';
}

/** The tenant has a key of that name already. */
export class KeyExists extends Error {
  override readonly name = 'KeyExists';
}

/** A handover record that is missing or not what was written. Trying again does not help. */
export class HandoverDamaged extends Error {
  override readonly name = 'HandoverDamaged';
}

/** Those with which a write rejects, as they arrive from another thread. */
export function makeStoreError({ name, message }: SentError): Error | undefined {
  switch (name) {
    case 'StoreUnavailable':
      return new StoreUnavailable(message);
    case 'StoreFull':
      return new StoreFull(message);
    case 'StoreDamaged':
      return new StoreDamaged(message);
    case 'OwnerPassed':
      return new OwnerPassed(message);
    case 'TenantExists':
      return new TenantExists(message);
    case 'KeyExists':
      return new KeyExists(message);
    default:
      return undefined;
  }
}
