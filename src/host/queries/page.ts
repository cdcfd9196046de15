/** Pages of lists: no answer is longer than somebody wants to read, however many items there are, or however large they are. */
import { LIST_BYTES, MAX_LISTED } from '../../limits.ts';
import { hex } from '../../machine/address.ts';
import { ok } from '../answers.ts';
import type { Answer, Paging } from '../command.ts';

type Key = number | bigint | string;

export interface ListOf<Item, View> {
  /** In the order of the list. */
  items: Iterable<Item>;
  view: (item: Item) => View;
  /** Its place in the list, which does not change when others come and go. */
  key: (item: Item) => Key;
  /** About how many bytes an item has as JSON, where they differ much. */
  size?: (view: View) => number;
}

const USUAL_BYTES = 256;

/** The page that is asked for, and where the next one begins; without a limit all items as they are. */
export function listAnswer<Item, View>({ limit, after }: Paging, list: ListOf<Item, View>): Answer {
  const { view, key, size = () => USUAL_BYTES } = list;
  if (limit === undefined) return ok([...list.items].map(view));
  const items: View[] = [];
  let bytes = 0;
  let last: Key = '';
  for (const item of list.items) {
    const place = key(item);
    if (after !== undefined && place <= keyOf(after, place)) continue;
    if (items.length > 0 && (items.length >= limit || bytes >= LIST_BYTES))
      return ok({ items, nextPageToken: typeof last === 'bigint' ? hex(last) : String(last) });
    const shown = view(item);
    items.push(shown);
    bytes += size(shown);
    last = place;
  }
  return ok({ items, nextPageToken: null });
}

/** What a token stands for in a list of such keys. */
function keyOf(token: string, like: Key): Key {
  return typeof like === 'string' ? token : typeof like === 'bigint' ? BigInt(token) : Number(token);
}

/** A list within another answer: its first items. */
export const firstOf = <Item>(items: Iterable<Item>): readonly Item[] => [...Iterator.from(items).take(MAX_LISTED)];

/** How many items of lists within an answer are left out, by list; nothing where none is. */
export function leftOut<Name extends string>(lists: Record<Name, number>): { more?: Record<Name, number> } {
  const entries = Object.entries<number>(lists).map(([name, length]) => [name, Math.max(length - MAX_LISTED, 0)]);
  return entries.some(([, count]) => count !== 0) ? { more: Object.fromEntries(entries) as Record<Name, number> } : {};
}
