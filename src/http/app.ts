/** The HTTP face: routes, and what all of them have in common. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import compress from '@fastify/compress';
import sse from '@fastify/sse';
import { type FastifyInstance, type FastifyRequest, type FastifyServerOptions, fastify, LogController } from 'fastify';
import type { Logger } from 'pino';
import type { Lanes } from '../lanes/lanes.ts';
import { STOP_ANSWERS_MS, STOP_GRACE_MS } from '../limits.ts';
import { BodyBudget } from './bodies/budget.ts';
import { checkCodings } from './bodies/json.ts';
import { Readers } from './bodies/readers.ts';
import { receive } from './bodies/receive.ts';
import { CODINGS, compressWhereAsked } from './codings.ts';
import { Connections, letBodyCome, type Patience } from './connections.ts';
import { allowOrigins } from './cors.ts';
import { asLine, handleClientError, handleError, LATE, rulesOf, sendProblem, serviceStopping } from './errors.ts';
import { FairTurns } from './fair-turns.ts';
import { checkHead } from './head.ts';
import { addMetrics } from './metrics.ts';
import { noRoute } from './no-route.ts';
import { NO_SCHEMAS } from './no-schemas.ts';
import { noPeers, type Peers } from './peers.ts';
import { TenantQuotas } from './quotas/quotas.ts';
import { requestIdOf } from './request-id.ts';
import { tellRequest, tellRequests } from './request-log.ts';
import { addConsole } from './resources/console.ts';
import { addDocs } from './resources/docs.ts';
import { addHome } from './resources/home.ts';
import type { Context, RawBody, Route } from './route.ts';
import { ROUTES } from './routes.ts';
import { addRoute, claimOf } from './serve-route.ts';
import type { Spans } from './spans.ts';
import { HEARTBEAT_SECONDS, Watchers, watchedLanes } from './watchers.ts';

export interface AppOptions
  extends Omit<
    Context,
    'keys' | 'bodies' | 'watchers' | 'readers' | 'budget' | 'quotas' | 'metrics' | 'routes' | 'fileKey' | 'dev'
  > {
  /** Default: nobody else has it. */
  fileKey?: string;
  /** Other threads that serve; default: there are none. */
  peers?: Peers;
  /** For tests: how long connections may take for what they do. */
  patience?: Partial<Patience>;
  /** Gets a line for each request; without it nothing is logged. */
  log?: Logger;
  /** Development mode: whoever sends the requests reads these lines, too, so they say more. */
  dev?: boolean;
  /** Tells a collector of the requests; default: there is none. */
  spans?: Spans | undefined;
  /** For tests: an answer that is not as the OpenAPI document says is an error. */
  checkAnswers?: boolean;
}

/** Bodies that are looked through in one turn of the event loop, if that takes no time. */
const BODIES_AT_A_TIME = 64;

