/** How full the heap of this thread is. One that is filled to its end takes the thread with it, and all of its hosts. */
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** From here on it is full; the rest is for what is under way. */
const FULL = 0.8;
/** It is measured so often at the most, in milliseconds, as that takes some microseconds. */
const MEASURE_MS = 20;
/** What nobody needs any more is collected so often at the most, in milliseconds: of a full heap that takes up to a second. */
const COLLECT_MS = 10_000;

export interface HeapOptions {
  /** What part of it is used, with what nobody needs any more: 1 is its end. */
  used?: () => number;
  collect?: () => void;
}

export class Heap {
  readonly #used: () => number;
  readonly #collect: () => void;
  #full = false;
  #measured = Number.NEGATIVE_INFINITY;
  #collected = Number.NEGATIVE_INFINITY;

  constructor({ used = usedOfThread, collect = collectInThread }: HeapOptions = {}) {
    this.#used = used;
    this.#collect = collect;
  }

  get isFull(): boolean {
    const now = performance.now();
    if (now - this.#measured < MEASURE_MS) return this.#full;
    this.#full = this.#used() > FULL;
    // V8 collects when it comes to that, which may be later than this.
    if (this.#full && now - this.#collected >= COLLECT_MS) this.collect();
    this.#measured = performance.now();
    return this.#full;
  }

  /** Much is not needed any more. */
  collect(): void {
    this.#collect();
    this.#full = this.#used() > FULL;
    this.#measured = performance.now();
    this.#collected = this.#measured;
  }
}

function usedOfThread(): number {
  const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics();
  return used / limit;
}

function collectInThread(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}
