/** Lanes as threads. Each owns hosts, and runs them with a view of the store that is its own. */
import type { ResourceLimits, Transferable } from 'node:worker_threads';
import type { Answer, BatchCommand, Command, Query } from '../host/command.ts';
import type { HostUse } from '../host/footprint.ts';
import type { Log } from '../log.ts';
import type { FoundDamage, SharedStore, Store } from '../store/store.ts';
import type { Client } from '../threads/client.ts';
import type { Packed } from '../threads/packed.ts';
import { type Limits, sizeOf } from './admission.ts';
import { Aside, type SetAside } from './aside.ts';
import { ClientGone, ServiceStopping, ThreadDied } from './errors.ts';
import { LaneHandle } from './lane-handle.ts';
import type { Lanes, NewHost } from './lanes.ts';
import type { LaneRequest } from './messages.ts';
import { laneOf } from './owner.ts';
import { newHostMemory, noteUse } from './residents.ts';

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
}

/** What is packed is given away; plain data is copied. */
const given = (value: object): readonly Transferable[] =>
  value instanceof Uint8Array ? [value.buffer as ArrayBuffer] : [];

export class LanePool implements Lanes {
  readonly #store: Store;
  readonly #lanes: LaneHandle[];
  readonly #shared: SharedStore;
  readonly #log: Log;
  readonly #aside = new Aside();
  #isStopping = false;
  readonly #uses = new Map<string, HostUse>();
  #closed: Promise<void> | undefined;

  constructor(options: PoolOptions) {
    const { store, log, lanes, allowServiceDeath, check = false, commandTime, limits, resourceLimits } = options;
    const { memory: bytes = Number.POSITIVE_INFINITY } = options;
    this.#store = store;
    this.#log = log;
    const onLost = (cause: unknown): void => {
      log.error({ err: cause }, 'the lanes have lost the store: all of them begin anew');
      for (const lane of this.#lanes) void lane.kill();
    };
    const shared = store.share(lanes, onLost);
    this.#shared = shared;
    const memory = newHostMemory(bytes, lanes);
    const more = {
      aside: this.#aside,
      onDamage: (damage: FoundDamage) => void store.damage.add(damage),
      onUse: (hostId: string, use: HostUse) => noteUse(this.#uses, hostId, use),
      resourceLimits,
    };
    this.#lanes = Array.from({ length: lanes }, (_, lane) => {
      const pass = () => shared.pass(lane);
      return new LaneHandle({ lane, lanes, allowServiceDeath, check, commandTime, memory, log, limits, pass, ...more });
    });
  }

  create(row: NewHost): Promise<Answer> {
    return this.#ask(row.id, { ask: 'create', row }, given(row.spec));
  }

  execute(hostId: string, command: Command | Packed<Command>, client?: Client): Promise<Answer> {
    return this.#ask(hostId, { ask: 'execute', hostId, command }, given(command), client);
  }

  batch(hostId: string, command: BatchCommand, payload: Uint8Array, client?: Client): Promise<Answer> {
    // Memory that is shared with other buffers cannot be given away.
    const whole = payload.byteLength === payload.buffer.byteLength ? payload : new Uint8Array(payload);
    return this.#ask(hostId, { ask: 'batch', hostId, command, payload: whole }, [whole.buffer as ArrayBuffer], client);
  }

  query(hostId: string, query: Query, client?: Client): Promise<Answer> {
    return this.#ask(hostId, { ask: 'query', hostId, query }, [], client);
  }

  async remove(hostId: string): Promise<void> {
    await this.#ask(hostId, { ask: 'remove', hostId });
    this.#aside.forget(hostId);
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
      const unbooted = await this.#store.journal.unbooted();
      const concerned = new Set(unbooted.map((hostId) => this.#laneOf(hostId)));
      await Promise.all([...concerned].map((lane) => this.#recover(lane)));
    } catch (error) {
      // They are booted when they are used.
      this.#log.error({ err: error }, 'hosts between two kernels could not be booted yet');
    }
  }

  /** A host that ends the lane is set aside, and the others are booted by the next one. */
  async #recover(lane: LaneHandle): Promise<void> {
    for (;;) {
      const known = this.#aside.hostIds.length;
      try {
        return await lane.ask({ ask: 'recover' });
      } catch (error) {
        if (!(error instanceof ThreadDied) || this.#aside.hostIds.length === known) throw error;
      }
    }
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#lanes.map((lane) => lane.stop()));
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.close()));
    await this.#shared.close().catch((error) => this.#log.error({ err: error }, 'the store did not stop in order'));
  }

  /** For tests: ends the thread of a host in the middle of whatever it does. */
  async kill(hostId: string): Promise<void> {
    await this.#laneOf(hostId).kill();
  }

  /** What is in `transfer` is no longer the caller's. */
  async #ask<Value>(
    hostId: string,
    request: LaneRequest,
    transfer: readonly Transferable[] = [],
    client?: Client,
  ): Promise<Value> {
    if (this.#isStopping) throw new ServiceStopping();
    if (client?.isGone) throw new ClientGone();
    if (request.ask !== 'remove') this.#aside.check(hostId);
    const lane = this.#laneOf(hostId);
    const size = sizeOf(request);
    lane.admission.enter(hostId, size);
    try {
      return await lane.ask<Value>(request, transfer, client);
    } finally {
      lane.admission.leave(hostId, size);
    }
  }

  #laneOf(hostId: string): LaneHandle {
    return this.#lanes[laneOf(hostId, this.#lanes.length)]!;
  }
}
