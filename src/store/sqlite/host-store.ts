/** The store as one thread sees it: it reads by itself and writes by `writer`. The directory is open already. */
import type { ThreadStore } from '../store.ts';
import type { Changes } from './changes.ts';
import { openCheck } from './check.ts';
import { connectForReading } from './database.ts';
import { openEvents } from './events.ts';
import { openHosts } from './hosts.ts';
import { openJournal } from './journal.ts';
import { openSnapshots } from './snapshots.ts';
import { openTenants } from './tenants.ts';
import type { Writer } from './writes.ts';

export function openHostStore(directory: string, writer: Writer, changes?: Changes): ThreadStore {
  const database = connectForReading(directory);
  return {
    tenants: openTenants(database, writer, changes),
    check: openCheck(database, writer),
    hosts: openHosts(database, writer, changes),
    journal: openJournal(database, writer),
    events: openEvents(database, writer),
    snapshots: openSnapshots(database, writer),
    async close() {
      database.close();
    },
  };
}
