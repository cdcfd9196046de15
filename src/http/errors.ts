/** Answers every error, as problem details. Only the route of a request is logged, nothing else of it. */
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import {
  AnswerLost,
  AnswerTooLarge,
  ClientGone,
  GivenUp,
  HostChanged,
  HostDamaged,
  HostFault,
  HostSetAside,
  LaneBusy,
  ServiceStopping,
  ThreadDied,
  TooCostly,
} from '../lanes/errors.ts';
import { MAX_URL } from '../limits.ts';
import { type Log, NO_REQUEST } from '../log.ts';
import { KeyTaken, OwnerPassed, StoreDamaged, StoreFull, StoreUnavailable, TenantExists } from '../store/errors.ts';
import { NO_TUNNEL } from './connections.ts';
import { STATUS_CODES } from './node-http.ts';
import { PROBLEM_JSON, PROBLEMS, Problem, type ProblemName, problemType } from './problems.ts';
import { tagOf } from './versions.ts';

/** When a client may try again, in seconds. */
export const RETRY_AFTER = '1';

export function unavailable(detail: string): Problem {
  return new Problem('unavailable', detail, { headers: { 'retry-after': RETRY_AFTER } });
}

export function serviceStopping(): Problem {
  const detail = 'The service is stopping. Nothing has changed: try again when it is back.';
  return new Problem('service-stopping', detail, { headers: { 'retry-after': RETRY_AFTER } });
}

function hostChanged({ sequence }: HostChanged): Problem {
  const detail = `The host is at ${tagOf(sequence)} by now, and nothing has been done: read again what you have decided by.`;
  return new Problem('host-changed', detail, { headers: { etag: tagOf(sequence) } });
}

/** The text of every answer in JSON. It ends with a line break, so that a terminal's prompt begins a new line. */
export const asLine = (value: unknown): string => `${JSON.stringify(value)}\n`;

/** Sends a problem, as bytes: to text Fastify would add a charset, which JSON does not have. */
export function sendProblem(request: FastifyRequest, reply: FastifyReply, problem: Problem): FastifyReply {
  request.problem = problem;
  return reply
    .code(problem.status)
    .headers({ 'cache-control': 'no-store', 'x-request-id': request.id, ...problem.extras.headers })
    .header('content-type', PROBLEM_JSON)
    .send(Buffer.from(asLine(problem.document(request.id))));
}

/** Fastify's error handler. Faults of the service are logged, refusals are not. */
export function handleError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const problem = problemOf(error, rulesOf(request));
  if (problem.status >= 500 && !(error instanceof Problem) && !(error instanceof GivenUp))
    request.log.error({ reqId: request.id, err: error, route: request.routeOptions.url }, problem.message);
  return sendProblem(request, reply, problem);
}

/** Which bodies a route takes, as problems tell those who sent another one. */
interface BodyRules {
  limit: number;
  /** The environment variable that sets the limit, which is in bytes; null: none does. */
  variable: string | null;
  types: string;
}

const JSON_BODY: BodyRules = { limit: 0, variable: 'HOLDOVER_BODY_LIMIT', types: 'application/json' };

export function rulesOf({ routeOptions, server }: FastifyRequest): BodyRules {
  const { variable = JSON_BODY.variable, types = JSON_BODY.types } = (routeOptions.config ?? {}) as Partial<BodyRules>;
  return { limit: routeOptions.bodyLimit ?? server.initialConfig.bodyLimit ?? 0, variable, types };
}

type Thrown = Error & { code?: string; statusCode?: number; headers?: Record<string, string> };

export function problemOf(error: Thrown, body = JSON_BODY): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof HostFault) {
    const detail = `The host failed inside, and nothing has changed. Tell the operator of the service incident ${error.incident}.`;
    return new Problem('host-fault', detail);
  }
  if (error instanceof HostChanged) return hostChanged(error);
  if (error instanceof HostSetAside) return new Problem('set-aside', sentence(error.message));
  if (error instanceof HostDamaged || error instanceof StoreDamaged)
    return new Problem('damaged', sentence(error.message));
  if (error instanceof StoreFull) {
    return unavailable(
      'The disk of the data directory (HOLDOVER_DATA_DIR) is full. Nothing has changed: try again when there is room.',
    );
  }
  if (error instanceof StoreUnavailable) {
    return unavailable('The store of the service does not answer. Nothing has changed: try again.');
  }
  if (error instanceof OwnerPassed) {
    return unavailable('Another part of the service has this host by now. Nothing has changed: try again.');
  }
  // Whoever has taken it is gone again.
  if (error instanceof KeyTaken) return unavailable('Another request had this key. Nothing has changed: try again.');
  if (error instanceof ServiceStopping) return serviceStopping();
  if (error instanceof TooCostly) {
    const split = 'Split it, into requests of fewer calls or operations.';
    return new Problem('too-costly', `${sentence(error.message)} Nothing of it has happened. ${split}`);
  }
  if (error instanceof AnswerTooLarge)
    return new Problem(
      'answer-too-large',
      `${sentence(error.message)} Nothing of it has happened. Split it, into requests of fewer calls.`,
    );
  // Nobody reads it.
  if (error instanceof ClientGone) return unavailable('You were gone before it was done, and nothing has changed.');
  if (error instanceof LaneBusy) {
    return unavailable(`Too much is asked at once: ${error.message}. Nothing has changed: try again.`);
  }
  if (error instanceof ThreadDied) {
    return unavailable(
      'The thread that was at work on it ended and is being replaced. What you asked has happened or has not, but never half: look before you try again, or send it again with its Idempotency-Key.',
    );
  }
  if (error instanceof AnswerLost) {
    return new Problem(
      'internal-error',
      `What you asked is done, but its answer cannot be given (${error.message}): look at the host, and ask for less at once.`,
    );
  }
  if (error instanceof TenantExists) return new Problem('conflict', 'A tenant of that name is there already.');
  return (
    byCode(error, body) ??
    ofFile(error) ??
    new Problem('internal-error', 'A fault of the service: tell its operator the id in `instance`.')
  );
}

