/**
 * Builds a host again from what is stored: its newest snapshot, or its spec, and then every command of its journal
 * behind it. The kernel is deterministic, so the answers are those of the first time. Where one is not (a later
 * version that behaves differently), the host is marked `diverged` and stands as it was before that command.
 */
import type {
  Answer,
  BatchCommand,
  EmittedEvent,
  Execution,
  HostSpec,
  Refused,
  RestoreCommand,
} from '../host/command.ts';
import type { HostUse } from '../host/footprint.ts';
import type { Log } from '../log.ts';
import {
  type Damage,
  type Divergence,
  damagedCommand,
  damagedDescription,
  damagedHandover,
  type FoundDamage,
  HandoverDamaged,
  type HostStore,
  lostEnd,
  type StoredCommand,
  StoreUnavailable,
} from '../store/store.ts';
import { decodeCommand } from './codec.ts';
import { digest } from './digest.ts';
import { GivenUp, HostDamaged } from './errors.ts';
import { PastEvents } from './past-events.ts';
import { Effort, inSlices, type Pace } from './slices.ts';
import { type RestoreHost, startOf, unreadable, WORTH_COMMANDS, whyLost } from './snapshots.ts';
import { type BatchRun, type Executed, type Executing, execute, workOff } from './work-off.ts';

/** What a lane needs of a host. */
export interface Engine extends Executing {
  /** Begins a batch; until it is done the host is asked for nothing else. */
  batch?(command: BatchCommand, payload: Uint8Array): BatchRun;
  /** What was emitted before the first command: the boot of a new host. */
  takeEvents?(): readonly EmittedEvent[];
  /** Frozen: the next kernel must be booted. */
  readonly pendingBoot: boolean;
  /** Why a host that begins like this must not be made; one that was made by another version is kept. */
  readonly refusal?: Answer | null;
  /** Throws InvariantBroken where something in the host does not agree with the rest of it. */
  check?(): void;
  /** All of it as bytes, in steps, between which it must be asked for nothing. Not while it is frozen. */
  snapshot?(): Generator<void, EngineSnapshot>;
  /** This host, as a named snapshot has it, takes the place of what it has become. */
  takePlaceOf?(now: Engine, command: RestoreCommand): Execution;
  /** Another one that is the same, but for what is in the memory of programs; in such steps. */
  withoutContents?(): Generator<void, Engine>;
  /** What it takes, in steps, between which it must be asked for nothing. */
  footprint?(): Generator<void, HostUse>;
  /** What it is, as SHA-256, in such steps. */
  digest?(): Generator<void, string>;
}

export interface EngineSnapshot {
  /** Version of the engine that can read it without an upgrade. */
  engine: string;
  bytes: Uint8Array;
}

export type MakeHost = (spec: HostSpec) => Engine;

/** A host in memory, with its place in the journal. */
export interface LoadedHost {
  engine: Engine;
  /** In which it is ours; null: it is not, and may only be looked at. */
  epoch: number | null;
  /** Of the last command in the journal; 0: none yet. */
  sequence: number;
  /** Sequence of the last freeze that left a handover. */
  freeze: number | null;
  diverged: Divergence | null;
  /** What of it is not what was stored: it stands as it was before, and takes no commands. */
  damage: Damage | null;
  /** The answer to everything, where too much is lost. */
  unreadable: Refused | null;
  /** What a rebuild has to replay. */
  behind: Behind;
  /** The snapshot that it was built from, by its last command, until a command is executed; null: there was none. */
  snapshot: number | null;
  /** What it was behind a command, if anybody has asked. */
  digest?: { sequence: number; value: string };
}

/** Commands, their bytes, and the milliseconds that they took. */
export interface Behind {
  commands: number;
  bytes: number;
  milliseconds: number;
}

export const NOTHING_BEHIND: Readonly<Behind> = { commands: 0, bytes: 0, milliseconds: 0 };

/** What a host begins with, wherever it comes from. */
export const NOTHING_YET = { freeze: null, damage: null, unreadable: null, snapshot: null };

