/** Tells of each request: a line of the log, and a span where somebody wants one. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { REQUEST, type RequestFacts } from '../log.ts';
import type { Problem } from './problems.ts';
import { traceIdOf } from './request-id.ts';
import type { Spans } from './spans.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The problem that it was answered with, or null. */
    problem: Problem | null;
    /** What was refused in an answer of 200, where somebody is told of it. */
    refused: RefusedOutcomes | null;
  }
}

export interface Telling {
  /** Development mode: lines have the path and the reason of a refusal, which may tell secrets. */
  dev: boolean;
  /** Default: nobody is told of spans. */
  spans?: Spans | undefined;
}

/** Routes that machines poll, or that a browser loads for one page: their lines are of level `debug`, and they have no spans. */
const QUIET = /^\/(livez|readyz|metrics|docs\/static\/.*|console\/.*)$/;

/** Tells of each request when it is answered. */
export function tellRequests(app: FastifyInstance, telling: Telling): void {
  app.decorateRequest('problem', null);
  app.decorateRequest('refused', null);
  app.addHook('onResponse', (request, reply, done) => {
    tellRequest(request, reply, telling);
    done();
  });
  if (!telling.dev && telling.spans === undefined) return;
  app.addHook('preSerialization', (request, _reply, answer, done) => {
    request.refused = refusedIn(answer as Outcomes);
    done(null, answer);
  });
}

export function tellRequest(request: FastifyRequest, reply: FastifyReply, { dev, spans }: Telling): void {
  const { statusCode, elapsedTime } = reply;
  const isQuiet = QUIET.test(request.routeOptions.url ?? '');
  const facts = factsOf(request, statusCode, elapsedTime);
  request.log[isQuiet ? 'debug' : 'info'](dev ? { ...facts, ...forPeople(request) } : facts, REQUEST);
  if (spans === undefined || isQuiet) return;
  const { count = 0, first } = request.refused ?? {};
  const { errno = first?.errno, where = first?.where } = facts;
  spans.note({ ...facts, errno, where }, count, request.headers, elapsedTime);
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

function forPeople(request: FastifyRequest): Pick<RequestFacts, 'path' | 'reason'> {
  const { url, problem, refused, body } = request;
  const reason = problem?.message ?? (refused === null ? undefined : sentenceOf(refused, body as Asked | undefined));
  return { path: url.split('?', 1)[0]!, reason };
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

interface RefusedOutcomes {
  count: number;
  first: Outcome & { index: number };
}

function refusedIn({ results, errors = results, failed }: Outcomes): RefusedOutcomes | null {
  if (!Array.isArray(errors)) return null;
  const refused = errors.flatMap((outcome: Outcome, index) =>
    outcome.errno !== undefined || outcome.fault !== undefined ? [{ index, ...outcome }] : [],
  );
  const [first] = refused;
  return first === undefined ? null : { count: failed ?? refused.length, first };
}

function sentenceOf({ count, first }: RefusedOutcomes, asked: Asked | undefined): string {
  const { index, errno, where, why, fault } = first;
  const { call, request = call } = asked?.calls?.[index] ?? {};
  const what = request === undefined ? '' : ` ${request}`;
  const said = fault === undefined ? `${errno} ${where}: ${why}` : `${fault.op} at ${fault.iova}: ${fault.reason}`;
  return `${count} refused, ${count === 1 ? 'number' : 'the first is number'} ${index}${what}: ${said}`;
}
