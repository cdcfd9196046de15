/**
 * Serves the OpenAPI document, and pages made of it. They need no key and no network. What makes them is loaded when the first
 * of them is asked for: it would take a fifth of a start.
 */
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Context } from '../route.ts';
import { keySource, policy } from './pages.ts';

/** Nothing but what this service itself sends is loaded. The styles of elements are set by the page's own script. */
const POLICY = policy({
  'script-src': "'self'",
  'style-src': "'self'",
  'img-src': "'self' data:",
  'connect-src': "'self'",
});

export function addDocs(app: FastifyInstance, context: Context): void {
  const { devKey } = context.config;
  const keys = { keySource: keySource(context), devKey };
  let pages: Promise<FastifyInstance> | undefined;
  const replies = new WeakMap<IncomingMessage, FastifyReply>();
  const send = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    pages ??= import('./docs-pages.ts').then(({ buildPages }) => buildPages(keys, (raw) => replies.get(raw)!));
    const { routing } = await pages;
    replies.set(request.raw, reply);
    // What hooks have set is of this reply, and the pages write another one.
    for (const [name, value] of Object.entries(reply.getHeaders())) reply.raw.setHeader(name, value!);
    routing(request.raw, reply.raw);
    return reply;
  };
  app.register(async (scope) => {
    scope.addHook('onRequest', (_request, reply, done) => {
      reply.headers({ 'content-security-policy': POLICY, 'referrer-policy': 'no-referrer' });
      done();
    });
    // Files of pages have a route of their own: their lines of the log are told from others by it.
    for (const url of ['/docs', '/docs/*', '/docs/static/*', '/openapi.json']) scope.get(url, send);
  });
  app.addHook('onClose', async () => await (await pages)?.close());
}
