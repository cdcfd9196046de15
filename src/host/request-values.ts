/** Values as requests carry them, and what is wrong with one. */

/** A 64-bit number: a hexadecimal string such as "0x1000", or a safe non-negative integer. */
export type U64 = string | number;

/** A field of the request (JSON pointer) and why it is refused. */
export interface Problem {
  pointer: string;
  reason: string;
}

export function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

/** The number, or null and an error. */
export function readU64(value: U64, pointer: string, errors: Problem[]): bigint | null {
  const valid =
    typeof value === 'number' ? Number.isSafeInteger(value) && value >= 0 : /^0x[0-9a-f]{1,16}$/i.test(value);
  if (valid) return BigInt(value);
  errors.push({
    pointer,
    reason: 'expected a hexadecimal string of at most 64 bits ("0x1000") or a safe non-negative integer',
  });
  return null;
}

/** Four lowercase hexadecimal digits, as in `8086`, from "0x8086" or "8086". */
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

/** The range in canonical form, or null and errors. `start` may be `last` where one byte makes sense. */
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
