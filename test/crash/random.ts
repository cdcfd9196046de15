/** Choices that a seed decides. */
import { hash } from 'node:crypto';

export class Random {
  #state: number;

  /** Who asks, and of which run: each has choices of its own, whatever the others do. */
  constructor(...seed: (string | number)[]) {
    this.#state = Number.parseInt(hash('sha256', seed.join('/'), 'hex').slice(0, 8), 16);
  }

  /** From 0 to, and without, 1 (mulberry32). */
  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number below. */
  below(count: number): number {
    return Math.floor(this.#next() * count);
  }

  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  chance(probability: number): boolean {
    return this.#next() < probability;
  }

  /** Undefined of nothing. */
  pick<T>(list: readonly T[]): T | undefined {
    return list[this.below(list.length)];
  }

  /** One of them, as often as its weight says; at least one weight must not be 0. */
  weighted<T>(choices: readonly (readonly [weight: number, choice: T])[]): T {
    let place = this.#next() * choices.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, choice] of choices) {
      place -= weight;
      if (place < 0) return choice;
    }
    return choices.at(-1)![1];
  }
}
