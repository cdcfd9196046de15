/** How often each number of a row is covered by some ranges. */

export interface Covered {
  first: number;
  last: number;
  count: number;
}

/** Of pairs of the first and the last number of a range: ascending, disjoint, equal neighbours as one. */
export function summed(pairs: readonly number[]): Covered[] {
  const changes: { at: number; by: number }[] = [];
  for (let at = 0; at < pairs.length; at += 2)
    changes.push({ at: pairs[at]!, by: 1 }, { at: pairs[at + 1]! + 1, by: -1 });
  changes.sort((a, b) => a.at - b.at);
  const ranges: Covered[] = [];
  let count = 0;
  let from = 0;
  for (const { at, by } of changes) {
    const left = ranges[ranges.length - 1];
    if (count > 0 && at > from) {
      if (left && left.last + 1 === from && left.count === count) left.last = at - 1;
      else ranges.push({ first: from, last: at - 1, count });
    }
    from = at;
    count += by;
  }
  return ranges;
}

export const tellRanges = (ranges: readonly Readonly<Covered>[]): string =>
  ranges.map(({ first, last, count }) => `${first}-${last}${count > 1 ? ` ${count} times` : ''}`).join(', ');
