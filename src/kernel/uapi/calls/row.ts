/** How a system call of the `calls` face is described: its parameters, and what it returns. */
import { MAX_TRANSFER } from '../../../limits.ts';
import type { Bits } from '../bits.ts';
import { FULL, type Support } from '../types.ts';

/**
 * `int` is a 32-bit number, `u64` a hexadecimal string or safe integer, `bytes` base64, `responses` an array of
 * {cookie, code}: struct iommu_hwpt_page_response, `polls` an array of {fd, events}: struct pollfd.
 */
export type ParameterType = 'int' | 'u64' | 'bytes' | 'string' | 'boolean' | 'responses' | 'polls';

export interface Parameter {
  readonly type: ParameterType;
  readonly optional: boolean;
  readonly about: string;
  /** Names of bits, as in `Field`. */
  readonly bits?: Bits;
  /** Names of numbers, of which it is one. */
  readonly names?: Bits;
}

/** A row of the table of calls. */
export type CallRow = Support & {
  readonly about: string;
  readonly parameters: Readonly<Record<string, Parameter>>;
  /** Says what `ret` is on success. */
  readonly returns: string;
};

export const need = (type: ParameterType, about: string): Parameter => ({ type, optional: false, about });
export const may = (type: ParameterType, about: string): Parameter => ({ type, optional: true, about });
export const bits = (known: Bits, about: string): Parameter => ({ ...need('int', about), bits: known });
export const oneOf = (names: Bits, about: string): Parameter => ({ ...need('int', about), names });
export const fd = need('int', 'Descriptor.');
export const TRANSFER = `Bytes, at most ${MAX_TRANSFER >> 20} MiB.`;

export function call(
  about: string,
  returns: string,
  parameters: Record<string, Parameter>,
  support: Support = FULL,
): CallRow {
  return { about, returns, parameters, ...support };
}
