/** By what a request is known: its own id, and the trace that it is part of. */
import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';

const ID = /^[\w.~:/+=-]{1,128}$/;

/** What the client calls it (X-Request-Id), or else a new one: also where that could not stand in a line of the log. */
export function requestIdOf({ headers }: IncomingMessage): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && ID.test(given) ? given : randomUUID();
}

/** Of version 00 that is all; later ones may have more behind it (W3C Trace Context). */
const PARENT =
  /^(?:00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}|(?!00|ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?)$/;
const NONE = /^0+$/;

/** The trace that `traceparent` names; undefined: none. */
export function traceIdOf({ traceparent }: IncomingHttpHeaders): string | undefined {
  if (typeof traceparent !== 'string') return undefined;
  const [, first, span, later, laterSpan] = PARENT.exec(traceparent) ?? [];
  const trace = first ?? later;
  if (trace === undefined || NONE.test(trace) || NONE.test(span ?? laterSpan!)) return undefined;
  return trace;
}