export interface Rebuilding {
  store: HostStore;
  makeHost: MakeHost;
  restoreHost?: RestoreHost;
  log: Log;
  /** Lets others have their turns. Throws GivenUp where the host is not wanted any more. */
  pace: Pace;
  /** Hears of what is damaged, also where something else stands in for it. */
  onDamage?: (damage: FoundDamage) => void;
}

/**
 * Undefined where no such host is stored; `epoch` is the one in which it is the caller's. Throws StoreUnavailable, and
 * what `makeHost` throws.
 */
export async function rebuild(hostId: string, epoch: number | null, from: Rebuilding): Promise<LoadedHost | undefined> {
  const { store, log } = from;
  const built = await build(hostId, epoch, from, {});
  if (built === undefined) return undefined;
  if ('why' in built) return unreadable(hostId, built, log);
  const { host, difference } = built;
  if (difference === null) return host;
  if (host.snapshot !== null) {
    log.error({ host: hostId, sequence: host.snapshot, difference }, 'a host differs behind a snapshot');
    const other = await rebuildWithout(hostId, epoch, from, host.snapshot);
    if (other !== null) return other;
  }
  if (epoch === null) throw new StoreUnavailable(`host ${hostId} diverges, and nothing can be stored`);
  await store.hosts.markDiverged({ hostId, epoch }, difference);
  log.error({ host: hostId, diverged: difference }, 'host diverged at replay');
  return await rebuild(hostId, epoch, from);
}

/**
 * The host without the snapshot of that command: from its journal alone, as what made the one may have made the other,
 * or else from the snapshot before. Null where that cannot be, or differs.
 */
export async function rebuildWithout(
  hostId: string,
  epoch: number | null,
  from: Rebuilding,
  snapshot: number,
): Promise<LoadedHost | null> {
  for (const last of [0, snapshot - 1]) {
    const built = await build(hostId, epoch, from, { last, known: snapshot });
    if (built === undefined || 'why' in built || built.difference !== null) continue;
    if (built.host.damage === null) return built.host;
  }
  return null;
}

/** What could be built, up to the first difference; or why it cannot be built from what is kept. */
type Built = { host: LoadedHost; difference: Divergence | null } | Lost;
export type Lost = Pick<LoadedHost, 'epoch' | 'sequence' | 'diverged' | 'damage'> & { why: string };

/** The host as it was behind that command; nobody's. `last`: the last one that it has executed. Or what there is not. */
export async function rebuildAt(
  hostId: string,
  sequence: number,
  last: number,
  from: Rebuilding,
): Promise<LoadedHost | string> {
  if (sequence > last) return `command ${sequence}: the last one is ${last}`;
  const built = await build(hostId, null, from, { until: sequence });
  const why = whyNot(built);
  return why === null ? (built as { host: LoadedHost }).host : `state behind command ${sequence} any more: ${why}`;
}

function whyNot(built: Built | undefined): string | null {
  if (built === undefined) return 'the host is gone';
  if ('why' in built) return built.why;
  const { host, difference } = built;
  if (difference === null) return host.damage?.what ?? null;
  return `command ${difference.sequence} has another answer in this version: ${difference.why}`;
}

/** All commands of the host, or less. */
interface Range {
  /** The last command that a snapshot may hold from which it begins. */
  last?: number;
  /** A command that the host is known to have reached. */
  known?: number;
  /** The last one that is replayed. */
  until?: number;
}

