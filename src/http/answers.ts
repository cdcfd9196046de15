/** Turns what a host answers into what the API answers: a value, or a problem. */
import type { Answer } from '../host/command.ts';
import { type KernelError, Problem } from './problems.ts';
import { invalid } from './validation.ts';

/** Errnos that depend on the state of the host (409); all others are about the request itself (422). */
const CONFLICTS: readonly string[] = ['EBUSY', 'EEXIST', 'EADDRINUSE', 'ENOSPC', 'ENOMEM', 'EIO'];

/**
 * Returns the value of an answer. Throws a problem for any answer but `ok`. src/host/command.ts says what the value is.
 */
export function granted<Value>(answer: Answer): Value {
  if (answer.kind === 'ok') return answer.value as Value;
  if (answer.kind === 'not-found')
    throw notFound(answer.what === 'host' ? 'There is no such host.' : `There is no ${answer.what} on this host.`);
  if (answer.kind === 'malformed') throw new Problem('malformed-body', `The body is not JSON: ${answer.detail}.`);
  if (answer.kind === 'invalid') throw invalid(answer.errors.map((error) => ({ in: 'body', ...error })));
  const { errno, where, why, rule } = answer;
  throw refusal({ errno, where, ...(rule === undefined ? {} : { rule }) }, why);
}

export function refusal(kernel: KernelError, why: string): Problem {
  const kind = CONFLICTS.includes(kernel.errno) ? 'kernel-conflict' : 'kernel-refusal';
  return new Problem(kind, why, { kernel });
}

export function notFound(what: string): Problem {
  return new Problem('not-found', what);
}
