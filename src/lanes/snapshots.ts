/** When snapshots of a host are made, and where its replay begins. */
import type { Answer, EmittedEvent, HostSpec } from '../host/command.ts';
import type { Log } from '../log.ts';
import type { StoredSnapshot } from '../store/store.ts';
import type { Engine, LoadedHost, Rebuilding } from './replay.ts';

/**
 * Says what snapshots mean. To be raised when the fields of a class of host, kernel or machine change: older
 * snapshots have the older ones, and are not used.
 */
export const ENGINE = '6';

/** Throws where the bytes are not those of a host. */
export type RestoreHost = (bytes: Uint8Array) => Engine;

/** What may have to be replayed before a snapshot is made; a host of large snapshots waits for as much as they have. */
const MOST_COMMANDS = 10_000;
const MOST_BYTES = 16 << 20;
/** A clean stop makes a snapshot of what takes longer to replay than to load. */
const WORTH_COMMANDS = 100;
const WORTH_BYTES = 256 << 10;

/** `size`: bytes of the snapshot before. */
export function isDue({ engine, behind }: LoadedHost, size: number): boolean {
  if (engine.snapshot === undefined || engine.pendingBoot) return false;
  return behind.commands >= MOST_COMMANDS || behind.bytes >= Math.max(MOST_BYTES, size);
}

export function isWorthwhile({ engine, behind }: LoadedHost): boolean {
  if (engine.snapshot === undefined || engine.pendingBoot) return false;
  return behind.commands >= WORTH_COMMANDS || behind.bytes >= WORTH_BYTES;
}

export interface Start {
  engine: Engine;
  /** Of the last command that it holds. */
  sequence: number;
  /** Later snapshots that could not be used, the newest first, and why. */
  unusable: { sequence: number; why: string }[];
  /** Of a snapshot that an earlier version has made, when events were part of hosts: those that it has kept. */
  legacyEvents?: readonly EmittedEvent[];
}

/** The newest snapshot up to `end` that can be used, or the spec. */
export async function startOf(hostId: string, spec: HostSpec, end: number, from: Rebuilding): Promise<Start> {
  const { store, makeHost, restoreHost, log } = from;
  const unusable: Start['unusable'] = [];
  for (let before = end + 1; ; ) {
    const snapshot = await store.snapshots.before(hostId, before);
    if (snapshot === undefined) return { engine: makeHost(spec), sequence: 0, unusable };
    const { sequence } = snapshot;
    const engine = restore(snapshot, restoreHost);
    if (typeof engine !== 'string') return { engine, sequence, unusable };
    log.error({ host: hostId, sequence, why: engine }, 'a snapshot cannot be used');
    unusable.push({ sequence, why: engine });
    before = sequence;
  }
}

/** The host, or why not. */
function restore(snapshot: StoredSnapshot, restoreHost: RestoreHost | undefined): Engine | string {
  if ('damaged' in snapshot) return snapshot.damaged;
  if (snapshot.engine !== ENGINE || restoreHost === undefined) {
    return `it is of engine ${snapshot.engine}, this is engine ${ENGINE}`;
  }
  try {
    return restoreHost(snapshot.bytes);
  } catch (error) {
    return `it cannot be restored: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** Why a host cannot be built from what is kept of it. */
export function lost({ sequence }: LoadedHost, { unusable }: Start): string {
  const snapshots = unusable.map((one) => `that of command ${one.sequence}: ${one.why}`).join('; ');
  return `commands behind ${sequence} are no longer kept, and no snapshot can be used (${snapshots || 'there is none'})`;
}

/**
 * Stands in for a host of which too much is lost. It is not marked in the store: another version of the service may
 * be able to read what this one cannot.
 */
export function unreadable(
  hostId: string,
  { epoch, sequence, diverged }: Pick<LoadedHost, 'epoch' | 'sequence' | 'diverged'>,
  why: string,
  log: Log,
): LoadedHost {
  log.error({ host: hostId, why }, 'a host cannot be read');
  const answer: Answer = {
    kind: 'refused',
    errno: 'EIO',
    where: 'replay',
    why: `this host cannot be read: ${why}; it can be deleted`,
  };
  const engine: Engine = {
    pendingBoot: false,
    query: () => answer,
    execute: () => ({ answer, records: [], events: [] }),
  };
  const behind = { commands: 0, bytes: 0 };
  return { engine, epoch, sequence, freeze: null, diverged, unreadable: answer, behind };
}