/** Builds the service, ready to listen. The caller closes it. */
export async function buildApp(options: AppOptions): Promise<FastifyInstance> {
  const { log, dev = false, spans, checkAnswers = false, patience, lanes, peers = noPeers(), ...given } = options;
  const { fileKey = randomUUID() } = given;
  const { common } = peers;
  const watchers = new Watchers(common);
  const readers = new Readers(common.threads);
  const budget = new BodyBudget(given.config, common);
  const quotas = new TenantQuotas({
    usual: given.config.quotas,
    hosts: given.directory.hosts,
    lanes,
    peers,
  });
  const connections = new Connections(patience, common.threads);
  const { keys } = connections;
  const bodies = new FairTurns(keys, BODIES_AT_A_TIME);
  const context: Context = {
    ...given,
    fileKey,
    dev,
    keys,
    bodies,
    watchers,
    readers,
    budget,
    quotas,
    metrics: common.metrics,
    lanes: watchedLanes(lanes, watchers, peers),
    routes: ROUTES,
  };
  peers.hear = (told) => {
    common.metrics.hear(told);
    if ('changed' in told) watchers.wake(told.changed);
    else if ('asked' in told) quotas.noteAsked(told.asked);
    else if ('removed' in told) {
      quotas.forget(told.removed);
      watchers.end(told.removed);
    } else if ('died' in told) watchers.wakeAllBehind(lanes);
  };
  const app = fastify({
    serverFactory: (handle) => connections.createServer(handle),
    bodyLimit: context.config.bodyLimit,
    genReqId: requestIdOf,
    schemaController: NO_SCHEMAS,
    // Fastify's lines show the URL, which may hold secrets; `tellRequests` writes the route instead.
    logController: new LogController({ disableRequestLogging: true }),
    // Fastify's own 503 is not problem+json; `refuseWhileStopping` answers instead.
    return503OnClosing: false,
    frameworkErrors(error, request, reply) {
      handleError(error, request, reply);
      // No hook hears of it.
      tellRequest(request, reply, { dev, spans });
    },
    clientErrorHandler(error, socket) {
      connections.answerError(socket, error.code === LATE, () => handleClientError(error, socket, log));
    },
    ...(log === undefined ? {} : loggers(log)),
  }) as FastifyInstance;
  app.decorateRequest('tenant', null);
  app.decorateRequest('keyName', null);
  app.decorateRequest('readsOnly', false);
  app.decorateRequest('visibleHost', null);
  app.decorateRequest('answer', null);
  app.decorateRequest('claim', null);
  receiveJson(app, context);
  const { corsOrigins } = context.config;
  if (corsOrigins !== null) await allowOrigins(app, corsOrigins);
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-content-type-options', 'nosniff');
    reply.header('x-request-id', request.id);
    checkHead(request, dev);
    // At once: nobody reads what came with it.
    if (request.is404) throw noRoute(request);
    done();
  });
  refuseWhileStopping(app, lanes, connections, watchers);
  app.addHook('onClose', () => readers.close());
  if (spans !== undefined) app.addHook('onClose', () => spans.close());
  app.setReplySerializer(asLine);
  app.setErrorHandler(handleError);
  app.setNotFoundHandler((request, reply) => sendProblem(request, reply, noRoute(request)));
  tellRequests(app, { dev, spans });
  await app.register(compress, CODINGS);
  compressWhereAsked(app);
  // What its types call the default is what the module itself is.
  await app.register(sse as unknown as typeof sse.default, { heartbeatInterval: HEARTBEAT_SECONDS * 1000 });
  for (const entry of ROUTES) {
    if (entry.raw) app.register(async (scope) => addRaw(scope, context, entry, entry.raw!, checkAnswers));
    else addRoute(app, context, entry, checkAnswers);
  }
  addHome(app, context);
  addDocs(app, context);
  addConsole(app, context);
  addMetrics(app, common.metrics, ROUTES);
  await app.ready();
  return app;
}

/**
 * Fastify's own lines are logged from `warn` on: where the service listens, which it logs as `info`, the caller says. A
 * request has no logger of its own, which takes some microseconds to make: who logs names the request.
 */
function loggers(log: Logger): Pick<FastifyServerOptions, 'loggerInstance' | 'childLoggerFactory'> {
  const own = log.child({}, { level: log.isLevelEnabled('info') ? 'warn' : log.level });
  return { loggerInstance: own, childLoggerFactory: () => log };
}

/** Receives bodies of JSON, and no others; what they are is read when all is known that is asked. */
function receiveJson(app: FastifyInstance, { config, budget }: Context): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', async (request: FastifyRequest, payload: IncomingMessage) => {
    const { limit, types } = rulesOf(request);
    checkCodings(request.headers, types);
    const { bodyIdle: idle, bodyTimeout: timeout } = config;
    return await receive(payload, { limit, claim: claimOf(request, budget), idle, timeout });
  });
}

/** Adds a route that gets its body unparsed: the bytes of JSON, or the stream of `type`. */
function addRaw(
  scope: FastifyInstance,
  context: Context,
  entry: Route,
  { type, memory }: RawBody,
  checkAnswers: boolean,
): void {
  receiveJson(scope, context);
  scope.addContentTypeParser(type, (request, payload, done) => {
    try {
      checkCodings(request.headers, rulesOf(request).types);
      claimOf(request, context.budget).raise(memory);
      letBodyCome(request.raw);
      done(null, payload);
    } catch (error) {
      done(error as Error);
    }
  });
  addRoute(scope, context, entry, checkAnswers);
}

/**
 * While the service stops, begun requests are answered and new ones refused (503). What takes longer is given up (503, too),
 * and what is not answered even then, such as uploads without end, ends with its connection.
 */
function refuseWhileStopping(app: FastifyInstance, lanes: Lanes, connections: Connections, watchers: Watchers): void {
  let stopping = false;
  app.addHook('preClose', async () => {
    stopping = true;
    watchers.stop();
    const idle = connections.idle().then(() => true);
    const isIdle = (milliseconds: number): Promise<boolean> =>
      Promise.race([idle, setTimeout(milliseconds, false, { ref: false })]);
    if (!(await isIdle(STOP_GRACE_MS))) {
      const stopped = lanes.stop();
      stopped.catch(() => {});
      await isIdle(STOP_ANSWERS_MS);
    }
    // Fastify would wait for clients that have been answered and keep their connection open.
    app.server.closeAllConnections();
  });
  app.addHook('onRequest', (_request, _reply, done) => {
    if (stopping) throw serviceStopping();
    done();
  });
}
