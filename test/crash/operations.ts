/** What clients ask for, and how that stands in the journal of the host. */
import { isDeepStrictEqual } from 'node:util';
import type { BatchCommand, Command } from '../../src/host/command.ts';

export interface Request {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  path: string;
  body?: unknown;
  /** NDJSON instead of a body, in pieces of whole lines. */
  lines?: readonly string[];
  key?: string;
}

export interface Answer {
  status: number;
  body: unknown;
}

/** A command as the journal has it: a boot names its freeze. */
export type Stored = Exclude<Command, { op: 'kexec.boot' }> | { op: 'kexec.boot'; freeze: number } | BatchCommand;

/**
 * What came of it. `answered`: acknowledged, whatever the answer is. `unknown`: the service, or the lane, died before
 * the answer. `declined`: answered that nothing has happened, and that one may try again.
 */
export type Outcome = 'asked' | 'answered' | 'unknown' | 'declined';

export interface Operation {
  kind: string;
  /** The path is that below the host. */
  request: Request;
  /** Whether this is how it is journaled. */
  expects: (command: Stored) => boolean;
  /** Told the answer, or, where none came and yet it has happened, the one that it must have had. */
  learn?: (answer: Answer) => void;
  outcome: Outcome;
  answer: Answer | null;
  /** Of lines: how many of them are acknowledged. */
  acknowledged: number;
}

type Described = Pick<Operation, 'kind' | 'request' | 'expects' | 'learn'>;

export function operation(described: Described): Operation {
  return { ...described, outcome: 'asked', answer: null, acknowledged: 0 };
}

/** Someone who asks one thing after the other. */
export interface Client {
  readonly name: string;
  next(): Operation;
}

/** A command that is journaled as what the request says, which is asked for by one client only. */
export function command(
  request: Request,
  journaled: Record<string, unknown>,
  learn?: (answer: Answer) => void,
): Operation {
  const expects = (stored: Stored): boolean => includes(stored, journaled);
  return operation({ kind: String(journaled.op), request, expects, ...(learn && { learn }) });
}

/** Whether it has all of these fields. */
export function includes(stored: object, fields: Record<string, unknown>): boolean {
  const found = stored as Record<string, unknown>;
  return Object.entries(fields).every(([name, value]) => isDeepStrictEqual(found[name], value));
}

/** Whether what is answered is in the journal: what is not there, and a batch that was not begun or was undone, is not. */
export function leavesRow({ kind, request, outcome, answer }: Operation): boolean {
  if (outcome !== 'answered' || answer === null || answer.status === 404) return false;
  if (answer.status === 400) throw new Error(`${kind} is not a valid request: ${JSON.stringify(answer.body)}`);
  if (kind !== 'batch' && kind !== 'lines') return true;
  return answer.status === 200 && !isUndone(request, answer);
}

/** A batch of which something had been done before the first refusal. */
function isUndone({ body }: Request, answer: Answer): boolean {
  if ((body as { onError?: string } | undefined)?.onError !== 'rollback') return false;
  const [first] = (answer.body as { errors: { index: number }[] }).errors;
  return first !== undefined && first.index > 0;
}

/** Whether another kernel may run afterwards. */
export function isReboot({ kind }: Operation): boolean {
  return kind === 'kexec.freeze' || kind === 'crash' || kind === 'reset';
}

/** A service that is in trouble says whether anything has happened. */
export function outcomeOf(answer: Answer | null): Outcome {
  if (answer === null) return 'unknown';
  // Lines that end with a problem: what is acknowledged is, the rest may have happened.
  if (Array.isArray(answer.body) && 'problem' in answer.body.at(-1)) return 'unknown';
  if (answer.status < 500) return 'answered';
  const { detail } = answer.body as { detail: string };
  if (answer.status === 503) return detail.includes('Nothing has changed') ? 'declined' : 'unknown';
  throw new Error(`a fault of the service: ${JSON.stringify(answer)}`);
}
