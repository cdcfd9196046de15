/**
 * Which hosts of a lane are in memory. When the hosts of all lanes together take more than they may, those leave that
 * nobody has used for longest: in each lane that has more than its share, until it has not or there is room. The one used
 * last stays, so that a host larger than all that there is room for can be worked with, too.
 */
import type { HostUse } from '../host/footprint.ts';
import type { Log } from '../log.ts';
import { Heap } from './heap.ts';
import type { HostRunner } from './runner.ts';

/** What the hosts of all lanes may take. */
export interface HostMemory {
  bytes: number;
  /** What they take now, in KiB, by lane. All lanes see it. */
  used: Int32Array;
}

export const newHostMemory = (bytes: number, lanes: number): HostMemory => ({
  bytes,
  used: new Int32Array(new SharedArrayBuffer(4 * Math.max(lanes, 1))),
});

/** One that leaves memory since it is deleted is not known any more. */
export function noteUse(uses: Map<string, HostUse>, hostId: string, use: HostUse): void {
  if (use.memory > 0 || uses.has(hostId)) uses.set(hostId, use);
}

/**
 * A host with more bytes of objects than this is large: collecting the garbage of a lane that has a hundred smaller ones takes
 * some milliseconds. So is one with so many times as many bytes in typed arrays, which take their time where they are copied.
 */
export const MOST_OBJECTS = 2 ** 22;
const TIMES_IN_ARRAYS = 4;

/** In bytes. */
const LEAST_HOST = 2 ** 27;

/** Another lane may have come to take more: then it is this one that has to make room. */
const LOOK_MS = 1000;
/**
 * So much garbage need not be in memory of an idle thread: bytes, and how often that is mended, in milliseconds. Ordinary
 * lanes serve HTTP, and their clients wait while garbage is collected.
 */
const SLACK = { ordinary: 2 ** 26, large: 2 ** 25 };
const COLLECT_MS = 10_000;
/** A thread is idle that has worked for so much of the time since it was looked at last, or less: else V8 collects soon anyway. */
const IDLE = 0.1;
/** Who reads the log is told so often at the most. */
const TELL_MS = 60_000;

export interface ResidentsOptions {
  log: Log;
  /** Default: whatever they need. */
  memory?: HostMemory;
  /** The number of the lane; default: there is only one. */
  lane?: number;
  /** A host with more bytes of objects than this (MOST_OBJECTS) is not for this lane; default: any is. */
  mostObjects?: number;
  /** Hears what a host takes, whenever that is found out. */
  onUse?: (hostId: string, use: HostUse) => void;
  /** Hosts that have left for lanes of large ones. */
  moved?: readonly string[];
  /** Hears of a host that has left since it has become too large for this lane. */
  onMove?: (hostId: string) => void;
  heap?: Heap;
}

export class Residents {
  /** By id; the one used last is the last one. */
  readonly #runners = new Map<string, HostRunner>();
  readonly #memory: HostMemory;
  readonly #lane: number;
  readonly #mostObjects: number;
  readonly #log: Log;
  readonly #timer: NodeJS.Timeout;
  readonly #onUse: ResidentsOptions['onUse'];
  readonly #onMove: ResidentsOptions['onMove'];
  /** Whoever has not heard of it yet, and asks here, is told again. */
  readonly #moved: Set<string>;
  readonly #heap: Heap;
  #newest: HostRunner | undefined;
  #bytes = 0;
  #makingRoom = false;
  #evicted = 0;
  #loaded = 0;
  #told = Number.NEGATIVE_INFINITY;
  #collected = Number.NEGATIVE_INFINITY;
  /** What is more than hosts take, and is no garbage. */
  #left: number;
  #alone = Promise.resolve();
  /** What the thread has worked until it was looked at last. */
  #work = performance.eventLoopUtilization();

  constructor(options: ResidentsOptions) {
    const {
      log,
      memory,
      lane = 0,
      mostObjects = Number.POSITIVE_INFINITY,
      onUse,
      onMove,
      moved,
      heap = new Heap(),
    } = options;
    this.#log = log;
    this.#onUse = onUse;
    this.#onMove = onMove;
    this.#moved = new Set(moved);
    this.#heap = heap;
    this.#left = heap.bytes;
    this.#memory = memory ?? newHostMemory(Number.POSITIVE_INFINITY, 1);
    this.#lane = lane;
    this.#mostObjects = mostObjects;
    // What the lane before this one had is gone with it.
    Atomics.store(this.#memory.used, lane, 0);
    this.#timer = setInterval(this.#look, LOOK_MS).unref();
  }

  /** Work that is to be at hand once at a time in this lane, of all hosts together, until what it says has settled, too. */
  alone<T>(work: () => Promise<T>, until: (value: T) => Promise<unknown>): Promise<T> {
    const done = this.#alone.then(work);
    this.#alone = done.then(until).then(
      () => {},
      () => {},
    );
    return done;
  }

  get count(): number {
    return this.#runners.size;
  }

