/** How a lane fails where the fault is ours, and how errors get from thread to thread. */
import { StoreFull, StoreUnavailable, TenantExists } from '../store/errors.ts';

/** A bug met while a host worked: nothing was stored, and the host goes on from what is stored. */
export class HostFault extends Error {
  override readonly name = 'HostFault';
  /** Names the entry of the log that has the details. */
  readonly incident: string;

  constructor(incident: string, cause?: unknown) {
    super(`the host failed inside; incident ${incident}`, { cause });
    this.incident = incident;
  }
}

/** Too much waits already. Nothing has happened. */
export class LaneBusy extends Error {
  override readonly name = 'LaneBusy';
}

/** The thread of a lane, or that of the writer, ended before it answered: what was asked may have happened, or not, but never half. */
export class ThreadDied extends Error {
  override readonly name = 'ThreadDied';
}

/** What was asked is done, but its answer does not get to whoever asked. */
export class AnswerLost extends Error {
  override readonly name = 'AnswerLost';
}

/** An error as plain data: a class does not get from thread to thread. */
export interface SentError {
  name: string;
  message: string;
  stack: string | undefined;
  incident?: string;
}

export function sendError(error: unknown): SentError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error), stack: undefined };
  const { name, message, stack } = error;
  return { name, message, stack, ...(error instanceof HostFault ? { incident: error.incident } : {}) };
}

export function receiveError({ name, message, stack, incident = '' }: SentError): Error {
  const error = make(name, message, incident);
  if (stack !== undefined) error.stack = stack;
  return error;
}

function make(name: string, message: string, incident: string): Error {
  switch (name) {
    case 'HostFault':
      return new HostFault(incident);
    case 'StoreUnavailable':
      return new StoreUnavailable(message);
    case 'AnswerLost':
      return new AnswerLost(message);
    case 'StoreFull':
      return new StoreFull(message);
    case 'TenantExists':
      return new TenantExists(message);
    default:
      return new Error(message);
  }
}
