/** Reads values of requests, and says what is wrong with them. */
import { hex, UMAX } from '../machine/address.ts';

/** A 64-bit number: a hexadecimal string such as "0x1000", or a safe non-negative integer. */
export type U64 = string | number;

/** A field of the request (JSON pointer) and why it is refused. */
export interface Problem {
  pointer: string;
  reason: string;
}

export const U64_RULE =
  'a hexadecimal string of at most 64 bits, such as "0x1000", or a whole number from 0 to 9007199254740991';

/** Says why a value is not a 64-bit number, and how to write what may have been meant. */
export function wrongU64(value: unknown): string {
  return `${value === undefined ? 'required:' : 'expected'} ${U64_RULE}${hint(value)}`;
}

function hint(value: unknown): string {
  if (typeof value === 'number') {
    if (value > Number.MAX_SAFE_INTEGER)
      return '; write numbers above 9007199254740991 as a hexadecimal string, such as "0x20000000000000"';
    return value < 0 ? '; this is below 0' : '; this is not a whole number';
  }
  if (typeof value !== 'string') return '';
  if (/^\d{1,20}$/.test(value) && BigInt(value) <= UMAX) return `; this number is "${hex(BigInt(value))}"`;
  if (/^0x[0-9a-f]{17,}$/i.test(value)) return '; this has more than 64 bits';
  return /^[0-9a-f]{1,16}$/i.test(value) ? '; hexadecimal begins with 0x' : '';
}

/** The reason for a field that is not allowed. Where it is shown, "did you mean" is added. */
export const unknownField = (allowed: readonly string[]): string =>
  allowed.length === 0 ? 'unknown field; nothing is allowed here' : `${UNKNOWN_FIELD}${allowed.join(', ')}`;

export const UNKNOWN_FIELD = 'unknown field; allowed here: ';

/** Returns the number; null: an error was added. */
export function readU64(value: U64, pointer: string, errors: Problem[]): bigint | null {
  const valid =
    typeof value === 'number' ? Number.isSafeInteger(value) && value >= 0 : /^0x[0-9a-f]{1,16}$/i.test(value);
  if (valid) return BigInt(value);
  errors.push({ pointer, reason: wrongU64(value) });
  return null;
}

/** Returns four lowercase hexadecimal digits (`8086`) from "0x8086" or "8086"; null: none, or an error was added. */
export function readHex16(value: string | null | undefined, pointer: string, errors: Problem[]): string | null {
  if (value === null || value === undefined) return null;
  const match = /^(?:0x)?([0-9a-f]{4})$/i.exec(value);
  if (match) return match[1]!.toLowerCase();
  errors.push({ pointer, reason: `"${value}" is not of the form "0x8086" or "8086": four hexadecimal digits` });
  return null;
}

/** Both ends of an inclusive range of addresses. */
export interface RangeRequest {
  start: U64;
  last: U64;
}

/** Returns the range in canonical form; null: errors were added. `start` may be `last` where one byte makes sense. */
export function readRange(
  range: RangeRequest,
  pointer: string,
  errors: Problem[],
  oneByte: boolean,
): { start: string; last: string } | null {
  const start = readU64(range.start, `${pointer}/start`, errors);
  const last = readU64(range.last, `${pointer}/last`, errors);
  if (start === null || last === null) return null;
  if (start < last || (oneByte && start === last)) return { start: hex(start), last: hex(last) };
  errors.push({
    pointer: `${pointer}/last`,
    reason: `must be ${oneByte ? 'at least' : 'above'} start (${hex(start)}): last is the last address of the range`,
  });
  return null;
}
