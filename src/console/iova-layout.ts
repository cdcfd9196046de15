/**
 * From the ranges of an IO address space to a picture of it. The space has 2^64 addresses, and is mostly empty: it is drawn as pieces, with
 * the empty space between them left out. In a piece what is drawn is the wider the longer it is, but only by the logarithm.
 */

/** Both are in it. */
export interface Range {
  readonly start: bigint;
  readonly last: bigint;
}

/** Neighbours that are drawn as one box; `bytes`: of them together, without what lies between them. */
export interface Group<Item extends Range> extends Range {
  readonly items: readonly Item[];
  readonly bytes: bigint;
}

interface Placed<What> {
  readonly what: What;
  readonly x: number;
  readonly width: number;
}

export interface Piece<Item extends Range> extends Range {
  /** Empty addresses before it. */
  readonly empty: bigint;
  readonly width: number;
  readonly boxes: readonly Placed<Group<Item>>[];
  readonly reserved: readonly Placed<Group<Range>>[];
  /** Parts of allowed ranges that lie in it. */
  readonly allowed: readonly Placed<Range>[];
}

export interface Layout<Item extends Range> {
  readonly pieces: readonly Piece<Item>[];
  /** Empty addresses behind the last piece. */
  readonly empty: bigint;
}

const END = 1n << 64n;
/** So much empty space is left out; a piece behind less of it goes on with the one before. */
export const BREAK = 16n << 20n;
/** In pixels: a piece fits the screen of a phone. */
const WIDEST = 300;
const LEAST = 24;
/** For each doubling, of what is drawn and of what is empty. */
const GROWTH = 2.4;
const EMPTY_GROWTH = 1;
/** Of a digit of how many a box stands for. */
const DIGIT = 7;

export const lengthOf = ({ start, last }: Range): bigint => last - start + 1n;

/** Ascending, and none touches another one. */
export function union(ranges: readonly Range[]): Range[] {
  const found: Range[] = [];
  for (const range of ranges.toSorted((a, b) => (a.start < b.start ? -1 : 1))) {
    const before = found.at(-1);
    if (before === undefined || range.start > before.last + 1n) found.push(range);
    else if (range.last > before.last) found[found.length - 1] = { start: before.start, last: range.last };
  }
  return found;
}

/**
 * Ascending ranges as at most so many groups: they are parted where most space lies between them, and evenly where it is the same
 * everywhere.
 */
export function grouped<Item extends Range>(items: readonly Item[], most: number): Group<Item>[] {
  if (items.length <= most) return items.map((item) => ({ ...ends([item]), items: [item], bytes: lengthOf(item) }));
  const gaps = new BigUint64Array(items.length - 1);
  for (let index = 0; index < gaps.length; index++) {
    const gap = items[index + 1]!.start - items[index]!.last - 1n;
    gaps[index] = gap > 0n ? gap : 0n;
  }
  const least = gaps.toSorted()[gaps.length - most + 1] ?? END;
  let wider = 0;
  let alike = 0;
  for (const gap of gaps) {
    if (gap > least) wider++;
    else if (gap === least) alike++;
  }
  const groups: Group<Item>[] = [];
  let from = 0;
  let passed = 0;
  const close = (behind: number): void => {
    const of = items.slice(from, behind);
    groups.push({ ...ends(of), items: of, bytes: of.reduce((sum, item) => sum + lengthOf(item), 0n) });
    from = behind;
  };
  for (const [index, gap] of gaps.entries())
    if (gap > least || (gap === least && isNext(++passed, alike, most - 1 - wider))) close(index + 1);
  close(items.length);
  return groups;
}

/** Whether one of the `wanted` cuts, which lie evenly between `all` of them, is at the `nth`. */
const isNext = (nth: number, all: number, wanted: number): boolean => {
  const cutsUpTo = (index: number): number => Math.floor((index * (wanted + 1)) / (all + 1));
  return cutsUpTo(nth) > cutsUpTo(nth - 1);
};

