/** What differs between two values of JSON: by path, as JSON pointers (RFC 6901) have it. */
import type { Change } from '../host/past-views.ts';
import { MAX_LISTED } from '../limits.ts';

type Json = Record<string, unknown>;

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The first MAX_LISTED of them. Lists are compared as a whole. */
export function differences(before: unknown, after: unknown): Change[] {
  const changes: Change[] = [];
  const visit = (path: string, from: unknown, to: unknown): void => {
    if (changes.length >= MAX_LISTED) return;
    if (isObject(from) && isObject(to)) {
      for (const name of new Set([...Object.keys(from), ...Object.keys(to)]))
        visit(`${path}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`, from[name], to[name]);
      return;
    }
    if (JSON.stringify(from) === JSON.stringify(to)) return;
    if (from === undefined) changes.push({ path, change: 'added', to });
    else if (to === undefined) changes.push({ path, change: 'removed', from });
    else changes.push({ path, change: 'changed', from, to });
  };
  visit('', before, after);
  return changes;
}
