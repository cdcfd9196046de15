/**
 * Lanes as threads. Each owns hosts, and runs them with a view of the store that is its own. Hosts of very many objects move
 * to a lane that is only for them: what garbage collection takes there, and calls that go over all of such a host, the hosts of
 * others do not feel, as the system shares out the time of threads.
 */
import type { ResourceLimits } from 'node:worker_threads';
import type { Answer, BatchCommand, Command, Query } from '../host/command.ts';
import type { HostUse } from '../host/footprint.ts';
import type { Log } from '../log.ts';
import type { FoundDamage, SharedStore, Store } from '../store/store.ts';
import type { Client } from '../threads/client.ts';
import { isPacked, type Packed } from '../threads/packed.ts';
import { type Limits, sizeOf } from './admission.ts';
import { Aside, type SetAside } from './aside.ts';
import { ClientGone, ServiceStopping } from './errors.ts';
import { LaneHandle, type LaneHandleOptions } from './lane-handle.ts';
import type { Lanes, NewHost } from './lanes.ts';
import { givenWith, isMoved, type LaneRequest, type Moved } from './messages.ts';
import { laneOf } from './owner.ts';
import { MOST_OBJECTS, newHostMemory, noteUse } from './residents.ts';

export interface PoolOptions {
  store: Store;
  log: Log;
  /** Threads, at least 1. */
  lanes: number;
  allowServiceDeath: boolean;
  /** What all hosts together may take of memory, in bytes; default: whatever they need. */
  memory?: number | undefined;
  check?: boolean;
  /** How long a lane may work on one command, in milliseconds; default: for any time. */
  commandTime?: number;
  limits?: Limits;
  /** For tests: what each lane may take of memory. */
  resourceLimits?: ResourceLimits;
  /** For tests: how many bytes of objects a host may have until it is a large one. */
  mostObjects?: number;
}

export class LanePool implements Lanes {
  readonly #store: Store;
  readonly #lanes: LaneHandle[];
  /** Started when there is a large host. */
  #largeLane: LaneHandle | undefined;
  readonly #startLarge: () => LaneHandle;
  /** Hosts that are in that lane. They stay there, so that one which shrinks and grows does not go to and fro. */
  readonly #large = new Set<string>();
  readonly #shared: SharedStore;
  readonly #log: Log;
  readonly #aside = new Aside();
  #isStopping = false;
  readonly #uses = new Map<string, HostUse>();
  #closed: Promise<void> | undefined;

