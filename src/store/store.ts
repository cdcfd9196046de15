/**
 * What outlives the process: tenants, hosts, their journals, handovers and snapshots, in SQLite. Whatever writes is
 * asynchronous and goes to one writer, which may be in another thread; reads are synchronous, on a connection of
 * whoever reads.
 */
import { openCheck } from './sqlite/check.ts';
import { connectForReading, type Durability, openDatabase } from './sqlite/database.ts';
import { type Hosts, openHosts } from './sqlite/hosts.ts';
import { type Journal, openJournal } from './sqlite/journal.ts';
import { openSnapshots, type Snapshots } from './sqlite/snapshots.ts';
import { openTenants, type Tenants } from './sqlite/tenants.ts';
import { GroupWriter } from './sqlite/writer.ts';
import type { Writer } from './sqlite/writes.ts';

export * from './errors.ts';
export { hashKey, newKey } from './keys.ts';
export type * from './rows.ts';
export type { Durability } from './sqlite/database.ts';
export type { Hosts } from './sqlite/hosts.ts';
export type { Journal, StoredCommand } from './sqlite/journal.ts';
export type { Snapshot, Snapshots, StoredSnapshot } from './sqlite/snapshots.ts';
export type { Tenants } from './sqlite/tenants.ts';

/** What hosts are run with. */
export interface HostStore {
  hosts: Hosts;
  journal: Journal;
  snapshots: Snapshots;
}

export interface Store extends HostStore {
  tenants: Tenants;
  directory: string;
  durability: Durability;
  /** Migrations applied when it was opened. */
  applied: string[];
  /** Leaves word for a second service, which cannot have the directory, where this one serves. */
  announce(address: string): void;
  /** From now on another one writes, and this connection only reads; null: it writes itself again. */
  writeBy(writer: Writer | null): void;
  /** Rejects with StoreUnavailable where the database does not answer, or nothing can be stored. */
  check(): Promise<void>;
  close(): void;
}

export interface StoreOptions {
  /** The data directory; made where it is not there. */
  directory: string;
  durability?: Durability;
}

/** Opens the data directory and brings its schema up to date. Throws StoreUnavailable, saying why. */
export function openStore({ directory, durability = 'process' }: StoreOptions): Store {
  const { database, applied, announce, close } = openDatabase(directory, durability);
  const own = new GroupWriter(database);
  let writer: Writer = own;
  const pen: Writer = { write: (write) => writer.write(write) };
  return {
    tenants: openTenants(database, pen),
    hosts: openHosts(database, pen),
    journal: openJournal(database, pen),
    snapshots: openSnapshots(database, pen),
    directory,
    durability,
    applied,
    announce,
    writeBy(another) {
      writer = another ?? own;
      database.pragma(`query_only = ${another === null ? 'OFF' : 'ON'}`);
    },
    check: openCheck(database, pen),
    close() {
      own.flush();
      close();
    },
  };
}

/** The store as a lane sees it: it reads by itself and writes by `writer`. The directory is open already. */
export function openHostStore(directory: string, writer: Writer): HostStore & { close(): void } {
  const database = connectForReading(directory);
  return {
    hosts: openHosts(database, writer),
    journal: openJournal(database, writer),
    snapshots: openSnapshots(database, writer),
    close: () => database.close(),
  };
}
