/** What holds of every answer, whatever was asked. */
import { isProblemName } from '../../src/http/problems.ts';
import { ROUTES } from '../../src/http/routes.ts';
import { Problem } from '../../src/http/schemas/problem.ts';
import { OPERATIONS, type Operation } from '../support/operations.ts';
import type { Answer, Sent } from './wire.ts';

const PATTERNS = OPERATIONS.map((operation) => ({
  operation,
  pattern: new RegExp(`^${operation.path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`),
}));

const SCHEMAS = new Map(ROUTES.map(({ operationId, success }) => [operationId, success]));

/** What is answered where no operation is, and to what is not quite HTTP. */
const ELSEWHERE = [200, 301, 302, 304, 400, 401, 403, 404, 405, 408, 412, 413, 414, 415, 416, 417, 421, 431];

/** The operation that a request is for; undefined: none. */
function operationAt({ method, target }: Pick<Sent, 'method' | 'target'>): Operation | undefined {
  // The form that proxies are sent has the origin, too.
  const path = target.replace(/^http:\/\/[^/]*/, '').split(/[?#]/, 1)[0]!;
  const asked = method === 'HEAD' ? 'get' : method.toLowerCase();
  return PATTERNS.find(({ operation, pattern }) => operation.method === asked && pattern.test(path))?.operation;
}

/** What is wrong with an answer; null: nothing. `slow`: how long it may take, in milliseconds. */
export function faultOf(sent: Sent, answer: Answer, slow: number): string | null {
  const { status, headers, milliseconds } = answer;
  if (milliseconds > slow) return `it took ${milliseconds.toFixed(0)} ms`;
  const coded = sent.headers.some(([name]) => name.toLowerCase() === 'transfer-encoding');
  if (status >= 500 && !(status === 503 && headers.has('retry-after')) && !(status === 501 && coded))
    return 'a fault of the service';
  const operation = operationAt(sent);
  const documented = operation ? Object.keys(operation.responses).map(Number) : ELSEWHERE;
  if (![...documented, ...(coded ? [501] : []), 503].includes(status)) return `status ${status} is not documented`;
  if (sent.method === 'HEAD') return null;
  return status >= 400 ? faultOfProblem(answer) : faultOfSuccess(operation, answer);
}

function faultOfProblem({ status, headers, text }: Answer): string | null {
  if (headers.get('content-type') !== 'application/problem+json') return 'it is no problem+json';
  const parsed = Problem.safeParse(parse(text));
  if (!parsed.success) return `its fields are not those of a problem: ${parsed.error.message}`;
  const { type, status: told, errno, errors = [] } = parsed.data;
  const kind = type.replace('/problems/', '');
  if (!isProblemName(kind)) return `${type} is no problem`;
  if (told !== status) return `it says ${told}`;
  if (kind.startsWith('kernel-') !== (errno !== undefined)) return 'an errno is of what the kernel refuses';
  for (const { pointer } of errors) if (pointer !== '' && !pointer.startsWith('/')) return `${pointer} is no pointer`;
  return null;
}

function faultOfSuccess(operation: Operation | undefined, { status, headers, text }: Answer): string | null {
  const documented = operation && SCHEMAS.get(operation.operationId)?.[status];
  if (!documented) return null;
  if (!documented.schema) return text === '' ? null : 'it has a body, which is not documented';
  if (headers.get('content-type') !== 'application/json') return null;
  const parsed = documented.schema.safeParse(parse(text));
  return parsed.success ? null : `it is not as documented: ${parsed.error.message}`;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
