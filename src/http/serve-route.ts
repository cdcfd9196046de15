/** Serves routes: reads what goes in, has the handler run, and says what comes out with all that answers have in common. */
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Hazard } from '../kernel/hazards.ts';
import { LARGE } from '../limits.ts';
import { AUDIT } from '../log.ts';
import { accountOf } from '../store/store.ts';
import { isPacked, unpack } from '../threads/packed.ts';
import { authenticate } from './auth.ts';
import type { BodyBudget, Claim } from './bodies/budget.ts';
import { parseBody } from './bodies/json.ts';
import { type AskedLanes, lanesAsBefore, lanesFor } from './clients.ts';
import { inPieces } from './codings.ts';
import { keyIn } from './fair-turns.ts';
import { toldWith, withHazards } from './hazards.ts';
import { type Before, keyIn as idempotencyKeyIn, once, REPLAYED, requestKey } from './idempotency.ts';
import { pathSchema } from './parameters.ts';
import type { Context, Input, Route } from './route.ts';
import { strict } from './schemas/values.ts';
import { read } from './validation.ts';
import { expectedIn, isKnown, isVersioned, tagOf, versioningOf } from './versions.ts';

const NO_QUERY = strict({});
const NO_BODY = strict({}).optional();

type AnyInput = Input<string, never, never>;

export function addRoute(app: FastifyInstance, context: Context, entry: Route, checkAnswers: boolean): void {
  const { method, path, access, success } = entry;
  const input = inputReader(context, entry);
  // Beside 204 there is what tells hazards.
  const status = success[204] ? 204 : Number(Object.keys(success)[0]);
  app.route({
    method,
    ...(entry.raw && { bodyLimit: context.config.batchLimit }),
    ...(entry.bodyLimit && { bodyLimit: entry.bodyLimit }),
    config: {
      operation: context.routes.indexOf(entry),
      ...(entry.raw && { variable: 'HOLDOVER_BATCH_LIMIT', types: `application/json or ${entry.raw.type}` }),
      ...(entry.bodyLimit && { variable: null }),
    },
    ...(entry.streams && { sse: 'dual' as const }),
    url: path.replaceAll(/\{(\w+)\}/g, ':$1'),
    onRequest: async (request, reply) => {
      request.answer = reply.raw;
      // What is of a tenant is nobody else's, such as of a proxy.
      if (access !== 'public') reply.header('cache-control', 'no-store');
      await authenticate(context, access, request, reply);
      if (method === 'POST') idempotencyKeyIn(request.raw);
    },
    handler: async (request, reply) => {
      const known = method === 'POST' && access === 'tenant' ? idempotencyKeyIn(request.raw) : undefined;
      // Before the body is given away.
      const key = known === undefined ? undefined : await requestKey(request, request.tenant!, known);
      const isInParts = entry.raw !== undefined && request.body instanceof Readable;
      const reading = input(request);
      const values = reading instanceof Promise ? await reading : reading;
      const expected = versioningOf(entry) === 'none' ? undefined : expectedIn(request.headers['if-match']);
      const { readsOnly } = request;
      let asked = lanesFor(context.lanes, reply.raw, { readsOnly, expected, key: isInParts ? undefined : key });
      const handle = async (before?: Before): Promise<unknown> => {
        if (before !== undefined) {
          asked = lanesAsBefore(asked, before);
          reply.header(REPLAYED, 'true');
        } else if (access === 'tenant') await withinQuotas(context, entry, values);
        return await entry.handle({ ...context, lanes: asked.lanes, key, before }, values, reply);
      };
      reply.code(status);
      let answer: unknown;
      try {
        if (key === undefined || isInParts) answer = await handle();
        else {
          const { directory } = context;
          const makes = values.host === null;
          answer = await once({ lanes: asked.lanes, directory, key, makes }, handle, () => asked.isDone);
        }
      } catch (error) {
        // What is refused has gone into the journal, too.
        if (versioningOf(entry) === 'change' && asked.sequence !== null) reply.header('etag', tagOf(asked.sequence));
        throw withHazards(error, asked.hazards);
      } finally {
        for (const { data } of asked.hazards) context.metrics.noteHazard(data.hazard as Hazard);
      }
      if (entry.audited) audit(request, entry, values);
      // It was a stream, which has come to its end.
      if (reply.raw.headersSent) return;
      if (isKnownAlready(request, reply, entry, asked, answer)) return reply.code(304).send();
      const { location } = success[reply.statusCode] ?? {};
      if (location) reply.header('location', location(answer as never, values as never));
      if (asked.hazards.length > 0) answer = toldWith(reply, answer, asked.hazards);
      if (checkAnswers) checkAnswer(entry, reply, unpack(answer));
      if (!isPacked(answer)) return reply.send(answer);
      // Of a command it must be told what it has done.
      if (method === 'GET') takeRoom(context, reply, answer.length);
      else claimOf(request, context.budget).hold(answer.length);
      return reply.type('application/json').send(inPieces(reply, answer));
    },
  });
}

