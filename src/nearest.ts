/** Finds the name that a person may have meant, for "did you mean". */

/** Returns the known name that the fewest changes of a letter lead to, if these are few for its length. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  let best: { name: string; distance: number } | undefined;
  for (const candidate of known) {
    const few = Math.max(candidate.length / 3, 1);
    // A name may be as long as a request, so lengths are compared first.
    if (Math.abs(name.length - candidate.length) > few) continue;
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance <= few && distance < (best?.distance ?? Infinity)) {
      best = { name: candidate, distance };
    }
  }
  return best?.name;
}

/** Makes the sentence that is put behind what is allowed; empty if nothing is near. */
export function didYouMean(given: unknown, known: readonly string[]): string {
  const meant = typeof given === 'string' ? nearest(given, known) : undefined;
  return meant === undefined ? '' : `; did you mean \`${meant}\`?`;
}

/** The number of letters that have to be added, removed, replaced, or swapped with their neighbour. */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, column) => column)];
  for (let i = 1; i <= a.length; i += 1) {
    const [above, current] = [rows[i - 1]!, [i]];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      current[j] = Math.min(above[j]! + 1, current[j - 1]! + 1, replaced);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        current[j] = Math.min(current[j]!, rows[i - 2]![j - 2]! + 1);
      }
    }
    rows.push(current);
  }
  return rows[a.length]![b.length]!;
}