/** From the newest snapshot that may be taken, if there is one. */
async function build(
  hostId: string,
  epoch: number | null,
  from: Rebuilding,
  { last = Number.MAX_SAFE_INTEGER, known = 0, until = Number.MAX_SAFE_INTEGER }: Range,
): Promise<Built | undefined> {
  const { store } = from;
  const effort = new Effort(from.pace, () => {});
  const origin = await store.hosts.origin(hostId);
  if (origin === undefined) return undefined;
  const { diverged } = origin;
  if ('damaged' in origin) {
    const why = origin.damaged;
    return { epoch, sequence: 0, diverged, damage: told(hostId, damagedDescription(why), from), why };
  }
  const end = Math.min(until, diverged === null ? until : diverged.sequence - 1);
  const start = await startOf(hostId, origin.spec, Math.min(end, last), from);
  const { engine, sequence, upgraded, legacyEvents } = start;
  // A stop makes a snapshot of what had to be brought to this version, so that this is done once.
  const behind = { ...NOTHING_BEHIND, commands: upgraded ? WORTH_COMMANDS : 0 };
  const host: LoadedHost = { ...NOTHING_YET, engine, epoch, sequence, diverged, behind };
  const lost = (): Lost => {
    const { why, damage } = whyLost(host, start);
    return { epoch, sequence: host.sequence, diverged, damage: damage && told(hostId, damage, from), why };
  };
  const snapshot = sequence === 0 ? null : sequence;
  const before = [...legacyEvents, ...(engine.takeEvents?.() ?? [])];
  const past = epoch === null ? null : await PastEvents.begin(store, { hostId, epoch }, before);
  while (host.damage === null) {
    const read = await store.journal.read(hostId, host.sequence);
    const commands = read.filter((command) => command.sequence <= end);
    if (commands.length === 0) break;
    for (const command of commands) {
      const isNext = command.sequence === host.sequence + 1;
      if (!isNext && host.sequence === 0) return lost();
      const found = isNext ? await replayOne(hostId, host, command, from, effort, past) : GONE;
      if (effort.isOver) await effort.pause();
      effort.resume();
      if (found === null) continue;
      if ('differs' in found) {
        const difference = { sequence: command.sequence, op: opOf(command), why: found.differs };
        return { host: { ...host, snapshot }, difference };
      }
      const damage = found.handover ? damagedHandover(found.damaged) : damagedCommand(host.sequence + 1, found.damaged);
      host.damage = damage;
      break;
    }
    await past?.flush();
  }
  host.snapshot = snapshot;
  // A snapshot that is passed over says how far the host has been, and so does the store.
  const reached = diverged === null ? await store.hosts.end(hostId) : 0;
  const stored = Math.min(until, Math.max(start.unusable[0]?.sequence ?? 0, known, reached));
  if (host.damage === null && host.sequence < stored) {
    if (host.sequence === 0) return lost();
    host.damage = lostEnd(host.sequence, stored);
  }
  if (host.damage !== null) told(hostId, host.damage, from);
  await past?.end();
  return { host, difference: null };
}

/** The damage, of which somebody has been told. */
function told(hostId: string, damage: Damage, { log, onDamage }: Pick<Rebuilding, 'log' | 'onDamage'>): Damage {
  log.error({ host: hostId, damage }, 'a host is damaged');
  onDamage?.({ ...damage, hostId });
  return damage;
}

/** What became of one command of the journal, if it was not done again. */
type Flaw = { differs: string } | { damaged: string; handover?: true };

const GONE: Flaw = { damaged: 'it is gone' };

async function replayOne(
  hostId: string,
  host: LoadedHost,
  stored: StoredCommand,
  from: Rebuilding,
  effort: Effort,
  past: PastEvents | null,
): Promise<Flaw | null> {
  if (stored.damaged !== undefined) return { damaged: stored.damaged };
  const { worked } = effort;
  let execution: Executed;
  try {
    execution = await executeStored(hostId, host, stored, from, effort);
    if (execution.digest !== stored.digest) return { differs: 'its answer is not the one given the first time' };
  } catch (error) {
    if (error instanceof StoreUnavailable || error instanceof GivenUp) throw error;
    if (error instanceof HandoverDamaged) return { damaged: error.message, handover: true };
    return { differs: `it fails inside: ${error instanceof Error ? error.message : String(error)}` };
  }
  noteStored(host, stored.command.length + (stored.payload?.byteLength ?? 0), effort.worked - worked, execution);
  past?.add(host.sequence, execution.events);
  return null;
}

