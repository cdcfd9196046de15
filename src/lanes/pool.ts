/**
 * Lanes as threads. Each owns hosts, and runs them with a view of the store that is its own; all of them may serve HTTP, too.
 * Hosts of very many objects move to lanes that are only for them: what garbage collection takes there, and calls that go over
 * all of such a host, the hosts of others do not feel, as the system shares out the time of threads.
 */
import { setTimeout } from 'node:timers/promises';
import type { MessagePort, ResourceLimits, Worker } from 'node:worker_threads';
import type { Log } from '../log.ts';
import type { SharedStore, Store } from '../store/store.ts';
import type { Limits } from './admission.ts';
import { Aside } from './aside.ts';
import { LaneClient } from './client.ts';
import { freePort } from './free-port.ts';
import { type HeardWord, LaneHandle, type LaneHandleOptions } from './lane-handle.ts';
import type { RunningLanes } from './lanes.ts';
import { CANNOT_SHARE, type LaneTold, type ListenAnswer } from './messages.ts';
import { laneOf, newHostId } from './owner.ts';
import { MOST_OBJECTS, newHostMemory } from './residents.ts';

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
  /** Starts the threads of lanes that serve HTTP, as all do then, and what those are told besides; default: none does. */
  server?: { start: () => Worker; settings: object };
  limits?: Limits;
  /** For tests: what each lane may take of memory. */
  resourceLimits?: ResourceLimits;
  /** For tests: how many bytes of objects a host may have until it is a large one. */
  mostObjects?: number;
}

/** When one that has taken the place of another tries again to listen, in milliseconds. */
const LISTEN_AGAIN_MS = 1000;

export class LanePool extends LaneClient implements RunningLanes {
  readonly #store: Store;
  readonly #lanes: LaneHandle[];
  /** As many are for large hosts, each started when it has one. */
  readonly #largeLanes: (LaneHandle | undefined)[] = [];
  readonly #startLarge: (index: number) => LaneHandle;
  readonly #shared: SharedStore;
  readonly #log: Log;
  readonly #serve: boolean;
  /** Where they listen. */
  #place: { host: string; port: number } | undefined;
  #closed: Promise<void> | undefined;
  #made = 0;

  constructor(options: PoolOptions) {
    const {
      store,
      log,
      lanes,
      allowServiceDeath,
      check = false,
      commandTime,
      limits,
      resourceLimits,
      server,
    } = options;
    const { memory: bytes = Number.POSITIVE_INFINITY, mostObjects = MOST_OBJECTS } = options;
    const onLost = (cause: unknown): void => {
      log.error({ err: cause }, 'the lanes have lost the store: all of them begin anew');
      for (const lane of this.#all) void lane.kill();
    };
    const shared = store.share(lanes, onLost);
    const memory = newHostMemory(bytes, 2 * lanes);
    const aside = new Aside();
    const start = (lane: number, own: Partial<LaneHandleOptions> & { mostObjects?: number }): LaneHandle => {
      const { mostObjects, ...more } = own;
      return new LaneHandle({
        settings: {
          lane,
          allowServiceDeath,
          check,
          commandTime,
          memory,
          ...(mostObjects === undefined ? {} : { mostObjects }),
        },
        log,
        limits,
        aside,
        large: () => this.large,
        resourceLimits,
        pass: () => shared.pass(lane),
        onWord: (word) => this.#hear(lane, word),
        onReady: () => {},
        onDeath: () => this.#tell({ died: lane }),
        onAside: (known) => this.#tell({ aside: known }),
        ...more,
      });
    };
    const more = (): object => ({ ...server?.settings, lanes, damage: store.damage.news });
    const started = Array.from({ length: lanes }, (_, lane) => {
      const onReady = (): void => void this.#listenAgain(lane);
      return start(lane, { mostObjects, ...(server && { program: { start: server.start, more }, onReady }) });
    });
    super({
      lanes: started,
      large: (index) => this.#large(index),
      aside,
      stop: () => Promise.all(this.#all.map((lane) => lane.stop())),
    });
    this.#lanes = started;
    this.#startLarge = (index) => start(lanes + index, {});
    this.#store = store;
    this.#shared = shared;
    this.#log = log;
    this.#serve = server !== undefined;
    store.damage.onNews = (damage) => this.#tell({ damage });
  }

  get #all(): LaneHandle[] {
    return [...this.#lanes, ...this.#startedLarge];
  }

  get #startedLarge(): LaneHandle[] {
    return this.#largeLanes.filter((lane) => lane !== undefined);
  }

  #large(index: number): LaneHandle {
    this.#largeLanes[index] ??= this.#startLarge(index);
    return this.#largeLanes[index];
  }

