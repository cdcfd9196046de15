/**
 * What small numbers stand for, in pages of an array. A Map keeps what was deleted in its chains until it grows, so that a number
 * which is given and taken back again and again takes longer each time.
 */
const PAGE = 64;

export class NumberTable<T> {
  private readonly _pages: (T | undefined)[][] = [];
  private _size = 0;

  get size(): number {
    return this._size;
  }

  get(number: number): T | undefined {
    return this._pages[Math.floor(number / PAGE)]?.[number % PAGE];
  }

  has(number: number): boolean {
    return this.get(number) !== undefined;
  }

  /** `number`: of those that somebody gives from the lowest one on, or within a limit. */
  set(number: number, item: T): void {
    const at = Math.floor(number / PAGE);
    while (this._pages.length <= at) this._pages.push([]);
    const page = this._pages[at]!;
    while (page.length <= number % PAGE) page.push(undefined);
    if (page[number % PAGE] === undefined) this._size++;
    page[number % PAGE] = item;
  }

  delete(number: number): void {
    const page = this._pages[Math.floor(number / PAGE)];
    if (page?.[number % PAGE] === undefined) return;
    page[number % PAGE] = undefined;
    this._size--;
  }

  /** Ascending. */
  *keys(): Generator<number> {
    for (const [number] of this) yield number;
  }

  *values(): Generator<T> {
    for (const [, item] of this) yield item;
  }

  *[Symbol.iterator](): Generator<[number, T]> {
    for (const [at, page] of this._pages.entries())
      for (const [within, item] of page.entries()) if (item !== undefined) yield [at * PAGE + within, item];
  }
}
