/**
 * What runs hosts. Everything above hands in commands and queries and waits for answers; where and by how many
 * threads they are run, and how commits are put together, stays behind this interface.
 */

import type { Answer, BatchCommand, Command, HostSpec, Query } from '../host/command.ts';
import type { HostUse } from '../host/footprint.ts';
import type { HostRow, RequestKey } from '../store/store.ts';
import type { Client } from '../threads/client.ts';
import type { Packed } from '../threads/packed.ts';
import type { SetAside } from './aside.ts';
import type { CopyRow } from './copies.ts';
import type { HostFile } from './host-file.ts';
import type { PastQuery } from './past.ts';

export type { HostUse } from '../host/footprint.ts';
export type { SetAside } from './aside.ts';

/** The row of a host that is to be made; its spec may be packed. */
export interface NewHost extends Omit<HostRow, 'spec'> {
  spec: HostSpec | Packed<HostSpec>;
}

/** The same of one that comes out of a file, whose seal is right. */
export interface HostOfFile extends CopyRow {
  file: HostFile | Packed<HostFile>;
}

/** Sequences: the host must have come to one of them, and no further, when the turn comes of what is asked. */
export type Expected = readonly number[];

/** On which something is done. */
export interface Terms {
  /** HostChanged where the host is somewhere else; not given: wherever it is. */
  expected?: Expected | undefined;
  /** Of the request that asks for it, which is stored with it. */
  key?: RequestKey | undefined;
}

/**
 * What is packed is no longer the caller's. `client`: who has asked, if they may go before the answer.
 *
 * Rejected promises: HostFault for a bug of ours, StoreUnavailable where nothing could be stored, OwnerPassed where the
 * host has another owner by now, KeyTaken where a request of the key has been carried out, LaneBusy where too much waits, HostDamaged where what is stored of it is, HostSetAside
 * where it has ended the thread that ran it. In all these cases the command has not happened. After ThreadDied it may have,
 * or not, but never half. A host that is not stored answers `not-found`.
 */
export interface Lanes {
  /** The id of a host that is to be made: who asks for it here meets no other thread. */
  newHostId(): string;
  /** Builds the host and stores it; the value is its HostView; of one of a file, with its `devices`. */
  create(row: NewHost | HostOfFile): Promise<Answer>;
  /** Runs a command after those asked before, stores it, and only then answers. A kexec ends with the boot. */
  execute(hostId: string, command: Command | Packed<Command>, client?: Client, terms?: Terms): Promise<Answer>;
  /**
   * The same for a batch: all of it is stored, or nothing. Other commands to this host wait, other hosts' do not. The
   * payload is no longer the caller's. What is wrong with it is answered as `malformed` or `invalid`.
   */
  batch(hostId: string, command: BatchCommand, payload: Uint8Array, client?: Client, terms?: Terms): Promise<Answer>;
  query(hostId: string, query: Query, client?: Client, terms?: Terms): Promise<Answer>;
  /**
   * Makes another host as this one is, or as it was behind command `at`, which is stored when it answers; the value is
   * its HostView, with its `devices`.
   */
  copy(hostId: string, row: CopyRow, at?: number, client?: Client): Promise<Answer>;
  /** The host becomes again what it was when the snapshot of that name was taken. */
  restore(hostId: string, name: string, client?: Client, terms?: Terms): Promise<Answer>;
  /** Tells what the host has done, and was. */
  lookBack(hostId: string, query: PastQuery, client?: Client): Promise<Answer>;
  /** Deletes the host and all that is stored of it. */
  remove(hostId: string, terms?: Terms): Promise<void>;
  /** What the host takes, as last found out since the start; of one that is not in memory the counts are there. Null: not known yet. */
  use(hostId: string): HostUse | null;
  /** Why the host is not run; null: it is. */
  setAside(hostId: string): SetAside | null;
  /** The host is run again. Gives 0, or the milliseconds after which it may be, where it may not be yet. */
  retry(hostId: string): Promise<number>;
  /**
   * The service stops: long work is given up (ServiceStopping), and so is what has not begun. Resolves when all is answered;
   * a thread that is in the middle of something for STOP_LANES_MS is ended (ThreadDied).
   */
  stop(): Promise<void>;
}

/** As whoever has started them has them. */
export interface RunningLanes extends Lanes {
  /** At start: boots the next kernel of hosts that were killed between freeze and boot. */
  recover(): Promise<void>;
  /** Resolves when everything asked before is done, and threads have ended. */
  close(): Promise<void>;
}