export const sentence = (text: string): string => `${text[0]?.toUpperCase()}${text.slice(1)}.`;

/** The problem of an error that Fastify raises before a handler runs; null: it is none. */
function byCode({ code, message, statusCode }: Thrown, body: BodyRules): Problem | null {
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new Problem(
        'body-too-large',
        `The body may have ${body.limit} bytes at most${body.variable === null ? '' : ` (${body.variable}): split the request`}.`,
      );
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
    case 'FST_ERR_CTP_INVALID_CONTENT_TYPE':
    case 'FST_ERR_CTP_EMPTY_TYPE':
      return new Problem('unsupported-media-type', `Send the body with \`Content-Type: ${body.types}\`.`);
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new Problem('malformed-body', 'The body is not as long as Content-Length says.');
    case 'FST_ERR_BAD_URL':
      return new Problem('invalid-request', 'The path is not a valid URL: escape % as %25.');
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new Problem('path-too-long', 'A name in the path is longer than any there is.');
    default:
      return statusCode === 400 ? new Problem('malformed-body', message) : null;
  }
}

/** Node's error code for a request that does not arrive in time. */
export const LATE = 'ERR_HTTP_REQUEST_TIMEOUT';

const FILE_PROBLEMS: Record<number, ProblemName> = {
  403: 'path-forbidden',
  412: 'precondition-failed',
  416: 'range-not-satisfiable',
};

/** The problem of an error of the plugin that sends the files of the pages; null: it is none. */
function ofFile({ statusCode = 0, headers = {} }: Thrown): Problem | null {
  const kind = FILE_PROBLEMS[statusCode];
  return kind === undefined ? null : new Problem(kind, PROBLEMS[kind].about, { headers });
}

const SOCKET_PROBLEMS: Record<string, ProblemName> = {
  HPE_HEADER_OVERFLOW: 'headers-too-large',
  [LATE]: 'request-timeout',
  [NO_TUNNEL]: 'invalid-request',
};

const SOCKET_DETAILS: { readonly [Name in ProblemName]?: string } = {
  'malformed-body': 'This is not an HTTP request.',
  'invalid-request': 'CONNECT is for proxies, and this is none.',
};

/** The first line of a request that does not fit into the space for headers, as it is all that there is. */
const LONG_LINE = /^[A-Z-]{1,20} \S*$/;

type ClientError = Error & { code?: string; rawPacket?: unknown };

function kindOf({ code = '', rawPacket }: ClientError): ProblemName {
  const kind = SOCKET_PROBLEMS[code] ?? 'malformed-body';
  if (kind !== 'headers-too-large' || !Buffer.isBuffer(rawPacket)) return kind;
  // The packet is a piece of what has been read together (reading.ts).
  const { buffer, byteOffset, length } = rawPacket;
  const read = Buffer.from(buffer, 0, Math.min(byteOffset + length, MAX_URL));
  return LONG_LINE.test(read.toString('latin1')) ? 'path-too-long' : kind;
}

/** Answers what is not HTTP. It never becomes a request for Fastify, so the answer is written to the socket. */
export function handleClientError(error: ClientError, socket: Socket, log: Log | undefined): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return;
  const reqId = randomUUID();
  const kind = kindOf(error);
  const { status, title, about } = PROBLEMS[kind];
  const detail = SOCKET_DETAILS[kind] ?? about;
  const body = asLine({ type: problemType(kind), title, status, detail, instance: reqId });
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: ${PROBLEM_JSON}\r\n`;
  const known = `X-Request-Id: ${reqId}\r\nX-Content-Type-Options: nosniff\r\n`;
  const more = `Content-Length: ${Buffer.byteLength(body)}\r\n${known}Connection: close\r\n\r\n`;
  socket.end(head + more + body);
  log?.info({ reqId, status, problem: kind }, NO_REQUEST);
}
