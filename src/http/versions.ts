/**
 * ETags: that of a host, and of all that is under it, is its sequence, the number of commands that it has behind it. All that can be
 * read of a host follows from those. The tag is strong, as If-Match compares, and the same in all codings: no part of an answer is
 * served, and no cache keeps one, that could mix them.
 */
import type { Expected } from '../lanes/lanes.ts';
import { Problem } from './problems.ts';
import type { Route } from './route.ts';

/**
 * What tags are to a route. `read`: it answers with one, or with 304 where the client has it. `change`: it answers with that of the host
 * behind it. Both are done only where If-Match says so. `none`: it has nothing to do with them.
 */
export type Versioning = 'read' | 'change' | 'none';

const HOST = /^\/v1\/hosts\/\{host\}(\/|$)/;

export function versioningOf({ method, path, performs, versioned }: Route): Versioning {
  if (versioned === false || !HOST.test(path)) return 'none';
  return method === 'GET' && !performs ? 'read' : 'change';
}

/** Whether the answer of a route that has tags has one. */
export const isVersioned = ({ versioned }: Route, answer: unknown): boolean =>
  typeof versioned !== 'function' || versioned(answer as never);

export const tagOf = (sequence: number): string => `"${sequence}"`;

/** A proxy that compresses answers calls their tags weak. */
const TAG = /^(?:W\/)?"([^"]*)"$/;
const SEQUENCE = /^(?:0|[1-9]\d{0,14})$/;

/** The tags of a header; null: any. Throws a problem where it has something else. */
function tagsIn(name: string, header: string): string[] | null {
  if (header.trim() === '*') return null;
  return header.split(',').map((part) => {
    const [, tag] = TAG.exec(part.trim()) ?? [];
    if (tag !== undefined) return tag;
    throw new Problem(
      'invalid-request',
      `header ${name}: expected the ETag of an answer with its quotes, such as "12"`,
    );
  });
}

/** Where If-Match says that the host must be; undefined: wherever it is. Tags that no host can have are of no place. */
export function expectedIn(header: string | undefined): Expected | undefined {
  if (header === undefined) return undefined;
  return tagsIn('If-Match', header)
    ?.filter((tag) => SEQUENCE.test(tag))
    .map(Number);
}

/** Whether If-None-Match says that the client has what would be answered. */
export function isKnown(header: string | undefined, sequence: number): boolean {
  if (header === undefined) return false;
  return tagsIn('If-None-Match', header)?.includes(String(sequence)) ?? true;
}
