/** What lanes are asked, and what they are told at their start. */
import type { MessagePort } from 'node:worker_threads';
import type { BatchCommand, Command, Query } from '../host/command.ts';
import type { HostUse } from '../host/footprint.ts';
import type { DamageNews, FoundDamage } from '../store/store.ts';
import type { Packed } from '../threads/packed.ts';
import type { Shield } from '../threads/shield.ts';
import type { KnownAside } from './aside.ts';
import type { SharedAtWork } from './at-work.ts';
import type { NewHost } from './lanes.ts';
import type { HostMemory } from './residents.ts';

/** Plain data, but for what is packed and the payload of a batch, which are given away. */
export type LaneRequest =
  | { ask: 'create'; row: NewHost }
  | { ask: 'execute'; hostId: string; command: Command | Packed<Command> }
  | { ask: 'batch'; hostId: string; command: BatchCommand; payload: Uint8Array }
  | { ask: 'query'; hostId: string; query: Query }
  | { ask: 'remove'; hostId: string }
  | { ask: 'boot'; hostId: string }
  | { ask: 'stop' }
  | { ask: 'rest' }
  | { ask: 'close' }
  /** Of the one that serves HTTP: gives a ListenAnswer. */
  | { ask: 'listen'; host: string; port: number }
  /** Of that one, too: resolves when what was begun is answered, and nobody is connected any more. */
  | { ask: 'hangUp' };

/** Where it listens, or why it cannot. */
export type ListenAnswer = { address: string } | { code: string | undefined; message: string };

/** Instead of an answer: the host is too large for this lane, and is to be asked for in that of large hosts. Nothing has happened. */
export interface Moved {
  moved: LaneRequest;
}

export const isMoved = (value: unknown): value is Moved =>
  typeof value === 'object' && value !== null && 'moved' in value;

/** What of a request is given away with it. */
export function givenWith(request: LaneRequest): ArrayBuffer[] {
  let given: unknown;
  if (request.ask === 'batch') given = request.payload;
  else if (request.ask === 'create') given = request.row.spec;
  else if (request.ask === 'execute') given = request.command;
  return given instanceof Uint8Array ? [given.buffer as ArrayBuffer] : [];
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
  | { damage: FoundDamage }
  | { hostId: string; use: HostUse }
  | { moved: string }
  /** The host is deleted; nothing more is told of it. */
  | { removed: string }
  | ServerWord;

/** What the one says that serves HTTP. */
export type ServerWord =
  /** Asks the lane of that number by this port, from now on. */
  | { connect: number; port: MessagePort }
  | { retried: string }
  | { news: DamageNews }
  /** Long work is to be given up. */
  | 'stop lanes';

/** What a lane is told without asking: whom it serves, too; and, if it serves HTTP, what others have come to know. */
export type LaneTold =
  | { door: MessagePort }
  /** The lane of that number has ended: what it was asked is not answered, and another one is there. */
  | { died: number }
  /** `inLarge`: in a lane of large hosts. */
  | { hostId: string; use: HostUse; inLarge: boolean }
  | { removed: string }
  | { aside: KnownAside }
  | { news: DamageNews };

/** A line of a lane for the log of the service. */
export interface LogLine {
  level: 'info' | 'warn' | 'error';
  details: object;
  message: string;
}
