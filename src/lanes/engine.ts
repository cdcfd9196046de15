/** How lanes make hosts, and hosts of snapshots. */
import { deserialize, serialize } from 'node:v8';
import { Batch } from '../host/batch/batch.ts';
import { Host } from '../host/host.ts';
import type { Graph } from '../host/object-graph.ts';
import { fromSnapshot, takeSnapshot } from '../host/snapshot.ts';
import type { Engine, MakeHost } from './replay.ts';
import type { RestoreHost } from './snapshots.ts';

export const makeHost: MakeHost = (spec) => engineOf(new Host(spec));

export const restoreHost: RestoreHost = (bytes) => engineOf(fromSnapshot(deserialize(bytes) as Graph));

function engineOf(host: Host): Engine {
  return {
    execute: (command) => host.execute(command),
    batch: (command, payload) => new Batch(host, command, payload),
    query: (query) => host.query(query),
    get pendingBoot() {
      return host.pendingBoot;
    },
    snapshot: () => serialize(takeSnapshot(host)),
  };
}
