/** Makes the answers of a host. */
import type { Refusal } from '../kernel/errno.ts';
import type { Answer, Refused } from './command.ts';

export const ok = (value: unknown): Answer => ({ kind: 'ok', value });

/** The answer where something that the path names is not there; `what`: its noun. */
export const notFound = (what: string): Answer => ({ kind: 'not-found', what });

export const refused = ({ errno, where, why, rule, fault }: Refusal): Refused => ({
  kind: 'refused',
  errno,
  where,
  why,
  ...(rule && { rule }),
  ...(fault !== undefined && { fault }),
});
