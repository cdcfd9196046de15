/** When snapshots of a host are made, and where its replay begins. */
import type { Answer, HostSpec } from '../host/command.ts';
import type { Log } from '../log.ts';
import type { StoredSnapshot } from '../store/store.ts';
import type { Engine, LoadedHost, Rebuilding } from './replay.ts';

/** Hosts as bytes. */
export interface SnapshotCodec {
  /** Says what the bytes mean: those of another version are not restored. */
  readonly version: string;
  /** Not of a frozen host. */
  take(engine: Engine): Uint8Array;
  /** Throws where the bytes are not those of a host. */
  restore(bytes: Uint8Array): Engine;
}

/** What may have to be replayed before a snapshot is made; a host of large snapshots waits for as much as they have. */
const MOST_COMMANDS = 10_000;
const MOST_BYTES = 16 << 20;
/** A clean stop makes a snapshot of what takes longer to replay than to load. */
const WORTH_COMMANDS = 100;
const WORTH_BYTES = 256 << 10;

/** `size`: bytes of the snapshot before. */
export function isDue({ engine, behind }: LoadedHost, size: number): boolean {
  if (engine.pendingBoot) return false;
  return behind.commands >= MOST_COMMANDS || behind.bytes >= Math.max(MOST_BYTES, size);
}

export function isWorthwhile({ engine, behind }: LoadedHost): boolean {
  if (engine.pendingBoot) return false;
  return behind.commands >= WORTH_COMMANDS || behind.bytes >= WORTH_BYTES;
}

export interface Start {
  engine: Engine;
  /** Of the last command that it holds. */
  sequence: number;
  /** Later snapshots that could not be used, the newest first, and why. */
  unusable: { sequence: number; why: string }[];
}

/** The newest snapshot up to `end` that can be used, or the spec. */
export function startOf(hostId: string, spec: HostSpec, end: number, from: Rebuilding): Start {
  const { store, makeHost, snapshots, log } = from;
  const unusable: Start['unusable'] = [];
  for (let before = end + 1; ; ) {
    const snapshot = store.snapshots.before(hostId, before);
    if (snapshot === undefined) return { engine: makeHost(spec), sequence: 0, unusable };
    const { sequence } = snapshot;
    const engine = restore(snapshot, snapshots);
    if (typeof engine !== 'string') return { engine, sequence, unusable };
    log.error({ host: hostId, sequence, why: engine }, 'a snapshot cannot be used');
    unusable.push({ sequence, why: engine });
    before = sequence;
  }
}

/** The host, or why not. */
function restore(snapshot: StoredSnapshot, codec: SnapshotCodec | undefined): Engine | string {
  if ('damaged' in snapshot) return snapshot.damaged;
  if (snapshot.engine !== codec?.version) {
    return `it is of engine ${snapshot.engine}, this is engine ${codec?.version ?? 'none'}`;
  }
  try {
    return codec.restore(snapshot.bytes);
  } catch (error) {
    return `it cannot be restored: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/**
 * Stands in for a host of which too much is lost. It is not marked in the store: another version of the service may
 * be able to read what this one cannot.
 */
export function unreadable(hostId: string, host: LoadedHost, { unusable }: Start, log: Log): LoadedHost {
  const snapshots = unusable.map(({ sequence, why }) => `that of command ${sequence}: ${why}`).join('; ');
  const why = `commands behind ${host.sequence} are no longer kept, and no snapshot can be used (${snapshots || 'there is none'})`;
  log.error({ host: hostId, why }, 'a host cannot be read');
  const answer: Answer = {
    kind: 'refused',
    errno: 'EIO',
    where: 'replay',
    why: `this host cannot be read: ${why}; it can be deleted`,
  };
  const engine: Engine = { pendingBoot: false, query: () => answer, execute: () => ({ answer, records: [] }) };
  return { ...host, engine, unreadable: answer };
}
