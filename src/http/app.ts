/** The HTTP face: routes, and what all of them have in common. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import sse from '@fastify/sse';
import { type FastifyInstance, type FastifyRequest, type FastifyServerOptions, fastify, LogController } from 'fastify';
import type { Logger } from 'pino';
import { Connections } from './connections.ts';
import { asLine, handleClientError, handleError, LATE, sendProblem, unavailable } from './errors.ts';
import { noRoute } from './no-route.ts';
import { Problem } from './problems.ts';
import { logRequests } from './request-log.ts';
import { addDocs } from './resources/docs.ts';
import { addRoute, type Context, type RawBody, type Route } from './route.ts';
import { ROUTES } from './routes.ts';
import { HEARTBEAT_SECONDS, Watchers, watchedLanes } from './watchers.ts';
import { readWhole } from './whole-body.ts';

export interface AppOptions extends Omit<Context, 'watchers'> {
  /** Gets a line for each request; without it nothing is logged. */
  log?: Logger;
  /** Development mode: whoever sends the requests reads these lines, too, so they say more. */
  dev?: boolean;
  /** For tests: an answer that is not as the OpenAPI document says is an error. */
  checkAnswers?: boolean;
}

/** Builds the service, ready to listen. The caller closes it. */
export async function buildApp(options: AppOptions): Promise<FastifyInstance> {
  const { log, dev = false, checkAnswers = false, lanes, ...given } = options;
  const watchers = new Watchers();
  const context: Context = { ...given, watchers, lanes: watchedLanes(lanes, watchers) };
  const connections = new Connections();
  const app = fastify({
    serverFactory: (handle) => connections.createServer(handle),
    bodyLimit: context.config.bodyLimit,
    genReqId: () => randomUUID(),
    // Fastify's lines show the URL, which may hold secrets; `logRequests` writes the route instead.
    logController: new LogController({ disableRequestLogging: true }),
    // Fastify's own 503 is not problem+json; `refuseWhileStopping` answers instead.
    return503OnClosing: false,
    frameworkErrors: handleError,
    clientErrorHandler(error, socket) {
      connections.answerError(socket, error.code === LATE, () => handleClientError(error, socket));
    },
    ...(log === undefined ? {} : loggers(log)),
  }) as FastifyInstance;
  app.decorateRequest('tenant', null);
  app.decorateRequest('visibleHost', null);
  readBodiesAsJson(app);
  refuseWhileStopping(app, connections, watchers);
  app.setReplySerializer(asLine);
  app.setErrorHandler(handleError);
  app.setNotFoundHandler((request, reply) => sendProblem(request, reply, noRoute(request)));
  logRequests(app, dev);
  // What its types call the default is what the module itself is.
  await app.register(sse as unknown as typeof sse.default, { heartbeatInterval: HEARTBEAT_SECONDS * 1000 });
  for (const entry of ROUTES) {
    if (entry.raw) app.register(async (scope) => addRaw(scope, context, entry, entry.raw!, checkAnswers));
    else addRoute(app, context, entry, checkAnswers);
  }
  await addDocs(app);
  await app.ready();
  return app;
}

/**
 * Fastify's own lines are logged from `warn` on: where the service listens, which it logs as `info`, the caller says.
 */
function loggers(log: Logger): Pick<FastifyServerOptions, 'loggerInstance' | 'childLoggerFactory'> {
  const own = log.child({}, { level: log.isLevelEnabled('info') ? 'warn' : log.level });
  return { loggerInstance: own, childLoggerFactory: (_own, bindings, options) => log.child(bindings, options) };
}

/** Reads bodies of JSON, and no others. A body of no bytes counts as none. */
function readBodiesAsJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body: string, done) => {
    if (body === '') done(null, undefined);
    else {
      parse(request, body, (error, value) => {
        if (error) done(malformed(body));
        else done(null, value);
      });
    }
  });
}

/** Adds a route that gets its body unparsed: the bytes of JSON, or the stream of `type`. */
function addRaw(
  scope: FastifyInstance,
  context: Context,
  entry: Route,
  { type }: RawBody,
  checkAnswers: boolean,
): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('application/json', async (request: FastifyRequest, payload: IncomingMessage) => {
    const length = request.headers['content-length'];
    return await readWhole(payload, length === undefined ? undefined : Number(length), context.config.batchLimit);
  });
  scope.addContentTypeParser(type, (_request, payload, done) => done(null, payload));
  addRoute(scope, context, entry, checkAnswers);
}

/** Why a body is not JSON. The parser's message may show a piece of the body: its sender knows that anyway. */
function malformed(body: string): Problem {
  let detail = 'The body has a field that is not allowed in JSON here: __proto__ or constructor.prototype.';
  try {
    JSON.parse(body);
  } catch (error) {
    detail = `The body is not JSON: ${(error as SyntaxError).message}.`;
  }
  return new Problem('malformed-body', detail);
}

/** How long a stop waits for answers, such as those to uploads without end, in milliseconds. */
const PATIENCE_MS = 5000;

/** While the service stops, begun requests are answered and new ones refused (503); then all connections are closed. */
function refuseWhileStopping(app: FastifyInstance, connections: Connections, watchers: Watchers): void {
  let stopping = false;
  app.addHook('preClose', async () => {
    stopping = true;
    watchers.stop();
    await Promise.race([connections.idle(), setTimeout(PATIENCE_MS, undefined, { ref: false })]);
    // Fastify would wait for clients that have been answered and keep their connection open.
    app.server.closeAllConnections();
  });
  app.addHook('onRequest', async () => {
    if (stopping) throw unavailable('The service is stopping. Nothing has changed: try again when it is back.');
  });
}
