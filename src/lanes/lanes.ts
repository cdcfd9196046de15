/**
 * What runs hosts. Everything above hands in commands and queries and waits for answers; where and by how many
 * threads they are run, and how commits are put together, stays behind this interface.
 */
import type { Answer, Command, Query } from '../host/command.ts';
import { Host } from '../host/host.ts';
import type { Log } from '../log.ts';
import type { HostRow, Store } from '../store/store.ts';
import { Lane } from './lane.ts';
import type { MakeHost } from './replay.ts';

export type { HostRow } from '../store/store.ts';
export { HostFault } from './errors.ts';

/**
 * Rejected promises: HostFault for a bug of ours, StoreUnavailable where nothing could be stored. In both cases the
 * command has not happened. A host that is not stored answers `not-found`.
 */
export interface Lanes {
  /** Builds the host and stores it; the value is its HostView. */
  create(row: HostRow): Promise<Answer>;
  /** Runs a command after those asked before, stores it, and only then answers. A kexec ends with the boot. */
  execute(hostId: string, command: Command): Promise<Answer>;
  query(hostId: string, query: Query): Promise<Answer>;
  /** Deletes the host and all that is stored of it. */
  remove(hostId: string): Promise<void>;
  /** At start: boots the next kernel of hosts that were killed between freeze and boot. */
  recover(): Promise<void>;
  /** Resolves when everything asked before is done. */
  close(): Promise<void>;
}

export interface LanesOptions {
  store: Store;
  log?: Log;
  /** Whether the fault point `service.death` may be armed, and kills. Default: no. */
  allowServiceDeath?: boolean;
  makeHost?: MakeHost;
  die?: () => Promise<never>;
}

const SILENT: Log = { info() {}, warn() {}, error() {} };

export function createLanes(options: LanesOptions): Lanes {
  return new Lane({
    log: SILENT,
    allowServiceDeath: false,
    makeHost: (spec) => new Host(spec),
    die: killProcess,
    ...options,
  });
}

/** Ends the process as `kill -9` does: nothing is written, closed or answered after it. */
function killProcess(): Promise<never> {
  process.kill(process.pid, 'SIGKILL');
  return new Promise(() => {});
}
