/**
 * Compares what came with what was expected: of mappings only the fields that the expectation names count, lists have to
 * be as long. Numbers of 64 bits are equal however they are written.
 */
import { asBigInt } from './values.ts';

export interface Difference {
  /** From the expectation's root to what differs. */
  readonly path: readonly (string | number)[];
  readonly expected: unknown;
  readonly got: unknown;
}

/** Marks what is not there at all. */
export const NOTHING = '(nothing)';

type Matcher = (given: unknown, got: unknown) => boolean;

/** A mapping with one of these as its only key stands for a condition. */
export const MATCHERS: Readonly<Record<string, { about: string; holds: Matcher }>> = {
  exactly: { about: 'All fields, and no others.', holds: (given, got) => isSame(given, got) },
  not: { about: 'Anything else.', holds: (given, got) => differences(given, got).length > 0 },
  atLeast: { about: 'A number: this or more.', holds: (given, got) => compare(got, given, (a, b) => a >= b) },
  atMost: { about: 'A number: this or less.', holds: (given, got) => compare(got, given, (a, b) => a <= b) },
  includes: {
    about: 'A list with such an item, or text with this in it.',
    holds: (given, got) =>
      Array.isArray(got)
        ? got.some((item) => differences(given, item).length === 0)
        : typeof got === 'string' && got.includes(String(given)),
  },
  excludes: {
    about: 'A list without such an item, or text without this in it.',
    holds: (given, got) =>
      Array.isArray(got)
        ? got.every((item) => differences(given, item).length > 0)
        : typeof got === 'string' && !got.includes(String(given)),
  },
};

function matcherOf(expected: object): readonly [Matcher, unknown] | undefined {
  const keys = Object.keys(expected);
  const matcher = keys.length === 1 && Object.hasOwn(MATCHERS, keys[0]!) ? MATCHERS[keys[0]!] : undefined;
  return matcher && [matcher.holds, Object.values(expected)[0]];
}

export function differences(expected: unknown, got: unknown, path: readonly (string | number)[] = []): Difference[] {
  const here = { path, expected, got: got === undefined ? NOTHING : got };
  if (Array.isArray(expected)) {
    if (!Array.isArray(got) || got.length !== expected.length) return [here];
    return expected.flatMap((item, index) => differences(item, got[index], [...path, index]));
  }
  if (typeof expected !== 'object' || expected === null) return equals(expected, got) ? [] : [here];
  const matcher = matcherOf(expected);
  if (matcher !== undefined) return matcher[0](matcher[1], got) ? [] : [here];
  if (typeof got !== 'object' || got === null || Array.isArray(got)) return [here];
  return Object.entries(expected).flatMap(([key, item]) =>
    differences(item, (got as Record<string, unknown>)[key], [...path, key]),
  );
}

function equals(expected: unknown, got: unknown): boolean {
  if (expected === got) return true;
  if (typeof expected === 'number' || typeof got === 'number') return compare(expected, got, (a, b) => a === b);
  return false;
}

function compare(first: unknown, second: unknown, holds: (a: bigint, b: bigint) => boolean): boolean {
  const [a, b] = [asBigInt(first), asBigInt(second)];
  return a !== undefined && b !== undefined && holds(a, b);
}

/** Both ways round: neither has a field that the other lacks. */
function isSame(first: unknown, second: unknown): boolean {
  return differences(first, second).length === 0 && differences(second, first).length === 0;
}