/**
 * Does a command of the journal again; what it gives is what it gave the first time, of a batch what that was kept by, unless it is to
 * be `asAnswered`.
 */
export async function executeStored(
  hostId: string,
  host: LoadedHost,
  stored: StoredCommand,
  { store, restoreHost }: Rebuilding,
  effort: Effort,
  asAnswered = false,
): Promise<Executed> {
  const command = await decodeCommand(stored.command, async (freeze) => {
    return (await store.journal.handover(hostId, freeze)).text;
  });
  if (command.op === 'batch') return await replayBatch(host, command, effort, stored.payload, asAnswered);
  if (command.op === 'restore') {
    const { engine } = await inSlices(restoreHost!(stored.payload!, command.engine), effort);
    return putBack(host, engine, command);
  }
  return await execute(host.engine, command, effort);
}

/** From now on the host is `engine`, which is what it was when that snapshot was taken. */
export function putBack(host: LoadedHost, engine: Engine, command: RestoreCommand): Executed {
  const execution = engine.takePlaceOf!(host.engine, command);
  host.engine = engine;
  return { ...execution, digest: digest(execution.answer) };
}

async function replayBatch(
  host: LoadedHost,
  command: BatchCommand,
  pace: Pace,
  payload: Uint8Array | undefined,
  asAnswered: boolean,
): Promise<Executed> {
  const run = host.engine.batch!(asAnswered ? command : { ...command, results: false }, payload ?? new Uint8Array());
  const { answer, stored } = await workOff(run, pace);
  const proof = stored?.proof ?? answer;
  const given = asAnswered ? answer : proof;
  return { answer: given, records: [], events: stored?.events ?? [], digest: digest(proof, payload) };
}

/**
 * The host has executed one more command, which is in the journal, or on its way there; it took so many bytes there, and
 * milliseconds of work.
 */
export function noteStored(
  host: LoadedHost,
  bytes: number,
  milliseconds: number,
  { records }: Pick<Execution, 'records'>,
): void {
  host.sequence += 1;
  host.behind.commands += 1;
  host.behind.bytes += bytes;
  host.behind.milliseconds += milliseconds;
  host.snapshot = null;
  if (records.some((record) => record.kind === 'handover')) host.freeze = host.sequence;
}

/** What the freeze of that sequence has left for the next kernel. Throws HostDamaged where that is not what was stored. */
export async function handoverOf(
  hostId: string,
  host: LoadedHost,
  freeze: number,
  { store, log, onDamage }: Pick<Rebuilding, 'store' | 'log' | 'onDamage'>,
): Promise<string | null> {
  try {
    return (await store.journal.handover(hostId, freeze)).text;
  } catch (error) {
    if (!(error instanceof HandoverDamaged)) throw error;
    host.damage = told(hostId, damagedHandover(error.message), { log, ...(onDamage && { onDamage }) });
    throw new HostDamaged(host.damage.what);
  }
}

/** SHA-256 of the host as it is; undefined for one that has none. It must be asked for nothing meanwhile. */
async function digestOfLoaded(host: LoadedHost, pace: Pace): Promise<string | undefined> {
  const digesting = host.engine.digest?.();
  if (digesting === undefined) return undefined;
  if (host.digest?.sequence !== host.sequence)
    host.digest = { sequence: host.sequence, value: await inSlices(digesting, pace) };
  return host.digest.value;
}

/** The view of a host, with what it is as SHA-256, and what of it is damaged. */
export async function withDigest(answer: Answer, host: LoadedHost, pace: Pace): Promise<Answer> {
  if (answer.kind !== 'ok') return answer;
  const digest = await digestOfLoaded(host, pace);
  return { ...answer, value: { ...(answer.value as object), digest, damage: host.damage ?? undefined } };
}

function opOf({ command }: StoredCommand): string {
  try {
    return (JSON.parse(command) as { op: string }).op;
  } catch {
    return 'unknown';
  }
}
