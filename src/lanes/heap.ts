/**
 * What this thread has in memory. A heap that is filled to its end takes the thread with it, and all of its hosts; typed
 * arrays lie outside of it, and have no end but that of the machine.
 */
import { getHeapStatistics } from 'node:v8';
import { collectInThread } from '../threads/collect.ts';

/** From here on it is full; the rest is for what is under way. */
const FULL = 0.8;
/** It is measured so often at the most, in milliseconds, as that takes some microseconds. */
const MEASURE_MS = 20;
/** What nobody needs any more is collected so often at the most, in milliseconds: of a full heap that takes up to a second. */
const COLLECT_MS = 10_000;

/** With what nobody needs any more. */
export interface HeapUse {
  /** What part of the heap: 1 is its end. */
  part: number;
  /** In it and outside of it. */
  bytes: number;
}

export interface HeapOptions {
  used?: () => HeapUse;
  collect?: () => void;
}

export class Heap {
  readonly #used: () => HeapUse;
  readonly #collect: () => void;
  #use: HeapUse;
  #measured = Number.NEGATIVE_INFINITY;
  #collected = Number.NEGATIVE_INFINITY;

  constructor({ used = usedOfThread, collect = collectInThread }: HeapOptions = {}) {
    this.#used = used;
    this.#collect = collect;
    this.#use = used();
  }

  /** Bytes, as of the last 20 ms. */
  get bytes(): number {
    this.#look();
    return this.#use.bytes;
  }

  get isFull(): boolean {
    this.#look();
    return this.#use.part > FULL;
  }

  #look(): void {
    const now = performance.now();
    if (now - this.#measured < MEASURE_MS) return;
    this.#use = this.#used();
    // V8 collects when it comes to that, which may be later than this.
    if (this.#use.part > FULL && now - this.#collected >= COLLECT_MS) this.collect();
    this.#measured = performance.now();
  }

  /** Much is not needed any more. */
  collect(): void {
    this.#collect();
    this.#use = this.#used();
    this.#measured = performance.now();
    this.#collected = this.#measured;
  }
}

function usedOfThread(): HeapUse {
  const { used_heap_size: used, heap_size_limit: limit, external_memory: outside } = getHeapStatistics();
  return { part: used / limit, bytes: used + outside };
}