  constructor(options: PoolOptions) {
    const { store, log, lanes, allowServiceDeath, check = false, commandTime, limits, resourceLimits } = options;
    const { memory: bytes = Number.POSITIVE_INFINITY, mostObjects = MOST_OBJECTS } = options;
    this.#store = store;
    this.#log = log;
    const onLost = (cause: unknown): void => {
      log.error({ err: cause }, 'the lanes have lost the store: all of them begin anew');
      for (const lane of this.#all) void lane.kill();
    };
    const shared = store.share(lanes, onLost);
    this.#shared = shared;
    const memory = newHostMemory(bytes, lanes + 1);
    const more = {
      aside: this.#aside,
      onDamage: (damage: FoundDamage) => void store.damage.add(damage),
      onMove: (hostId: string) => void this.#large.add(hostId),
      resourceLimits,
    };
    const start = (lane: number, own: Pick<LaneHandleOptions, 'mostObjects' | 'onUse'>): LaneHandle => {
      const pass = () => shared.pass(lane);
      const common = { lane, allowServiceDeath, check, commandTime, memory, log, limits, pass };
      return new LaneHandle({ ...common, ...more, ...own });
    };
    const onUse = (hostId: string, use: HostUse): void => noteUse(this.#uses, hostId, use);
    // What a host took in the lane that it has left is not of interest any more.
    const onSmallUse = (hostId: string, use: HostUse): void => void (this.#large.has(hostId) || onUse(hostId, use));
    this.#lanes = Array.from({ length: lanes }, (_, lane) => start(lane, { mostObjects, onUse: onSmallUse }));
    this.#startLarge = () => start(lanes, { onUse });
  }

  get #all(): LaneHandle[] {
    return this.#largeLane === undefined ? this.#lanes : [...this.#lanes, this.#largeLane];
  }

  create(row: NewHost): Promise<Answer> {
    // A description that is packed is of thousands of functions.
    if (isPacked(row.spec)) this.#large.add(row.id);
    return this.#ask(row.id, { ask: 'create', row });
  }

  execute(hostId: string, command: Command | Packed<Command>, client?: Client): Promise<Answer> {
    return this.#ask(hostId, { ask: 'execute', hostId, command }, client);
  }

  batch(hostId: string, command: BatchCommand, payload: Uint8Array, client?: Client): Promise<Answer> {
    // Memory that is shared with other buffers cannot be given away.
    const whole = payload.byteLength === payload.buffer.byteLength ? payload : new Uint8Array(payload);
    return this.#ask(hostId, { ask: 'batch', hostId, command, payload: whole }, client);
  }

  query(hostId: string, query: Query, client?: Client): Promise<Answer> {
    return this.#ask(hostId, { ask: 'query', hostId, query }, client);
  }

  async remove(hostId: string): Promise<void> {
    await this.#ask(hostId, { ask: 'remove', hostId });
    this.#aside.forget(hostId);
    this.#large.delete(hostId);
    this.#uses.delete(hostId);
  }

  use(hostId: string): HostUse | null {
    return this.#uses.get(hostId) ?? null;
  }

  setAside(hostId: string): SetAside | null {
    return this.#aside.of(hostId);
  }

  retry(hostId: string): number {
    return this.#aside.retry(hostId);
  }

  async recover(): Promise<void> {
    try {
      // One by one: one that ends the lane takes no other with it.
      for (const hostId of await this.#store.journal.unbooted()) await this.#boot(hostId);
    } catch (error) {
      this.#log.error({ err: error }, 'hosts between two kernels are booted when they are used');
    }
  }

  async #boot(hostId: string): Promise<void> {
    try {
      await this.#ask(hostId, { ask: 'boot', hostId });
    } catch (error) {
      // One that is set aside has been told of.
      if (this.#aside.of(hostId) === null) throw error;
    }
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#all.map((lane) => lane.stop()));
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await Promise.all(this.#all.map((lane) => lane.rest()));
    // The first lane may be the one that writes.
    await this.#largeLane?.close();
    await Promise.all(this.#lanes.map((lane) => lane.close()));
    await this.#shared.close().catch((error) => this.#log.error({ err: error }, 'the store did not stop in order'));
  }

  /** For tests: ends the thread of a host in the middle of whatever it does. */
  async kill(hostId: string): Promise<void> {
    await this.#laneOf(hostId).kill();
  }

  /** What is packed in the request is no longer the caller's. */
  async #ask<Value>(hostId: string, request: LaneRequest, client?: Client): Promise<Value> {
    // What came before goes before.
    if (this.#large.has(hostId)) await this.#ordinaryLaneOf(hostId).admission.gone(hostId);
    return await this.#askLane<Value>(this.#laneOf(hostId), hostId, request, client);
  }

  async #askLane<Value>(
    lane: LaneHandle,
    hostId: string,
    request: LaneRequest,
    client: Client | undefined,
  ): Promise<Value> {
    if (this.#isStopping) throw new ServiceStopping();
    if (client?.isGone) throw new ClientGone();
    if (request.ask !== 'remove') this.#aside.check(hostId);
    const size = sizeOf(request);
    let again: Promise<Value>;
    lane.admission.enter(hostId, size);
    try {
      const value = await lane.ask<Value | Moved>(request, givenWith(request), client);
      if (!isMoved(value)) return value;
      this.#large.add(hostId);
      // Before those are let go who wait until nothing of the host waits here.
      again = this.#askLane<Value>(this.#laneOf(hostId), hostId, value.moved, client);
    } finally {
      lane.admission.leave(hostId, size);
    }
    return await again;
  }

  #laneOf(hostId: string): LaneHandle {
    if (!this.#large.has(hostId)) return this.#ordinaryLaneOf(hostId);
    this.#largeLane ??= this.#startLarge();
    return this.#largeLane;
  }

  #ordinaryLaneOf(hostId: string): LaneHandle {
    return this.#lanes[laneOf(hostId, this.#lanes.length)]!;
  }
}
