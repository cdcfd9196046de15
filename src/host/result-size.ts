/** About how many characters results of calls have as JSON: cheap, as each result is looked at. */
import type { CallResult } from './command.ts';

/** What a result has besides, and an item of a list in it: a range, a fault, a piece of memory. */
const RESULT = 32;
const ITEM = 64;

export function sizeOfResult(result: CallResult): number {
  const { data, bytes, arg, memory, faults, events, revents, why } = result;
  let size = RESULT;
  if (why !== undefined) size += RESULT + why.length;
  if (data !== undefined) size += data.length;
  if (bytes !== undefined) size += bytes.length;
  if (arg !== undefined) for (const name in arg) size += name.length + sizeOfField(arg[name]);
  if (memory !== undefined) for (const piece of memory) size += ITEM + piece.bytes.length;
  if (faults !== undefined) size += 2 * ITEM * faults.length;
  if (events !== undefined) size += 2 * ITEM * events.length;
  if (revents !== undefined) size += 8 * revents.length;
  return size;
}

function sizeOfField(value: unknown): number {
  if (typeof value === 'string') return value.length;
  return Array.isArray(value) ? ITEM * value.length : 8;
}
