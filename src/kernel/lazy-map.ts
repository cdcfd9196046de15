/** A map that takes next to no room while it is empty: there are kernels by the thousand, and most have little of most things. */
export class LazyMap<K, V> implements ReadonlyMap<K, V> {
  private _map: Map<K, V> | null = null;

  get size(): number {
    return this._map?.size ?? 0;
  }

  get(key: K): V | undefined {
    return this._map?.get(key);
  }

  has(key: K): boolean {
    return this._map?.has(key) ?? false;
  }

  set(key: K, value: V): void {
    this._map ??= new Map();
    this._map.set(key, value);
  }

  delete(key: K): boolean {
    if (!this._map?.delete(key)) return false;
    if (this._map.size === 0) this._map = null;
    return true;
  }

  forEach(call: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this) call(value, key, this);
  }

  keys(): MapIterator<K> {
    return this._all.keys();
  }

  values(): MapIterator<V> {
    return this._all.values();
  }

  entries(): MapIterator<[K, V]> {
    return this._all.entries();
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this._all.entries();
  }

  private get _all(): ReadonlyMap<K, V> {
    return this._map ?? (NOTHING as ReadonlyMap<K, V>);
  }
}

const NOTHING: ReadonlyMap<unknown, unknown> = new Map();
