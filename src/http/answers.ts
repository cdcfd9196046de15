/** Turns what a host answers into what the API answers: a value, or a problem. */
import type { Answer } from '../host/command.ts';
import { isPacked, unpack } from '../threads/packed.ts';
import { type KernelError, Problem } from './problems.ts';
import { whole } from './schemas/values.ts';
import { invalid } from './validation.ts';

/** Errnos that depend on the state of the host (409); all others are about the request itself (422). */
const CONFLICTS: readonly string[] = ['EBUSY', 'EEXIST', 'EADDRINUSE', 'ENOSPC', 'ENOMEM', 'EIO'];

/**
 * Returns the value of an answer, packed if it is large and has come so: for whoever hands it on as it is. Throws a problem for any answer but `ok`. src/host/command.ts says what the value is.
 */
export function passed(answer: Answer): unknown {
  if (answer.kind === 'ok') return answer.value;
  if (answer.kind === 'not-found')
    throw notFound(answer.what === 'host' ? 'There is no such host.' : `There is no ${answer.what} on this host.`);
  if (answer.kind === 'malformed') throw new Problem('malformed-body', `The body is not JSON: ${answer.detail}.`);
  if (answer.kind === 'invalid') throw invalid(answer.errors.map((error) => ({ in: 'body', ...error })));
  const { why } = answer;
  throw refusal(kernelError(answer), why);
}

/** The same, unpacked. */
export const granted = <Value>(answer: Answer): Value => unpack(passed(answer)) as Value;

/** A list that has only one page. */
export function listed(answer: Answer): unknown {
  const items = passed(answer);
  return isPacked(items) ? Buffer.concat([LIST, items, LIST_END]) : whole(items as unknown[]);
}

/** What stands around the items, in the order in which `whole` has it. */
const LIST = Buffer.from('{"items":');
const LIST_END = Buffer.from(',"nextPageToken":null}\n');

/** An object with one more field, of which it is no copy. The result is packed if that is. */
export function withPart(object: object, name: string, part: unknown): unknown {
  if (!isPacked(part)) return { ...object, [name]: part };
  const text = JSON.stringify(object).slice(0, -1);
  return Buffer.concat([Buffer.from(`${text}${text === '{' ? '' : ','}${JSON.stringify(name)}:`), part, END]);
}

const END = Buffer.from('}\n');

/** An object, packed or not, with these fields at its end. */
export function withFields(object: unknown, fields: object): unknown {
  if (!isPacked(object)) return { ...(object as object), ...fields };
  const end = object.lastIndexOf(CLOSING);
  return Buffer.concat([object.subarray(0, end), Buffer.from(`,${JSON.stringify(fields).slice(1)}\n`)]);
}

const CLOSING = '}'.charCodeAt(0);

/** What of a refusal is told as fields of their own. */
export const kernelError = ({ errno, where, rule, fault }: KernelError): KernelError => ({
  errno,
  where,
  ...(rule !== undefined && { rule }),
  ...(fault !== undefined && { fault }),
});

export function refusal(kernel: KernelError, why: string): Problem {
  const kind = CONFLICTS.includes(kernel.errno) ? 'kernel-conflict' : 'kernel-refusal';
  return new Problem(kind, why, { kernel });
}

export function notFound(what: string): Problem {
  return new Problem('not-found', what);
}
