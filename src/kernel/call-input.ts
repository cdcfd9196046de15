/** Reads the parameters of system calls. A parameter that is not given is 0, or empty. */
import { decodeU64 } from '../machine/address.ts';
import type { Refusal } from './errno.ts';
import { encodeArg } from './ioctl-names.ts';
import type { Kernel } from './kernel.ts';
import type { Process } from './process.ts';
import type { CallInput, CallResult } from './uapi/calls.ts';

export type Outcome = Omit<CallResult, 'errno' | 'where' | 'why' | 'rule' | 'signal'> | Refusal;
export type Call = (kernel: Kernel, process: Process, input: CallInput) => Outcome;
/** What runs each call of a table. A map that lacks one does not compile. */
export type Calls<Rows> = { readonly [Name in keyof Rows]: Call };

/** The result of a call that is refused: -1 and its errno. */
export function refused({ errno, where, why, rule, signal, arg, fault }: Refusal): CallResult {
  return {
    ret: -1,
    errno,
    where,
    why,
    ...(rule && { rule }),
    ...(fault !== undefined && { fault }),
    ...(signal && { signal }),
    ...(arg && { arg: encodeArg(arg) }),
  };
}

export const integer = (input: CallInput, name: string): number => Number(input[name] ?? 0);
export const big = (input: CallInput, name: string): bigint =>
  input[name] === undefined ? 0n : decodeU64(input[name]);
export const bytes = (input: CallInput, name: string): Uint8Array => Uint8Array.fromBase64(String(input[name] ?? ''));
export const done = (refusal: Refusal | null): Outcome => refusal ?? { ret: 0 };
