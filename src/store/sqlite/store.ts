/** SQLite as a store: one database in a data directory, one connection that writes, any number that read. */
import { DamageBook, type Store } from '../store.ts';
import { Changes } from './changes.ts';
import { openCheck } from './check.ts';
import { Checkpoints } from './checkpoints.ts';
import { cannotOpen, type Durability, type OpenDatabase, openDatabase } from './database.ts';
import { openEvents } from './events.ts';
import { openHosts } from './hosts.ts';
import { Inspector } from './inspector.ts';
import { openJournal } from './journal.ts';
import { type SqliteShare, share } from './sharing.ts';
import { openSnapshots } from './snapshots.ts';
import { openTenants } from './tenants.ts';
import { GroupWriter } from './writer.ts';
import type { Writer } from './writes.ts';

export interface SqliteStore extends Store {
  directory: string;
  /** Migrations applied when it was opened. */
  applied: string[];
  /** Leaves word for a second service, which cannot have the directory, where this one serves. */
  announce(address: string): void;
  /** From now on another one writes, and this connection only reads; null: it writes itself again. */
  writeBy(writer: Writer | null): void;
  /** For tests: ends the thread that writes, if it is one of its own, in the middle of whatever it does. */
  killWriter(): Promise<void>;
}

export interface StoreOptions {
  /** The data directory; made where it is not there. */
  directory: string;
  durability?: Durability;
}

/** Opens the data directory and brings its schema up to date. Throws StoreUnavailable, saying why. */
export function openStore({ directory, durability = 'process' }: StoreOptions): SqliteStore {
  const opened = openDatabase(directory, durability);
  try {
    return storeOf(opened, directory, durability);
  } catch (error) {
    opened.close();
    throw cannotOpen(directory, error);
  }
}

function storeOf(opened: OpenDatabase, directory: string, durability: Durability): SqliteStore {
  const { database, applied, announce, close } = opened;
  const own = new GroupWriter(database);
  let writer: Writer = own;
  const changes = new Changes();
  const damage = new DamageBook();
  const inspector = new Inspector(directory);
  const checkpoints = new Checkpoints(directory);
  let shared: SqliteShare | undefined;
  const pen: Writer = { write: (write) => writer.write(write) };
  const writeBy = (another: Writer | null): void => {
    own.rest();
    writer = another ?? own;
    database.pragma(`query_only = ${another === null ? 'OFF' : 'ON'}`);
  };
  return {
    tenants: openTenants(database, pen, changes),
    hosts: openHosts(database, pen, changes),
    journal: openJournal(database, pen),
    events: openEvents(database, pen),
    snapshots: openSnapshots(database, pen),
    directory,
    applied,
    announce,
    writeBy,
    damage,
    async inspect(tell) {
      await inspector.inspect(tell);
      damage.noteInspected();
    },
    check: openCheck(database, pen),
    share(threads, onLost) {
      shared = share({ directory, durability, threads, changes, onLost, writeBy });
      return shared;
    },
    async killWriter() {
      await shared?.killWriter();
    },
    async close() {
      if (inspector.isAtWork) await inspector.close();
      const closing = checkpoints.close();
      if (closing !== undefined) await closing;
      own.rest();
      close();
    },
  };
}