/** Says which version of the host the answer is of, and whether whoever asks has it. */
function isKnownAlready(
  { headers }: FastifyRequest,
  reply: FastifyReply,
  entry: Route,
  { sequence }: AskedLanes,
  answer: unknown,
): boolean {
  const versioning = versioningOf(entry);
  if (versioning === 'none' || sequence === null || !isVersioned(entry, answer)) return false;
  reply.header('etag', tagOf(sequence));
  return versioning === 'read' && isKnown(headers['if-none-match'], sequence);
}

/** Who has done something that says who may do what. */
function audit({ log, id: reqId, keyName }: FastifyRequest, { operationId, access }: Route, input: AnyInput): void {
  const by = access === 'admin' ? { admin: true } : { tenant: input.tenant.name, key: keyName };
  log.info({ reqId, act: operationId, by, ...input.params, given: input.body }, AUDIT);
}

/** Throws a problem where the tenant uses too much for that. A promise where that has to be counted first. */
function withinQuotas({ quotas }: Context, { method, frees }: Route, input: AnyInput): Promise<void> | undefined {
  const usual = method === 'GET' || method === 'DELETE' ? 'everything' : 'nothing';
  const given = typeof frees === 'function' ? frees(input.body) : frees;
  return quotas.check(input.tenant, input.host?.id ?? null, given ?? usual);
}

/** To look through a body of so many bytes takes a fraction of a millisecond, whatever it is. */
const SMALL = 1024;

/** A promise where the body is not small: a large one is read elsewhere. */
function inputReader(
  { readers, bodies }: Context,
  entry: Route,
): (request: FastifyRequest) => AnyInput | Promise<AnyInput> {
  const { query = NO_QUERY } = entry;
  const params = pathSchema(entry.path);
  return (request) => {
    const received = request.body;
    const asked = { params: read(params, request.params, 'path'), query: read(query, request.query, 'query') };
    const { tenant, visibleHost: host } = request;
    const input = (body: unknown, raw?: unknown) => ({ ...asked, body, raw, tenant, host }) as AnyInput;
    if (entry.raw) return input(undefined, received);
    const bytes = received as Uint8Array<ArrayBuffer> | undefined;
    if (bytes !== undefined && bytes.length > LARGE) {
      request.body = undefined;
      return readers.read(tenantOf(request), { operationId: entry.operationId, ...asked }, bytes).then(input);
    }
    const look = (): AnyInput => {
      const value = bytes && parseBody(bytes);
      request.body = value;
      return input(bodyOf(entry, asked, value));
    };
    if (bytes === undefined || bytes.length <= SMALL) return look();
    return new Promise((resolve, reject) => {
      bodies.enter(keyIn(request.headers), () => {
        const begun = performance.now();
        try {
          resolve(look());
        } catch (error) {
          reject(error);
        }
        bodies.spend(performance.now() - begun);
      });
    });
  };
}

/** What the handler is given as the body, in whichever thread. Throws a problem. */
export function bodyOf(entry: Route, asked: object, value: unknown): unknown {
  const { body: schema = NO_BODY, prepare } = entry;
  const body = read(schema, value ?? undefined, 'body');
  return prepare ? prepare({ ...asked, body } as never) : body;
}

/** Who is asked to wait where much is asked at once. */
const tenantOf = ({ tenant }: FastifyRequest): string => (tenant === null ? '' : accountOf(tenant));

/** What the request has of the budget until it is answered. */
export function claimOf(request: FastifyRequest, budget: BodyBudget): Claim {
  if (request.claim === null) {
    const claim = budget.claim(tenantOf(request));
    request.answer!.once('close', () => claim.release());
    request.claim = claim;
  }
  return request.claim;
}

/** Makes sure that there is room for an answer of so many bytes, before anything is done. Throws a problem where there is none. */
export function takeRoom({ budget }: Context, { request }: FastifyReply, bytes: number): void {
  if (bytes > LARGE) claimOf(request, budget).raise(bytes);
}

/** For tests: throws if an answer is not as the OpenAPI document says. */
function checkAnswer({ operationId, success, raw }: Route, reply: FastifyReply, answer: unknown): void {
  const { statusCode: status } = reply;
  if (raw && answer instanceof Readable) return;
  const documented = success[status];
  if (status === 201 && !reply.hasHeader('location')) throw new Error(`${operationId} does not tell where it is`);
  if (!documented) throw new Error(`${operationId} answers ${status}, which is not documented`);
  if (documented.also && (typeof answer === 'string' || answer instanceof Readable)) return;
  if (!documented.schema) {
    if (answer !== undefined) throw new Error(`${operationId} answers a body with ${status}, which is not documented`);
    return;
  }
  const parsed = documented.schema.safeParse(answer);
  if (!parsed.success) throw new Error(`${operationId} answers what is not documented: ${parsed.error.message}`);
}
