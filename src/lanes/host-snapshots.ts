/** Snapshots of real hosts, as bytes. */
import { deserialize, serialize } from 'node:v8';
import { Host } from '../host/host.ts';
import type { Graph } from '../host/object-graph.ts';
import { fromSnapshot, takeSnapshot } from '../host/snapshot.ts';
import type { SnapshotCodec } from './snapshots.ts';

export const HOST_SNAPSHOTS: SnapshotCodec = {
  /** To be raised when the fields of a class of host, kernel or machine change: the older bytes have the older ones. */
  version: '1',
  take(engine) {
    if (!(engine instanceof Host)) throw new Error('only hosts have snapshots');
    return serialize(takeSnapshot(engine));
  },
  restore: (bytes) => fromSnapshot(deserialize(bytes) as Graph),
};
