/** Is an answer exactly the one that the trace has? */
import { isDeepStrictEqual } from 'node:util';
import type { Result } from './host.ts';
import type { Expectation, Json, JsonObject } from './trace.ts';

/** What counts. Everything else in an answer explains it. */
const COMPARED = ['ret', 'errno', 'blocked', 'arg', 'data', 'size', 'faults', 'events'];

export function matches(expected: Expectation, got: Result): boolean {
  if (expected.signal !== undefined) return expected.ret === got.ret && expected.signal === got.signal;
  return isDeepStrictEqual(compared(expected as JsonObject), compared(got));
}

function compared(answer: JsonObject): JsonObject {
  const fields: JsonObject = {};
  for (const field of COMPARED) {
    const value = answer[field];
    if (value === undefined || (field === 'arg' && isEmpty(value))) continue;
    fields[field] = value;
  }
  return fields;
}

function isEmpty(value: Json): boolean {
  return value !== null && typeof value === 'object' && Object.keys(value).length === 0;
}

/** The output that `as` names: `ret`, a field of `arg`, or a path such as `faults.0.cookie`. */
export function output(result: Result, path: string): Json | undefined {
  if (path === 'ret') return result.ret;
  const keys = path.includes('.') ? path.split('.') : ['arg', path];
  let at: Json | undefined = result;
  for (const key of keys) at = (at as { [key: string]: Json } | null | undefined)?.[key];
  return at;
}
