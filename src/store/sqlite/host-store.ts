/** The store as one thread sees it: it reads by itself and writes by `writer`. The directory is open already. */
import type { HostStore } from '../store.ts';
import { connectForReading } from './database.ts';
import { openEvents } from './events.ts';
import { openHosts } from './hosts.ts';
import { openJournal } from './journal.ts';
import { openSnapshots } from './snapshots.ts';
import type { Writer } from './writes.ts';

export function openHostStore(directory: string, writer: Writer): HostStore {
  const database = connectForReading(directory);
  return {
    hosts: openHosts(database, writer),
    journal: openJournal(database, writer),
    events: openEvents(database, writer),
    snapshots: openSnapshots(database, writer),
    async close() {
      database.close();
    },
  };
}
