/** All kinds of failures of a request, as problem details (RFC 9457); each kind has a page of its own. */
import type { HostEvent } from '../host/views.ts';
import { MAX_URL } from '../limits.ts';

export const PROBLEMS = {
  'malformed-body': {
    status: 400,
    title: 'The body is not JSON',
    about: 'The body cannot be parsed. `detail` says where the parser gave up.',
  },
  'invalid-request': {
    status: 400,
    title: 'The request is not valid',
    about: 'Fields or parameters are missing, unknown or out of range. `errors` names each and says what is allowed.',
  },
  unauthenticated: {
    status: 401,
    title: 'Who is asking?',
    about: 'The request has no key, or one that nobody has. Send `Authorization: Bearer KEY`.',
  },
  forbidden: {
    status: 403,
    title: 'The key may not do this',
    about: 'Keys of tenants are for hosts; the admin key is for what is below /v1/admin.',
  },
  'quota-exceeded': {
    status: 403,
    title: 'The tenant uses too much',
    about:
      'It may not have more of what `quota` names, of which `used` are used and `limit` allowed. GET /v1/usage shows all quotas. What only reads, frees or deletes goes on; `detail` says what helps.',
  },
  'path-forbidden': {
    status: 403,
    title: 'No file may be there',
    about: 'Only the files of the pages below /docs are served.',
  },
  'not-found': {
    status: 404,
    title: 'Not there',
    about: 'The path, or something it names, is not there for this tenant. `detail` says which part.',
  },
  'method-not-allowed': {
    status: 405,
    title: 'The path has no such method',
    about: 'The header `Allow` lists the methods that it has.',
  },
  'request-timeout': {
    status: 408,
    title: 'The request took too long to arrive',
    about: 'Headers or body did not arrive in time. Send it again.',
  },
  conflict: {
    status: 409,
    title: 'Something of that name is there already',
    about: 'Choose another name.',
  },
  'kernel-conflict': {
    status: 409,
    title: 'The kernel refuses: the state does not allow it',
    about:
      'The simulated kernel answers `errno` in the function `where`. The same request may succeed in another state.',
  },
  'set-aside': {
    status: 409,
    title: 'The host is set aside',
    about:
      'It has ended the thread that ran it, which others had to wait for, and is not run again until somebody asks for that: POST /v1/hosts/{host}/retry. What it has told can be read, and it can be deleted.',
  },
  gone: {
    status: 410,
    title: 'Some of it is no longer kept',
    about:
      'Events behind the one that `after` names have gone, as a host keeps its newest ones. `oldest` is the first that is there: read on without `after`, and know that some are missing.',
  },
  'answer-gone': {
    status: 410,
    title: 'It is done, and its answer is no longer kept',
    about:
      'The request has been carried out with this Idempotency-Key, and is not again. What it was answered can be made again as long as the host keeps the commands and snapshots that it takes, which it does not any more.',
  },
  'precondition-failed': {
    status: 412,
    title: 'The file is not the one that was meant',
    about: 'It is not what If-Match or If-Unmodified-Since say. Ask for it without these headers.',
  },
  'host-changed': {
    status: 412,
    title: 'The host has changed',
    about:
      'It is not at the ETag that If-Match names, and nothing has been done. The ETag of this answer is where it is: read again what you have decided by, and send that.',
  },
  'body-too-large': {
    status: 413,
    title: 'The body is too large',
    about: 'The limit is HOLDOVER_BODY_LIMIT bytes. Split the request.',
  },
  'answer-too-large': {
    status: 413,
    title: 'The answer would be too large',
    about:
      'What the calls of the request return is more than an answer may have. Nothing of it has happened: split it into several requests.',
  },
  'path-too-long': {
    status: 414,
    title: 'The URL, or part of its path, is too long',
    about: `No name in a path is that long, and no URL needs more than ${MAX_URL} bytes.`,
  },
  'unsupported-media-type': {
    status: 415,
    title: 'The body is not plain JSON',
    about: 'Send `Content-Type: application/json`, in UTF-8 and without a Content-Encoding.',
  },
  'range-not-satisfiable': {
    status: 416,
    title: 'The file has no such range',
    about: 'The range begins behind the end of the file, whose size the header Content-Range tells.',
  },
  'expectation-failed': {
    status: 417,
    title: 'What is expected cannot be done',
    about: 'The only header Expect that is understood is `100-continue`. Leave it out.',
  },
  'wrong-host': {
    status: 421,
    title: 'The request is for another host',
    about:
      'In development mode, whose key is well known, the service answers only those who call it by a name or an address of the machine itself, with its port: so no page of a browser can reach it under a name of its own. `detail` says which there are.',
  },
  'kernel-refusal': {
    status: 422,
    title: 'The kernel refuses',
    about: 'The simulated kernel answers `errno` in the function `where`. Change the request; `detail` says how.',
  },
  'key-reused': {
    status: 422,
    title: 'The key is that of another request',
    about:
      'Another request has been carried out with this Idempotency-Key: with another method, path, query or body. Nothing has changed. Give each request a key of its own.',
  },
  'too-many-requests': {
    status: 429,
    title: 'Too many requests a second',
    about:
      'The tenant may make `limit` requests a second. The headers `RateLimit-Policy` and `RateLimit` of each answer tell how many are left. Try again after `Retry-After`.',
  },
  'too-many-waiting': {
    status: 429,
    title: 'Too many requests wait',
    about:
      'So many requests of this tenant wait for events, or stream them, that no other one may. Let one of them end.',
  },
  'too-much-at-once': {
    status: 429,
    title: 'Too much of yours is on its way',
    about:
      'The bodies of this tenant that have not been answered yet are as many bytes as it may have. Send this one when some of them are answered.',
  },
  'too-costly': {
    status: 422,
    title: 'It takes too long',
    about:
      'The service would have to work on it for longer than on one request (HOLDOVER_COMMAND_SECONDS). Nothing of it has happened: split it into several requests.',
  },
  'headers-too-large': {
    status: 431,
    title: 'The headers are too large',
    about: 'Send fewer or shorter headers.',
  },
  damaged: {
    status: 500,
    title: 'What is stored is damaged',
    about:
      'It is not what was stored, and trying again does not help. `detail` says what is hurt, of the host or of the whole database, and what to do.',
  },
  'host-fault': {
    status: 500,
    title: 'The host failed inside',
    about: 'A fault of the service. Nothing has changed; the log has the details under the incident in `detail`.',
  },
  'internal-error': {
    status: 500,
    title: 'The service failed',
    about: 'A fault of the service. The log has the details under the id in `instance`.',
  },
  'unknown-coding': {
    status: 501,
    title: 'The transfer coding is not known',
    about: 'The only header Transfer-Encoding that is understood is `chunked`.',
  },
  'service-stopping': {
    status: 503,
    title: 'The service is stopping',
    about:
      'It takes no more requests, and has given up those that take longer than a stop may. Nothing has changed; try again after `Retry-After`, when it is back.',
  },
  unavailable: {
    status: 503,
    title: 'Not now',
    about:
      'The store does not answer or is full, too much waits, or a thread is being replaced. `detail` says whether anything may have changed; try again after `Retry-After`.',
  },
} as const;

