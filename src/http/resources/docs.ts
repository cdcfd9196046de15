/**
 * Serves the OpenAPI document, and pages made of it. They need no key and no network. What makes them is loaded when the first
 * of them is asked for: it would take a fifth of a start.
 */
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

/**
 * What pages may load and do (Content Security Policy): nothing but what this service itself sends. The styles of elements are
 * set by the page's own script.
 */
const POLICY = Object.entries({
  'default-src': "'none'",
  'script-src': "'self'",
  'style-src': "'self'",
  'img-src': "'self' data:",
  'connect-src': "'self'",
  'base-uri': "'none'",
  'form-action': "'none'",
  'frame-ancestors': "'none'",
})
  .map(([what, from]) => `${what} ${from}`)
  .join('; ');

export function addDocs(app: FastifyInstance): void {
  let pages: Promise<FastifyInstance> | undefined;
  const replies = new WeakMap<IncomingMessage, FastifyReply>();
  const send = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    pages ??= import('./docs-pages.ts').then(({ buildPages }) => buildPages((raw) => replies.get(raw)!));
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
