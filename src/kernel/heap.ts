/** What comes next of many: a binary heap. */
export class Heap<Item> {
  private readonly _items: Item[] = [];
  private readonly _isBefore: (a: Item, b: Item) => boolean;

  constructor(isBefore: (a: Item, b: Item) => boolean) {
    this._isBefore = isBefore;
  }

  get size(): number {
    return this._items.length;
  }

  /** The item that comes before all others. */
  get first(): Item | undefined {
    return this._items[0];
  }

  add(item: Item): void {
    const items = this._items;
    let at = items.length;
    items.push(item);
    for (let above = (at - 1) >>> 1; at > 0 && this._isBefore(item, items[above]!); above = (at - 1) >>> 1) {
      items[at] = items[above]!;
      at = above;
    }
    items[at] = item;
  }

  /** Takes `first` away. */
  removeFirst(): void {
    const items = this._items;
    const last = items.pop();
    if (last === undefined || items.length === 0) return;
    let at = 0;
    for (let below = 1; below < items.length; below = 2 * at + 1) {
      if (below + 1 < items.length && this._isBefore(items[below + 1]!, items[below]!)) below++;
      if (!this._isBefore(items[below]!, last)) break;
      items[at] = items[below]!;
      at = below;
    }
    items[at] = last;
  }
}