export type ProblemName = keyof typeof PROBLEMS;

/** A field or parameter that is wrong. `pointer` is a JSON pointer (RFC 6901) into the part `in`. */
export interface FieldError {
  in: 'body' | 'query' | 'path';
  pointer: string;
  reason: string;
}

/** The refusal of the simulated kernel. */
export interface KernelError {
  errno: string;
  where: string;
  rule?: string | undefined;
  /** The fault that was armed and has struck. */
  fault?: number | undefined;
}

export interface ProblemDocument extends Partial<KernelError>, Partial<QuotaError> {
  type: string;
  title: string;
  status: number;
  detail: string;
  /** Id of the request, as in the log. */
  instance: string;
  errors?: FieldError[];
  /** Id of the first event that is kept. */
  oldest?: string;
  /** What the request has caused all the same. */
  hazards?: readonly HostEvent[];
}

/** Which quota a request is beyond; both numbers are in its unit. */
export interface QuotaError {
  quota: string;
  limit: number;
  used: number;
}

interface Extras {
  quota?: QuotaError;
  kernel?: KernelError;
  errors?: FieldError[];
  oldest?: string;
  hazards?: readonly HostEvent[];
  headers?: Record<string, string>;
}

/** A failure of a request. It is thrown, and the error handler answers with it. */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly kind: ProblemName;
  readonly extras: Extras;

  /** `detail` tells the caller what is wrong and what to do next; it must not hold a key. */
  constructor(kind: ProblemName, detail: string, extras: Extras = {}) {
    super(detail);
    this.kind = kind;
    this.extras = extras;
  }

  get status(): number {
    return PROBLEMS[this.kind].status;
  }

  document(instance: string): ProblemDocument {
    const { status, title } = PROBLEMS[this.kind];
    const { kernel, errors, oldest, quota, hazards } = this.extras;
    const document = { type: problemType(this.kind), title, status, detail: this.message, instance };
    return {
      ...document,
      ...kernel,
      ...quota,
      ...(errors === undefined ? {} : { errors }),
      ...(oldest && { oldest }),
      ...(hazards && { hazards }),
    };
  }
}

export const problemType = (kind: ProblemName): string => `/problems/${kind}`;

export function isProblemName(name: string): name is ProblemName {
  return Object.hasOwn(PROBLEMS, name);
}

export const PROBLEM_JSON = 'application/problem+json';
