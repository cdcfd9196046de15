/** From numbers that fast-check draws to choices. Small ones are plain choices, so that a failure shrinks to them. */
export class Picks {
  readonly #numbers: readonly number[];
  #next = 0;

  constructor(numbers: readonly number[]) {
    this.#numbers = numbers;
  }

  /** 0 to count - 1. */
  below(count: number): number {
    const number = this.#numbers[this.#next++ % this.#numbers.length]!;
    return count === 0 ? 0 : number % count;
  }

  one<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }

  /** True once in so many times. */
  rarely(times: number): boolean {
    return this.below(times) === times - 1;
  }

  /** The last choice once in so many times, else one of the first list. */
  mostly<T>(usual: readonly T[], times: number, odd: readonly T[]): T {
    const picked = this.rarely(times) || usual.length === 0 ? odd : usual;
    return this.one(picked);
  }
}
