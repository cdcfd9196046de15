/** Which numbers are taken, one bit each, so that the lowest free one is found without a look at each of those below it. */
const BITS = 32;
const FULL = -1;

export class TakenNumbers {
  /** A bit for each number, and one for each full word of these. */
  private readonly _words: number[] = [0];
  private readonly _full: number[] = [0];

  constructor(taken: Iterable<number> = []) {
    for (const number of taken) this.take(number);
  }

  take(number: number): void {
    const word = Math.floor(number / BITS);
    if (word >= this._words.length) this._grow(word);
    this._words[word]! |= 1 << (number % BITS);
    if (this._words[word] === FULL) this._full[Math.floor(word / BITS)]! |= 1 << (word % BITS);
  }

  give(number: number): void {
    const word = Math.floor(number / BITS);
    if (word >= this._words.length) return;
    this._words[word]! &= ~(1 << (number % BITS));
    this._full[Math.floor(word / BITS)]! &= ~(1 << (word % BITS));
  }

  /** The lowest number from one on that is not taken. */
  firstFree(from: number): number {
    const word = Math.floor(from / BITS);
    const here = lowestZero(this._words[word] ?? 0, from % BITS);
    if (here < BITS) return word * BITS + here;
    let group = Math.floor((word + 1) / BITS);
    let other = lowestZero(this._full[group] ?? 0, (word + 1) % BITS);
    while (other === BITS) other = lowestZero(this._full[++group] ?? 0, 0);
    const free = group * BITS + other;
    return free * BITS + lowestZero(this._words[free] ?? 0, 0);
  }

  private _grow(word: number): void {
    while (this._words.length <= word) this._words.push(0);
    while (this._full.length < this._words.length / BITS) this._full.push(0);
  }
}

/** Returns the lowest bit from one on that is 0; 32 if there is none. */
function lowestZero(word: number, from: number): number {
  const zeroes = ~word & (FULL << from);
  return zeroes === 0 ? BITS : 31 - Math.clz32(zeroes & -zeroes);
}
