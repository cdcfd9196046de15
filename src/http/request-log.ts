/** Writes one line of the log for each request. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { REQUEST, type RequestFacts } from '../log.ts';
import type { Problem } from './problems.ts';
import { traceIdOf } from './request-id.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The problem that it was answered with, or null. */
    problem: Problem | null;
    /** In development mode: a sentence about what was refused in an answer of 200. */
    refusals: string | null;
  }
}

/** Routes that machines poll, or that a browser loads for one page: their lines are of level `debug`. */
const QUIET = /^\/(livez|readyz|metrics|docs\/static\/.*)$/;

/** Logs each request when it is answered. `dev`: with its path and the reason of a refusal, which may tell secrets. */
export function logRequests(app: FastifyInstance, dev: boolean): void {
  app.decorateRequest('problem', null);
  app.decorateRequest('refusals', null);
  app.addHook('onResponse', async (request, reply) => logRequest(request, reply, dev));
  if (!dev) return;
  app.addHook('preSerialization', async (request, _reply, answer) => {
    request.refusals = refusalsIn(answer as Outcomes, request.body as Asked | undefined);
    return answer;
  });
}

export function logRequest(request: FastifyRequest, { statusCode, elapsedTime }: FastifyReply, dev: boolean): void {
  const level = QUIET.test(request.routeOptions.url ?? '') ? 'debug' : 'info';
  const facts = factsOf(request, statusCode, elapsedTime);
  request.log[level](dev ? { ...facts, ...forPeople(request) } : facts, REQUEST);
}

/** What a line says: the route and not the URL, which may hold secrets. */
function factsOf(request: FastifyRequest, status: number, milliseconds: number): RequestFacts {
  const { method, tenant, visibleHost, problem } = request;
  const { url: route = null } = request.routeOptions;
  const kernel = problem?.extras.kernel;
  return {
    reqId: request.id,
    traceId: traceIdOf(request.headers),
    method,
    route,
    status,
    ms: Math.round(milliseconds),
    tenant: tenant?.name,
    host: visibleHost?.id,
    problem: problem?.kind,
    errno: kernel?.errno,
    where: kernel?.where,
  };
}

function forPeople({ url, problem, refusals }: FastifyRequest): Pick<RequestFacts, 'path' | 'reason'> {
  return { path: url.split('?', 1)[0]!, reason: problem?.message ?? refusals ?? undefined };
}

interface Outcome {
  errno?: string;
  where?: string;
  why?: string;
  fault?: { reason: string; op: string; iova: string };
  /** Number of the operation, in a list that has only refused ones. */
  index?: number;
}

/** Calls, operations of a batch and accesses of a device are each refused by themselves. */
interface Outcomes {
  results?: readonly Outcome[];
  errors?: readonly Outcome[];
  failed?: number;
}

interface Asked {
  calls?: readonly { call: string; request?: string }[];
}

function refusalsIn({ results, errors = results, failed }: Outcomes, asked: Asked | undefined): string | null {
  if (!Array.isArray(errors)) return null;
  const refused = errors.flatMap((outcome: Outcome, index) =>
    outcome.errno !== undefined || outcome.fault !== undefined ? [{ index, ...outcome }] : [],
  );
  const [first] = refused;
  if (first === undefined) return null;
  const count = failed ?? refused.length;
  const { index, errno, where, why, fault } = first;
  const { call, request = call } = asked?.calls?.[index] ?? {};
  const what = request === undefined ? '' : ` ${request}`;
  const said = fault === undefined ? `${errno} ${where}: ${why}` : `${fault.op} at ${fault.iova}: ${fault.reason}`;
  return `${count} refused, ${count === 1 ? 'number' : 'the first is number'} ${index}${what}: ${said}`;
}
