/** How threads fail each other, and how errors get from one to another. */

/** The thread that was asked ended before it answered: what was asked may have happened, or not, but never half. */
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

/** Makes the error again that was sent; undefined where it does not know the name. */
export type MakeError = (sent: SentError) => Error | undefined;

export function sendError(error: unknown): SentError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error), stack: undefined };
  const { name, message, stack } = error;
  const { incident } = error as { incident?: unknown };
  return { name, message, stack, ...(typeof incident === 'string' ? { incident } : {}) };
}

export function receiveError(sent: SentError, make: MakeError): Error {
  const error = sent.name === 'AnswerLost' ? new AnswerLost(sent.message) : (make(sent) ?? new Error(sent.message));
  if (sent.stack !== undefined) error.stack = sent.stack;
  return error;
}
