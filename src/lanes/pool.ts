/**
 * Lanes as threads. Each owns hosts, runs them and reads the store by itself; one writes. That is a thread of its own,
 * which lanes speak to directly, or the lane itself where there is only one.
 */
import type { MessagePort, Transferable } from 'node:worker_threads';
import type { Answer, BatchCommand, Command, Query } from '../host/command.ts';
import type { Log } from '../log.ts';
import type { HostRow, Store } from '../store/store.ts';
import { type Limits, sizeOf } from './admission.ts';
import { LaneThread } from './lane-thread.ts';
import type { Lanes } from './lanes.ts';
import type { LaneRequest } from './messages.ts';
import { laneOf } from './owner.ts';
import { WriterHandle } from './writer-handle.ts';

export interface PoolOptions {
  store: Store;
  log: Log;
  /** Threads, at least 1. */
  lanes: number;
  allowServiceDeath: boolean;
  limits?: Limits;
}

export class LanePool implements Lanes {
  readonly #store: Store;
  readonly #lanes: LaneThread[];
  readonly #writer: WriterHandle | null;
  #closed: Promise<void> | undefined;

  constructor({ store, log, lanes, allowServiceDeath, limits }: PoolOptions) {
    const { directory, durability } = store;
    this.#store = store;
    const onDeath = (): void => {
      for (const lane of this.#lanes) void lane.kill();
    };
    const writer = lanes > 1 ? new WriterHandle({ directory, durability, log, onDeath }) : null;
    this.#writer = writer;
    this.#lanes = Array.from({ length: lanes }, (_, lane) => {
      const attach = async (): Promise<MessagePort | null> => (writer === null ? null : await writer.attach(lane));
      return new LaneThread({ lane, lanes, directory, durability, allowServiceDeath, log, limits, attach });
    });
    const scribe = writer ?? this.#lanes[0]!;
    store.writeBy({ write: (write) => scribe.ask<number>({ ask: 'write', write }) });
  }

  create(row: HostRow): Promise<Answer> {
    return this.#ask(row.id, { ask: 'create', row });
  }

  execute(hostId: string, command: Command): Promise<Answer> {
    return this.#ask(hostId, { ask: 'execute', hostId, command });
  }

  batch(hostId: string, command: BatchCommand, payload: Uint8Array): Promise<Answer> {
    // Memory that is shared with other buffers cannot be given away.
    const whole = payload.byteLength === payload.buffer.byteLength ? payload : new Uint8Array(payload);
    return this.#ask(hostId, { ask: 'batch', hostId, command, payload: whole }, [whole.buffer as ArrayBuffer]);
  }

  query(hostId: string, query: Query): Promise<Answer> {
    return this.#ask(hostId, { ask: 'query', hostId, query });
  }

  remove(hostId: string): Promise<void> {
    return this.#ask(hostId, { ask: 'remove', hostId });
  }

  async recover(): Promise<void> {
    const concerned = new Set(this.#store.journal.unbooted().map((hostId) => this.#laneOf(hostId)));
    await Promise.all([...concerned].map((lane) => lane.ask({ ask: 'recover' })));
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.close()));
    await this.#writer?.close();
    this.#store.writeBy(null);
  }

  /** For tests: ends the thread of a host in the middle of whatever it does. */
  async kill(hostId: string): Promise<void> {
    await this.#laneOf(hostId).kill();
  }

  /** For tests: the same with the thread that writes. */
  async killWriter(): Promise<void> {
    await this.#writer?.kill();
  }

  /** What is in `transfer` is no longer the caller's. */
  async #ask<Value>(hostId: string, request: LaneRequest, transfer: readonly Transferable[] = []): Promise<Value> {
    const lane = this.#laneOf(hostId);
    const size = sizeOf(request);
    lane.admission.enter(hostId, size);
    try {
      return await lane.ask<Value>(request, transfer);
    } finally {
      lane.admission.leave(hostId, size);
    }
  }

  #laneOf(hostId: string): LaneThread {
    return this.#lanes[laneOf(hostId, this.#lanes.length)]!;
  }
}
