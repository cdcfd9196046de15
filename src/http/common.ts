/**
 * What all threads that serve HTTP must agree on: how much each tenant has at the moment, whichever of them its requests have come to,
 * and who waits for what happens to which host. It is in memory that they share, so nobody is asked for it. Each thread writes
 * what it has itself, and all read the sum; if it dies, its successor has nothing, as its connections have ended with it.
 */
import { hash } from 'node:crypto';
import { hashOf } from '../threads/hash.ts';
import { Metrics, newMetricsMemory } from './metrics.ts';

/** About how many tenants are told apart from the start of the service on; what others have counts together. */
const TENANTS = 2 ** 14;
const OTHERS = TENANTS;
/** So many slots one may have, the first of them that is free. */
const CHOICE = 64;
/** Hosts share counters of those who wait for them. */
const WATCHED = 1024;

/** `bodies`: in KiB. `streams`: requests that wait for events. `creating`: hosts that are being made. */
const KINDS = ['bodies', 'streams', 'creating'] as const;
type Kind = (typeof KINDS)[number];

export interface CommonMemory {
  /** Threads that serve. */
  threads: number;
  /** A hash of the tenant, by slot; 0: none has it yet. */
  tenants: SharedArrayBuffer;
  /** By slot: see quotas/rate.ts. */
  rates: SharedArrayBuffer;
  /** By thread, kind and slot. */
  counts: SharedArrayBuffer;
  /** By thread, and by a hash of the host. */
  watched: SharedArrayBuffer;
  /** See metrics.ts. */
  metrics: SharedArrayBuffer;
}

const words = (count: number): SharedArrayBuffer => new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT * count);

export const newCommonMemory = (threads: number): CommonMemory => ({
  threads,
  tenants: new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT * TENANTS),
  rates: words(TENANTS + 1),
  counts: words(threads * KINDS.length * (TENANTS + 1)),
  watched: words(threads * WATCHED),
  metrics: newMetricsMemory(threads),
});

export class Common {
  readonly threads: number;
  readonly metrics: Metrics;
  readonly #thread: number;
  readonly #tenants: BigInt64Array;
  readonly #counts: Int32Array;
  readonly #watched: Int32Array;
  readonly #slots = new Map<string, number>();
  readonly rates: Int32Array;

  /** `thread`: the number of this one among those that serve. */
  constructor(memory: CommonMemory = newCommonMemory(1), thread = 0) {
    this.threads = memory.threads;
    this.metrics = new Metrics(memory.metrics, thread);
    this.#thread = thread;
    this.#tenants = new BigInt64Array(memory.tenants);
    this.rates = new Int32Array(memory.rates);
    this.#counts = new Int32Array(memory.counts);
    this.#watched = new Int32Array(memory.watched);
    // What the thread before this one had is gone with it.
    this.#counts.fill(0, this.#countsOf(thread), this.#countsOf(thread + 1));
    this.#watched.fill(0, thread * WATCHED, (thread + 1) * WATCHED);
  }

  /** This thread has so much more of a tenant, or less. Returns what all have: of two that add at a time one sees both. */
  add(kind: Kind, tenantId: string, amount: number): number {
    Atomics.add(this.#counts, this.#place(kind, tenantId), amount);
    return this.of(kind, tenantId);
  }

  /** What all threads have of a tenant. */
  of(kind: Kind, tenantId: string): number {
    const own = this.#place(kind, tenantId) - this.#countsOf(this.#thread);
    let sum = 0;
    for (let thread = 0; thread < this.threads; thread += 1)
      sum += Atomics.load(this.#counts, own + this.#countsOf(thread));
    return sum;
  }

  /** So many more wait here for what happens to a host, or fewer. What is stored from then on, `isWatchedElsewhere` tells of. */
  watch(hostId: string, amount: number): void {
    Atomics.add(this.#watched, this.#thread * WATCHED + (hashOf(hostId) % WATCHED), amount);
  }

  /** Whether somebody may wait for a host in another thread. */
  isWatchedElsewhere(hostId: string): boolean {
    if (this.threads === 1) return false;
    const counter = hashOf(hostId) % WATCHED;
    for (let thread = 0; thread < this.threads; thread += 1)
      if (thread !== this.#thread && Atomics.load(this.#watched, thread * WATCHED + counter) > 0) return true;
    return false;
  }

  /** Of a tenant, the same in all threads. */
  slotOf(tenantId: string): number {
    const known = this.#slots.get(tenantId);
    if (known !== undefined) return known;
    const slot = this.#findSlot(tenantId);
    if (this.#slots.size > TENANTS) this.#slots.clear();
    this.#slots.set(tenantId, slot);
    return slot;
  }

  #findSlot(tenantId: string): number {
    // 0 is none.
    const own = hash('sha256', tenantId, 'buffer').readBigInt64LE() || 1n;
    const first = Number(BigInt.asUintN(32, own)) % TENANTS;
    for (let tried = 0; tried < CHOICE; tried += 1) {
      const slot = (first + tried) % TENANTS;
      const owner = Atomics.compareExchange(this.#tenants, slot, 0n, own);
      if (owner === 0n || owner === own) return slot;
    }
    return OTHERS;
  }

  #place(kind: Kind, tenantId: string): number {
    return this.#countsOf(this.#thread) + KINDS.indexOf(kind) * (TENANTS + 1) + this.slotOf(tenantId);
  }

  /** Where those of a thread begin. */
  #countsOf(thread: number): number {
    return thread * KINDS.length * (TENANTS + 1);
  }
}
