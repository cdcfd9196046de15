/** A set that takes next to no room while it is empty, as `lazy-map.ts` has maps. */
export class LazySet<T> implements Iterable<T> {
  private _set: Set<T> | null = null;

  get size(): number {
    return this._set?.size ?? 0;
  }

  has(item: T): boolean {
    return this._set?.has(item) ?? false;
  }

  add(item: T): void {
    this._set ??= new Set();
    this._set.add(item);
  }

  delete(item: T): boolean {
    if (!this._set?.delete(item)) return false;
    if (this._set.size === 0) this._set = null;
    return true;
  }

  values(): SetIterator<T> {
    return (this._set ?? (NOTHING as ReadonlySet<T>)).values();
  }

  [Symbol.iterator](): SetIterator<T> {
    return this.values();
  }
}

const NOTHING: ReadonlySet<unknown> = new Set();