  get all(): HostRunner[] {
    return [...this.#runners.values()];
  }

  /** The one with that id, which is used now; made where it is not there. */
  use(hostId: string, make: () => HostRunner): HostRunner {
    let runner = this.#runners.get(hostId);
    if (runner !== undefined && runner === this.#newest) return runner;
    if (runner === undefined) runner = make();
    else this.#runners.delete(hostId);
    this.#runners.set(hostId, runner);
    this.#newest = runner;
    return runner;
  }

  /** What a host takes, and so many bytes it is more than before, or fewer. */
  account(hostId: string, use: HostUse, bytes: number): void {
    this.#bytes += bytes;
    this.#onUse?.(hostId, use);
    Atomics.store(this.#memory.used, this.#lane, Math.round(this.#bytes / 1024));
  }

  /** What is in memory of this thread, in bytes. */
  get heapBytes(): number {
    return this.#heap.bytes;
  }

  /** More may one host not take that a command makes larger, in bytes. */
  get hostLimit(): number {
    return Math.max(this.#memory.bytes / 2, LEAST_HOST);
  }

  /** The thread is about to die of what is in its memory: nothing may be begun that takes more. */
  get isShort(): boolean {
    if (!this.#heap.isFull) return false;
    void this.#makeRoom();
    return true;
  }

  /** A host that takes so much is not for this lane. */
  isTooLarge(use: HostUse): boolean {
    return this.hasTooManyObjects(use) || use.memory > TIMES_IN_ARRAYS * this.#mostObjects;
  }

  hasTooManyObjects({ objects }: HostUse): boolean {
    return objects > this.#mostObjects;
  }

  /** From now on it is run in the lane of large hosts. */
  noteMove(hostId: string): void {
    this.#moved.add(hostId);
    this.#onMove?.(hostId);
  }

  hasMoved(hostId: string): boolean {
    return this.#moved.size > 0 && this.#moved.has(hostId);
  }

  /** It is deleted. */
  forget(hostId: string): void {
    this.#moved.delete(hostId);
  }

  noteLoad(): void {
    this.#loaded += 1;
  }

  /** Nobody wants anything of it for now. */
  rest(runner: HostRunner): void {
    if (runner.isEmpty) {
      this.#runners.delete(runner.hostId);
      if (this.#newest === runner) this.#newest = undefined;
    }
    if (this.#isTooMuch()) void this.#makeRoom();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #isTooMuch(): boolean {
    const { bytes, used } = this.#memory;
    if (this.#bytes <= bytes / used.length) return false;
    let all = 0;
    for (let lane = 0; lane < used.length; lane += 1) all += Atomics.load(used, lane);
    return all > bytes / 1024;
  }

  async #makeRoom(): Promise<void> {
    if (this.#makingRoom) return;
    this.#makingRoom = true;
    const isShort = this.#heap.isFull;
    // What is used meanwhile comes last.
    for (const runner of this.#runners.values()) {
      if (!isShort && !this.#isTooMuch()) break;
      if ((runner === this.#newest && !isShort) || !runner.isIdle) continue;
      if (await runner.leave()) this.#evicted += 1;
    }
    if (isShort) this.#heap.collect();
    this.#makingRoom = false;
  }

  /** Bytes that are more than what hosts take: garbage, and the program itself. */
  get #besideHosts(): number {
    return this.#heap.bytes - 1.25 * this.#bytes;
  }

  /**
   * V8 keeps what hosts have left in memory until it needs the room, which may be never. It is not done for little: programs that it
   * has compiled go along, where nothing that they are for is in memory just then, and are slow until they are compiled again.
   */
  #collect(): void {
    const before = this.#work;
    this.#work = performance.eventLoopUtilization();
    if (performance.eventLoopUtilization(this.#work, before).utilization > IDLE) return;
    const slack = this.#mostObjects === Number.POSITIVE_INFINITY ? SLACK.large : SLACK.ordinary;
    if (this.#besideHosts < this.#left + slack || performance.now() - this.#collected < COLLECT_MS) return;
    for (const runner of this.#runners.values()) if (!runner.isIdle) return;
    this.#heap.collect();
    this.#collected = performance.now();
    this.#left = Math.max(0, this.#besideHosts);
  }

  readonly #look = (): void => {
    this.#collect();
    if (this.#isTooMuch() || this.#heap.isFull) void this.#makeRoom();
    const now = performance.now();
    if (this.#evicted === 0 || now - this.#told < TELL_MS) return;
    this.#told = now;
    const [evicted, loaded] = [this.#evicted, this.#loaded];
    this.#evicted = 0;
    this.#loaded = 0;
    const mebibytes = Math.round(this.#bytes / 2 ** 20);
    this.#log.info(
      { lane: this.#lane, evicted, loaded, hosts: this.#runners.size, mebibytes },
      'hosts left memory, where there is not room for all (HOLDOVER_HOST_MEMORY), and others came back',
    );
  };
}
