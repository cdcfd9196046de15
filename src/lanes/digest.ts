/** What an answer is compared by when a journal is replayed. */
import { hash } from 'node:crypto';
import type { Answer } from '../host/command.ts';

/**
 * SHA-256 of an answer in canonical JSON (keys sorted), in hexadecimal. `why` is left out: a sentence may be put
 * better by a later version, while errno, place and values may not change.
 */
export function digest(answer: Answer): string {
  return hash('sha256', JSON.stringify(answer, canonical), 'hex');
}

function canonical(key: string, value: unknown): unknown {
  if (key === 'why') return undefined;
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  const object = value as Record<string, unknown>;
  return Object.fromEntries(
    Object.keys(object)
      .sort()
      .map((name) => [name, object[name]]),
  );
}
