/**
 * What outlives the process: tenants, hosts, their journals and handovers, in SQLite. One connection writes. Whatever
 * commits is asynchronous, so that many commits can become one behind this interface; reads are synchronous.
 */
import { type Durability, openDatabase } from './database.ts';
import { unavailable } from './errors.ts';
import { type Hosts, openHosts } from './hosts.ts';
import { type Journal, openJournal } from './journal.ts';
import { openTenants, type Tenants } from './tenants.ts';

export type { Durability } from './database.ts';
export * from './errors.ts';
export type { Hosts } from './hosts.ts';
export type { Journal, StoredCommand } from './journal.ts';
export { hashKey, newKey } from './keys.ts';
export type * from './rows.ts';
export type { Tenants } from './tenants.ts';

export interface Store {
  tenants: Tenants;
  hosts: Hosts;
  journal: Journal;
  /** Migrations applied when it was opened. */
  applied: string[];
  /** Throws StoreUnavailable where the database does not answer. */
  check(): void;
  close(): void;
}

export interface StoreOptions {
  /** The data directory; made where it is not there. */
  directory: string;
  durability?: Durability;
}

/** Opens the data directory and brings its schema up to date. Throws StoreUnavailable, saying why. */
export function openStore({ directory, durability = 'process' }: StoreOptions): Store {
  const { database, applied, close } = openDatabase(directory, durability);
  const probe = database.prepare('SELECT count(*) FROM migrations').pluck();
  return {
    tenants: openTenants(database),
    hosts: openHosts(database),
    journal: openJournal(database),
    applied,
    check() {
      try {
        probe.get();
      } catch (error) {
        throw unavailable('the database does not answer', error);
      }
    },
    close,
  };
}