  /** Lanes take turns. */
  override newHostId(): string {
    this.#made += 1;
    return newHostId(this.#made % this.#lanes.length, this.#lanes.length);
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
      await this.ask(hostId, { ask: 'boot', hostId });
    } catch (error) {
      // One that is set aside has been told of.
      if (this.setAside(hostId) === null) throw error;
    }
  }

  /** From now on HTTP is served there, by whichever threads are in the places of the lanes. */
  async listen(host: string, port: number): Promise<ListenAnswer> {
    // Several can listen together, and so could another program with them, which would not be noticed.
    const own = this.#lanes.length === 1 ? { port } : await freePort(host, port);
    if (!('port' in own)) return own;
    const asked = this.#lanes.map((lane) => lane.ask<ListenAnswer>({ ask: 'listen', host, ...own }));
    const [answer, ...others] = await Promise.all(asked);
    const failed = [answer!, ...others].find((one) => !('address' in one) && one.code !== CANNOT_SHARE);
    if (failed !== undefined || !('address' in answer!)) return failed ?? answer!;
    this.#place = { host, port: Number(new URL(answer.address).port) };
    return answer;
  }

  /** Another thread has taken the place of one that listened. */
  async #listenAgain(lane: number): Promise<void> {
    if (this.#place === undefined) return;
    const { host, port } = this.#place;
    try {
      const answer = await this.#lanes[lane]!.ask<ListenAnswer>({ ask: 'listen', host, port });
      if ('address' in answer || answer.code === CANNOT_SHARE) return;
      this.#log.error({ lane, host, port, why: answer.message }, 'a lane cannot listen again yet');
      await setTimeout(LISTEN_AGAIN_MS, undefined, { ref: false });
      return await this.#listenAgain(lane);
    } catch {
      // It has died as well: the next one is told when it is ready.
    }
  }

  /** Resolves when no request is under way any more, and nobody is connected. */
  async hangUp(): Promise<void> {
    this.#place = undefined;
    try {
      await Promise.all(this.#lanes.map((lane) => lane.ask({ ask: 'hangUp' })));
    } catch (error) {
      this.#log.error({ err: error }, 'connections did not end in order');
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await Promise.all(this.#all.map((lane) => lane.rest()));
    // The first lane may be the one that writes.
    await Promise.all(this.#startedLarge.map((lane) => lane.close()));
    await Promise.all(this.#lanes.map((lane) => lane.close()));
    await this.#shared.close().catch((error) => this.#log.error({ err: error }, 'the store did not stop in order'));
  }

  /** For tests: ends the thread of a host in the middle of whatever it does. */
  async kill(hostId: string): Promise<void> {
    await this.#laneOf(hostId).kill();
  }

  #laneOf(hostId: string): LaneHandle {
    const index = laneOf(hostId, this.#lanes.length);
    return this.isLarge(hostId) ? this.#large(index) : this.#lanes[index]!;
  }

  #hear(lane: number, word: HeardWord): void {
    if (word === 'stop lanes') void this.stop();
    else if ('connect' in word) this.#connect(word.connect, word.port);
    else if ('found' in word) this.#store.damage.add(word.found);
    else {
      this.hear(word);
      if ('damage' in word) this.#store.damage.hear(word.damage);
      this.#tell(word, lane);
    }
  }

  #connect(lane: number, port: MessagePort): void {
    (this.#lanes[lane] ?? this.#large(lane - this.#lanes.length)).connect(port);
  }

  /** Tells the lanes that are concerned, but for the one that has said it. */
  #tell(told: Exclude<LaneTold, { door: MessagePort }>, from?: number): void {
    // Whoever runs hosts must know which not to run; the rest is for those that serve.
    const isForAll = 'aside' in told || 'retried' in told || 'removed' in told;
    const concerned = isForAll ? this.#all : this.#serve ? this.#lanes : [];
    for (const lane of concerned) if (lane.number !== from) lane.tell(told);
  }
}
