/**
 * Builds a host again from what is stored: its spec, then every command of its journal. The kernel is deterministic,
 * so the answers are those of the first time. Where one is not (a later version that behaves differently), the host
 * is marked `diverged` and stands as it was before that command.
 */
import { setImmediate } from 'node:timers/promises';
import type { Answer, Command, Execution, HostSpec, Query } from '../host/command.ts';
import type { Log } from '../log.ts';
import { type Divergence, HandoverDamaged, type Store, type StoredCommand, StoreUnavailable } from '../store/store.ts';
import { decodeCommand } from './codec.ts';
import { digest } from './digest.ts';

/** What a lane needs of a host. */
export interface Engine {
  execute(command: Command): Execution;
  query(query: Query): Answer;
  /** Frozen: the next kernel must be booted. */
  readonly pendingBoot: boolean;
}

export type MakeHost = (spec: HostSpec) => Engine;

/** A host in memory, with its place in the journal. */
export interface LoadedHost {
  engine: Engine;
  /** Of the last command in the journal; 0: none yet. */
  sequence: number;
  /** Sequence of the last freeze that left a handover. */
  freeze: number | null;
  diverged: Divergence | null;
}

export interface Rebuilding {
  store: Store;
  makeHost: MakeHost;
  log: Log;
}

/** Undefined where no such host is stored. Throws StoreUnavailable, and what `makeHost` throws. */
export async function rebuild(hostId: string, from: Rebuilding): Promise<LoadedHost | undefined> {
  const { store, makeHost, log } = from;
  const stored = store.hosts.get(hostId);
  const spec = store.hosts.spec(hostId);
  if (stored === undefined || spec === undefined) return undefined;
  const host: LoadedHost = { engine: makeHost(spec), sequence: 0, freeze: null, diverged: stored.diverged };
  const end = stored.diverged === null ? Number.POSITIVE_INFINITY : stored.diverged.sequence - 1;
  for (;;) {
    const commands = store.journal.read(hostId, host.sequence).filter((command) => command.sequence <= end);
    if (commands.length === 0) return host;
    for (const command of commands) {
      const why = replayOne(hostId, host, command, store);
      if (why === null) continue;
      const diverged: Divergence = { sequence: command.sequence, op: opOf(command), why };
      await store.hosts.markDiverged(hostId, diverged);
      log.error({ host: hostId, diverged }, 'host diverged at replay');
      return await rebuild(hostId, from);
    }
    await setImmediate();
  }
}

/** What differs, or null. */
function replayOne(hostId: string, host: LoadedHost, stored: StoredCommand, store: Store): string | null {
  let execution: Execution;
  try {
    const command = decodeCommand(stored.command, (freeze) => store.journal.handover(hostId, freeze).text);
    execution = host.engine.execute(command);
  } catch (error) {
    if (error instanceof StoreUnavailable) throw error;
    if (error instanceof HandoverDamaged) return error.message;
    return `it fails inside: ${error instanceof Error ? error.message : String(error)}`;
  }
  if (digest(execution.answer) !== stored.digest) return 'its answer is not the one given the first time';
  host.sequence = stored.sequence;
  if (execution.records.some((record) => record.kind === 'handover')) host.freeze = stored.sequence;
  return null;
}

function opOf(command: StoredCommand): string {
  return (JSON.parse(command.command) as { op: string }).op;
}
