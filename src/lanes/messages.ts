/** What lanes are asked, and what they are told at their start. */
import type { MessagePort } from 'node:worker_threads';
import type { BatchCommand, Command, Query } from '../host/command.ts';
import type { HostUse } from '../host/footprint.ts';
import type { DamageNews, FoundDamage } from '../store/store.ts';
import type { Packed } from '../threads/packed.ts';
import type { Shield } from '../threads/shield.ts';
import type { KnownAside } from './aside.ts';
import type { SharedAtWork } from './at-work.ts';
import type { CopyRow } from './copies.ts';
import type { HostOfFile, NewHost, Terms } from './lanes.ts';
import type { PastQuery } from './past.ts';
import type { HostMemory } from './residents.ts';

/** Plain data, but for what is packed and the payload of a batch, which are given away. */
export type LaneRequest =
  | { ask: 'create'; row: NewHost | HostOfFile }
  | { ask: 'execute'; hostId: string; command: Command | Packed<Command>; terms?: Terms | undefined }
  | { ask: 'batch'; hostId: string; command: BatchCommand; payload: Uint8Array; terms?: Terms | undefined }
  | { ask: 'query'; hostId: string; query: Query; terms?: Terms | undefined }
  | { ask: 'copy'; hostId: string; row: CopyRow; at?: number }
  | { ask: 'lookBack'; hostId: string; query: PastQuery }
  | { ask: 'restore'; hostId: string; name: string; terms?: Terms | undefined }
  | { ask: 'remove'; hostId: string; terms?: Terms | undefined }
  | { ask: 'boot'; hostId: string }
  /** Whether a host that is set aside may be run again: gives what `Aside.retry` does. */
  | { ask: 'retry'; hostId: string }
  | { ask: 'stop' }
  | { ask: 'rest' }
  | { ask: 'close' }
  /** Of those that serve HTTP: gives a ListenAnswer. */
  | { ask: 'listen'; host: string; port: number }
  /** Of them, too: resolves when what was begun is answered, and nobody is connected any more. */
  | { ask: 'hangUp' };

/** What the system says where several cannot listen together: the first lane does it alone. */
export const CANNOT_SHARE = 'ENOTSUP';

/** Where it listens, or why it cannot. */
export type ListenAnswer = { address: string } | CannotListen;
export interface CannotListen {
  code: string | undefined;
  message: string;
}

/** Instead of an answer: the host is too large for this lane, and is to be asked for in that of large hosts. Nothing has happened. */
export interface Moved {
  moved: LaneRequest;
}

export const isMoved = (value: unknown): value is Moved =>
  typeof value === 'object' && value !== null && 'moved' in value;

/** What of a new host may be packed. */
export const packedOf = (row: NewHost | HostOfFile): unknown => ('spec' in row ? row.spec : row.file);

/** What of a request is given away with it. */
export function givenWith(request: LaneRequest): ArrayBuffer[] {
  let given: unknown;
  if (request.ask === 'batch') given = request.payload;
  else if (request.ask === 'create') given = packedOf(request.row);
  else if (request.ask === 'execute') given = request.command;
  return given instanceof Uint8Array ? [given.buffer as ArrayBuffer] : [];
}

/** A request as another thread gets it, and what is given away with it: memory that other buffers share cannot be. */
export function passedOn(request: LaneRequest): [LaneRequest, ArrayBuffer[]] {
  const isShared = request.ask === 'batch' && request.payload.byteLength < request.payload.buffer.byteLength;
  const own = isShared ? { ...request, payload: new Uint8Array(request.payload) } : request;
  return [own, givenWith(own)];
}

export interface LaneSettings {
  lane: number;
  /** A host with more bytes of objects moves to the lane of large hosts; default: this is that one. */
  mostObjects?: number;
  allowServiceDeath: boolean;
  memory: HostMemory;
  check: boolean;
  /** How long it may work on one command, in milliseconds; default: for any time. */
  commandTime?: number;
  atWork: SharedAtWork;
  /** What is known already of hosts: those that are set aside, and those that are in lanes of large ones. */
  aside: readonly KnownAside[];
  large: readonly string[];
  /** Where requests of the thread that has started it come from. */
  port: MessagePort;
  /** Held while the thread must not be ended. */
  shield: Shield;
  /** What the store is opened with. */
  store: unknown;
}

/** What a lane tells without being asked. */
export type LaneWord =
  | 'ready'
  | LogLine
  | LaneNews
  | { found: FoundDamage }
  /** Asks the lane of that number by this port, from now on. */
  | { connect: number; port: MessagePort }
  /** Long work is to be given up. */
  | 'stop lanes';

/** A host, and whose it is. */
export interface AskedHost {
  tenantId: string;
  hostId: string;
}

/** What one lane has come to know, and others are told. */
export type LaneNews =
  /** `inLarge`: in a lane of large hosts. */
  | { hostId: string; use: HostUse; inLarge: boolean }
  /** The host is in a lane of large ones from now on. */
  | { moved: string }
  /** The host is deleted; nothing more is told of it. */
  | { removed: string }
  | { aside: KnownAside }
  /** The host is run again. */
  | { retried: string }
  | { damage: DamageNews }
  /** The host has been asked something for the first time. */
  | { asked: AskedHost }
  /** A command to the host has been answered, and somebody may wait for that. */
  | { changed: string };

/** What a lane is told without asking. */
export type LaneTold =
  /** Whom it serves, too. */
  | { door: MessagePort }
  /** The lane of that number has ended: what it was asked is not answered, and another one is there. */
  | { died: number }
  | LaneNews;

/** A line of a lane for the log of the service. */
export interface LogLine {
  level: 'info' | 'warn' | 'error';
  details: object;
  message: string;
}
