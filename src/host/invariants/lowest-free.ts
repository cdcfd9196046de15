/** Numbers are given lowest first: none below the one where the search begins may be free. */
import type { Findings } from './finding.ts';

/** `first` is the first number that can be given. */
export function checkLowestFree(
  where: string,
  first: number,
  taken: Iterable<number>,
  hint: number,
  found: Findings,
): void {
  let below = 0;
  for (const number of taken) if (number >= first && number < hint) below++;
  if (below === hint - first) return;
  const numbers = new Set(taken);
  let free = first;
  while (numbers.has(free)) free++;
  found.note('lowest free number', where, `${free} or less`, hint);
}
