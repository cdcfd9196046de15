/** What differs between two values of JSON: by path, as JSON pointers (RFC 6901) have it. */
import type { Change } from '../host/past-views.ts';

type Json = Record<string, unknown>;

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** So many of them, without those before; always in the same order. Lists are compared as a whole. */
export function differences(before: unknown, after: unknown, limit: number, skipped = 0): Change[] {
  const changes: Change[] = [];
  let left = skipped;
  const add = (change: Change): void => {
    if (left > 0) left -= 1;
    else changes.push(change);
  };
  const visit = (path: string, from: unknown, to: unknown): void => {
    if (changes.length >= limit) return;
    if (isObject(from) && isObject(to)) {
      for (const name of new Set([...Object.keys(from), ...Object.keys(to)]))
        visit(`${path}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`, from[name], to[name]);
      return;
    }
    if (JSON.stringify(from) === JSON.stringify(to)) return;
    if (from === undefined) add({ path, change: 'added', to });
    else if (to === undefined) add({ path, change: 'removed', from });
    else add({ path, change: 'changed', from, to });
  };
  visit('', before, after);
  return changes;
}
