/** What lanes are asked, and what they are told at their start. */
import type { MessagePort } from 'node:worker_threads';
import type { BatchCommand, Command, Query } from '../host/command.ts';
import type { HostUse } from '../host/footprint.ts';
import type { FoundDamage } from '../store/store.ts';
import type { Packed } from '../threads/packed.ts';
import type { Shield } from '../threads/shield.ts';
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
  | { ask: 'recover' }
  | { ask: 'stop' }
  | { ask: 'close' };

export interface LaneSettings {
  lane: number;
  lanes: number;
  allowServiceDeath: boolean;
  memory: HostMemory;
  check: boolean;
  /** How long it may work on one command, in milliseconds; default: for any time. */
  commandTime?: number;
  /** Hosts that are not to be run. */
  aside: readonly string[];
  atWork: SharedAtWork;
  /** Where requests come from. */
  port: MessagePort;
  /** Held while the thread must not be ended. */
  shield: Shield;
  /** What the store is opened with. */
  store: unknown;
}

/** What a lane tells without being asked. */
export type LaneWord = 'ready' | LogLine | { damage: FoundDamage } | { hostId: string; use: HostUse };

/** A line of a lane for the log of the service. */
export interface LogLine {
  level: 'info' | 'warn' | 'error';
  details: object;
  message: string;
}
