/** Lanes as one thread asks them: finds the lane of a host, and asks again where the host has moved. */
import type { Answer, BatchCommand, Command, Query } from '../host/command.ts';
import type { HostUse } from '../host/footprint.ts';
import type { Client } from '../threads/client.ts';
import type { Packed } from '../threads/packed.ts';
import { type Admission, sizeOf } from './admission.ts';
import type { Aside, SetAside } from './aside.ts';
import type { CopyRow } from './copies.ts';
import { ClientGone, ServiceStopping } from './errors.ts';
import type { HostOfFile, Lanes, NewHost, Terms } from './lanes.ts';
import { isMoved, type LaneNews, type LaneRequest, type Moved } from './messages.ts';
import { laneOf, newHostId } from './owner.ts';
import type { PastQuery } from './past.ts';
import { noteUse } from './residents.ts';

/** A lane, as whoever asks it sees it: of this thread, or of another one. */
export interface LaneDoor {
  readonly admission: Admission;
  ask<Value>(request: LaneRequest, client?: Client): Promise<Value>;
}

export interface LaneClientOptions {
  /** Those that share the hosts, in the order of their numbers. */
  lanes: readonly LaneDoor[];
  /** As many are for large hosts: each, from 0 on, when it is asked for the first time. */
  large: (index: number) => LaneDoor;
  /** The number of the lane that is asked for new hosts. */
  own?: number;
  aside: Aside;
  /** Has all lanes stop. */
  stop: () => Promise<unknown>;
}

export class LaneClient implements Lanes {
  readonly #lanes: readonly LaneDoor[];
  readonly #openLarge: (index: number) => LaneDoor;
  readonly #own: number;
  readonly #aside: Aside;
  readonly #stop: () => Promise<unknown>;
  readonly #largeLanes: LaneDoor[] = [];
  /** Hosts that are in those lanes. They stay there, so that one which shrinks and grows does not go to and fro. */
  readonly #large = new Set<string>();
  readonly #uses = new Map<string, HostUse>();
  /** Nothing more is asked. */
  #isStopping = false;

  constructor({ lanes, large, own = 0, aside, stop }: LaneClientOptions) {
    this.#lanes = lanes;
    this.#own = own;
    this.#openLarge = large;
    this.#aside = aside;
    this.#stop = stop;
  }

  newHostId(): string {
    return newHostId(this.#own, this.#lanes.length);
  }

  create(row: NewHost | HostOfFile): Promise<Answer> {
    return this.ask(row.id, { ask: 'create', row });
  }

  execute(hostId: string, command: Command | Packed<Command>, client?: Client, terms?: Terms): Promise<Answer> {
    return this.ask(hostId, { ask: 'execute', hostId, command, terms }, client);
  }

  batch(hostId: string, command: BatchCommand, payload: Uint8Array, client?: Client, terms?: Terms): Promise<Answer> {
    return this.ask(hostId, { ask: 'batch', hostId, command, payload, terms }, client);
  }

  query(hostId: string, query: Query, client?: Client, terms?: Terms): Promise<Answer> {
    return this.ask(hostId, { ask: 'query', hostId, query, terms }, client);
  }

  copy(hostId: string, row: CopyRow, at?: number, client?: Client): Promise<Answer> {
    return this.ask(hostId, { ask: 'copy', hostId, row, ...(at !== undefined && { at }) }, client);
  }

  lookBack(hostId: string, query: PastQuery, client?: Client): Promise<Answer> {
    return this.ask(hostId, { ask: 'lookBack', hostId, query }, client);
  }

  restore(hostId: string, name: string, client?: Client, terms?: Terms): Promise<Answer> {
    return this.ask(hostId, { ask: 'restore', hostId, name, terms }, client);
  }

  async remove(hostId: string, terms?: Terms): Promise<void> {
    await this.ask(hostId, { ask: 'remove', hostId, terms });
    this.hear({ removed: hostId });
  }

  use(hostId: string): HostUse | null {
    return this.#uses.get(hostId) ?? null;
  }

  isLarge(hostId: string): boolean {
    return this.#large.has(hostId);
  }

  setAside(hostId: string): SetAside | null {
    return this.#aside.of(hostId);
  }

  async retry(hostId: string): Promise<number> {
    const left = await this.ask<number>(hostId, { ask: 'retry', hostId });
    if (left === 0) this.hear({ retried: hostId });
    return left;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#stop();
  }

  /** Hosts in lanes of large ones. */
  get large(): string[] {
    return [...this.#large];
  }

  /** Of a lane, this one or another. */
  hear(news: LaneNews): void {
    if ('use' in news) this.#noteUse(news.hostId, news.use, news.inLarge);
    else if ('moved' in news) this.#large.add(news.moved);
    else if ('removed' in news) this.#forget(news.removed);
    this.#aside.hear(news);
  }

  /** It is deleted. */
  #forget(hostId: string): void {
    this.#large.delete(hostId);
    this.#uses.delete(hostId);
  }

  /** What one took in the lane that it has left is of no interest any more. */
  #noteUse(hostId: string, use: HostUse, inLarge: boolean): void {
    if (inLarge || !this.#large.has(hostId)) noteUse(this.#uses, hostId, use);
  }

  /** What is packed in the request is no longer the caller's. */
  ask<Value>(hostId: string, request: LaneRequest, client?: Client): Promise<Value> {
    const asked = (): Promise<Value> => this.#askLane<Value>(this.#laneOf(hostId), hostId, request, client);
    // What came before goes before.
    const gone = this.#large.has(hostId) ? this.#ordinaryLaneOf(hostId).admission.gone(hostId) : undefined;
    return gone === undefined ? asked() : gone.then(asked);
  }

  async #askLane<Value>(
    lane: LaneDoor,
    hostId: string,
    request: LaneRequest,
    client: Client | undefined,
  ): Promise<Value> {
    if (this.#isStopping) throw new ServiceStopping();
    if (client?.isGone) throw new ClientGone();
    const size = sizeOf(request);
    let again: Promise<Value>;
    lane.admission.enter(hostId, size);
    try {
      const value = await lane.ask<Value | Moved>(request, client);
      if (!isMoved(value)) return value;
      this.#large.add(hostId);
      // Before those are let go who wait until nothing of the host waits here.
      again = this.#askLane<Value>(this.#laneOf(hostId), hostId, value.moved, client);
    } finally {
      lane.admission.leave(hostId, size);
    }
    return await again;
  }

  #laneOf(hostId: string): LaneDoor {
    if (!this.#large.has(hostId)) return this.#ordinaryLaneOf(hostId);
    const index = laneOf(hostId, this.#lanes.length);
    this.#largeLanes[index] ??= this.#openLarge(index);
    return this.#largeLanes[index];
  }

  #ordinaryLaneOf(hostId: string): LaneDoor {
    return this.#lanes[laneOf(hostId, this.#lanes.length)]!;
  }
}