const ends = (items: readonly Range[]): Range => ({ start: items[0]!.start, last: items.at(-1)!.last });

/** Groups of mappings and of reserved ranges, and allowed ranges: all ascending. */
export function layout<Item extends Range>(
  boxes: readonly Group<Item>[],
  reserved: readonly Group<Range>[],
  allowed: readonly Range[],
): Layout<Item> {
  const filled = [...boxes, ...reserved];
  // Where nothing is mapped an allowed range is to be seen, too.
  const bare = allowed.filter((range) => !filled.some((item) => touch(item, range)));
  const items = [...filled, ...bare].sort((a, b) => (a.start < b.start ? -1 : 1));
  const pieces: Piece<Item>[] = [];
  let open: Range[] = [];
  let width = 0;
  let last = -1n;
  const close = (): void => {
    const before = pieces.at(-1)?.last ?? -1n;
    if (open.length > 0)
      pieces.push(piece({ start: open[0]!.start, last }, before, { boxes, reserved, allowed, bare }));
    open = [];
    width = 0;
  };
  for (const item of items) {
    const empty = item.start - last - 1n;
    if (empty >= BREAK || (empty >= 0n && width + widthOf(item) > WIDEST)) close();
    width += widthOf(item) + (open.length > 0 ? emptyWidth(empty) : 0);
    open.push(item);
    if (item.last > last) last = item.last;
  }
  close();
  return { pieces, empty: END - 1n - last };
}

const touch = (one: Range, other: Range): boolean => one.start <= other.last && one.last >= other.start;

const doublings = (length: bigint): number => Math.max(0, (length >> 12n).toString(2).length - 1);

function widthOf(item: Range | Group<Range>): number {
  const many = 'items' in item && item.items.length > 1 ? DIGIT * (String(item.items.length).length + 2) : 0;
  return Math.max(LEAST + GROWTH * doublings(lengthOf(item)), many);
}

const emptyWidth = (length: bigint): number => (length > 0n ? 3 + EMPTY_GROWTH * doublings(length) : 0);

interface Parts<Item extends Range> {
  boxes: readonly Group<Item>[];
  reserved: readonly Group<Range>[];
  allowed: readonly Range[];
  bare: readonly Range[];
}

function piece<Item extends Range>(whole: Range, before: bigint, parts: Parts<Item>): Piece<Item> {
  const within = <Of extends Range>(ranges: readonly Of[]): Of[] => ranges.filter((range) => touch(range, whole));
  const [boxes, reserved, bare] = [within(parts.boxes), within(parts.reserved), within(parts.bare)];
  const lines = within(parts.allowed).map(({ start, last }) => ({
    start: start > whole.start ? start : whole.start,
    last: last < whole.last ? last : whole.last,
  }));
  const filled = [...boxes, ...reserved, ...bare];
  // All ends of what is in it, and where they are drawn.
  const places = new Map<bigint, number>();
  const cuts = [...filled, ...lines].flatMap(({ start, last }) => [start, last + 1n]).sort((a, b) => (a < b ? -1 : 1));
  let x = 0;
  let from = whole.start;
  for (const cut of cuts) {
    if (cut > from) {
      const stretch = { start: from, last: cut - 1n };
      const over = filled.filter((item) => touch(item, stretch));
      x += over.length === 0 ? emptyWidth(cut - from) : Math.max(...over.map((item) => partOf(item, stretch)));
    }
    places.set(cut, x);
    from = cut;
  }
  const place = <Of extends Range>(what: Of): Placed<Of> => {
    const left = places.get(what.start)!;
    return { what, x: left, width: places.get(what.last + 1n)! - left };
  };
  return {
    ...whole,
    empty: whole.start - before - 1n,
    width: x,
    boxes: boxes.map(place),
    reserved: reserved.map(place),
    allowed: lines.map(place),
  };
}

/** One that is cut is as wide as its parts. */
const partOf = (item: Range, stretch: Range): number =>
  item.start === stretch.start && item.last === stretch.last ? widthOf(item) : widthOf(stretch);
