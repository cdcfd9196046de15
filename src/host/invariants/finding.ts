/** What a walk through a host finds: something that is counted, or kept twice, and does not agree. */

export interface Finding {
  /** Such as `users`, `pins` or `owner`. */
  readonly what: string;
  readonly where: string;
  /** What it has to be, by all that it is counted from. */
  readonly expected: string;
  /** What it is. */
  readonly found: string;
}

export const sentenceOf = ({ what, where, expected, found }: Finding): string =>
  `${what} of ${where}: ${found}, and it has to be ${expected}`;

type Value = string | number | bigint | boolean | null;

/** Where one thing is wrong, many may be: no more than these are told at once. */
const MOST = 100;

/** Findings that nobody has taken yet. */
export class Findings {
  private _list: Finding[] = [];

  /** Whether there is room for more. */
  get full(): boolean {
    return this._list.length >= MOST;
  }

  note(what: string, where: string, expected: Value, found: Value): void {
    if (!this.full) this._list.push({ what, where, expected: String(expected), found: String(found) });
  }

  /** Notes it unless both are the same. */
  same(what: string, where: string, expected: Value, found: Value): void {
    if (expected !== found) this.note(what, where, expected, found);
  }

  /** A count against those who are counted. */
  count(what: string, where: string, holders: readonly string[], found: number): void {
    if (holders.length === found) return;
    const names = holders.length > 0 ? ` (${holders.slice(0, MOST_NAMES).join(', ')})` : '';
    this.note(what, where, `${holders.length}${names}`, found);
  }

  /** Two sets of things that have to be the same. */
  set<T>(what: string, where: string, expected: Iterable<T>, found: Iterable<T>, name: (item: T) => string): void {
    const wanted = new Set(expected);
    const there = [...found];
    for (const item of there) if (!wanted.delete(item)) this.note(what, where, `without ${name(item)}`, 'with it');
    for (const item of wanted) this.note(what, where, `with ${name(item)}`, 'without it');
  }

  take(): Finding[] {
    const list = this._list;
    this._list = [];
    return list;
  }
}

/** Holders that a sentence names. */
const MOST_NAMES = 8;

/** Who holds what. */
export class Tally<T> {
  private readonly _holders = new Map<T, string[]>();

  /** Something is there, whether anybody holds it or not; false: that was known. */
  meet(item: T): boolean {
    if (this._holders.has(item)) return false;
    this._holders.set(item, []);
    return true;
  }

  add(item: T, holder: string): void {
    const holders = this._holders.get(item);
    if (holders) holders.push(holder);
    else this._holders.set(item, [holder]);
  }

  of(item: T): readonly string[] {
    return this._holders.get(item) ?? [];
  }

  items(): Iterable<T> {
    return this._holders.keys();
  }
}
