/** When snapshots of a host are made, and where its replay begins. */
import type { EmittedEvent, HostSpec, Refused } from '../host/command.ts';
import type { Log } from '../log.ts';
import { damagedAll, damagedSnapshot, type StoredSnapshot } from '../store/store.ts';
import { GivenUp } from './errors.ts';
import { type Engine, type LoadedHost, type Lost, NOTHING_BEHIND, NOTHING_YET, type Rebuilding } from './replay.ts';
import { inSlices, type Pace } from './slices.ts';

/** A host of a snapshot. */
export interface Restored {
  engine: Engine;
  /** Another version of the engine has stored it. */
  upgraded: boolean;
  /** Events that it kept itself when an earlier version stored it: they are of the commands before, the oldest first. */
  legacyEvents: readonly EmittedEvent[];
}

/** In steps. Throws where the bytes are not those of a host, or where those of that engine cannot be brought to this one. */
export type RestoreHost = (bytes: Uint8Array, engine: string) => Generator<void, Restored>;

/** What may have to be replayed before a snapshot is made; a host of large snapshots waits for as much as they have. */
const MOST_COMMANDS = 10_000;
const MOST_BYTES = 16 << 20;
/** A replay may take so long, in milliseconds, or so many times as long as making a snapshot takes. */
export const MOST_MS = 250;
const TIMES_SNAPSHOT = 8;
/** A clean stop makes a snapshot of what takes longer to replay than to load. */
export const WORTH_COMMANDS = 100;
const WORTH_BYTES = 256 << 10;
const WORTH_MS = 50;

/**
 * `size`: bytes of the snapshot before; `took`: milliseconds until it was stored, infinitely many while it is at work: several of
 * them would be in memory at a time.
 */
export function isDue({ engine, behind }: LoadedHost, { size, took }: { size: number; took: number }): boolean {
  if (engine.snapshot === undefined || engine.pendingBoot || took === Number.POSITIVE_INFINITY) return false;
  const { commands, bytes, milliseconds } = behind;
  if (commands >= MOST_COMMANDS || bytes >= Math.max(MOST_BYTES, size)) return true;
  return milliseconds >= Math.max(MOST_MS, TIMES_SNAPSHOT * took);
}

export function isWorthwhile({ engine, behind }: LoadedHost): boolean {
  if (engine.snapshot === undefined || engine.pendingBoot) return false;
  const { commands, bytes, milliseconds } = behind;
  return commands >= WORTH_COMMANDS || bytes >= WORTH_BYTES || milliseconds >= WORTH_MS;
}

export interface Start extends Restored {
  /** Of the last command that it holds. */
  sequence: number;
  /** Later snapshots that could not be used, the newest first, and why. */
  unusable: { sequence: number; why: string; damaged: boolean }[];
}

/** The newest snapshot with no command behind `end` that can be used, or the spec. */
export async function startOf(
  hostId: string,
  spec: HostSpec,
  end: number,
  { store, makeHost, restoreHost, log, pace, onDamage }: Rebuilding,
): Promise<Start> {
  const unusable: Start['unusable'] = [];
  for (let before = end + 1; ; ) {
    pace.resume();
    const snapshot = await store.snapshots.before(hostId, before);
    if (snapshot === undefined) {
      return { engine: makeHost(spec), upgraded: false, legacyEvents: [], sequence: 0, unusable };
    }
    const { sequence } = snapshot;
    const restored = await restore(snapshot, restoreHost, pace);
    if (typeof restored !== 'string') return { ...restored, sequence, unusable };
    log.error({ host: hostId, sequence, why: restored }, 'a snapshot cannot be used');
    const damaged = 'damaged' in snapshot;
    if (damaged) onDamage?.({ hostId, ...damagedSnapshot(sequence, restored) });
    unusable.push({ sequence, why: restored, damaged });
    before = sequence;
  }
}

/** The host, or why not. */
async function restore(
  snapshot: StoredSnapshot,
  restoreHost: RestoreHost | undefined,
  pace: Pace,
): Promise<Restored | string> {
  if ('damaged' in snapshot) return snapshot.damaged;
  if (restoreHost === undefined) return `it is of engine ${snapshot.engine}, and this version reads no snapshots`;
  try {
    return await inSlices(restoreHost(snapshot.bytes, snapshot.engine), pace);
  } catch (error) {
    if (error instanceof GivenUp) throw error;
    return `it cannot be restored: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** Why a host cannot be built from what is kept of it, and whether that is damage: another version might read the rest. */
export function whyLost({ sequence }: LoadedHost, { unusable }: Start): Pick<Lost, 'why' | 'damage'> {
  const snapshots = unusable.map((one) => `that of command ${one.sequence}: ${one.why}`).join('; ');
  const why = `commands behind ${sequence} are no longer kept, and no snapshot can be used (${snapshots || 'there is none'})`;
  return { why, damage: unusable.every(({ damaged }) => damaged) ? damagedAll(why) : null };
}

/**
 * Stands in for a host of which too much is lost. It is not marked in the store: another version of the service may
 * be able to read what this one cannot.
 */
export function unreadable(hostId: string, { epoch, sequence, diverged, damage, why }: Lost, log: Log): LoadedHost {
  log.error({ host: hostId, why }, 'a host cannot be read');
  const answer: Refused = {
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
  const behind = { ...NOTHING_BEHIND };
  return { ...NOTHING_YET, engine, epoch, sequence, diverged, damage, unreadable: answer, behind };
}
