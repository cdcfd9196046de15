/** Serves the OpenAPI document, and pages made of it. They need no key and no network. */
import { hash } from 'node:crypto';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { asLine } from '../errors.ts';
import { openapiDocument } from '../openapi.ts';

const PAGES = '/docs';

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

export async function addDocs(app: FastifyInstance): Promise<void> {
  await app.register(async (scope) => {
    scope.addHook('onRequest', (_request, reply, done) => {
      reply.headers({ 'content-security-policy': POLICY, 'referrer-policy': 'no-referrer' });
      done();
    });
    await addPages(scope);
  });
}

async function addPages(app: FastifyInstance): Promise<void> {
  const document = openapiDocument();
  const sendDocument = sender(document);
  // The plugin takes any document; its types know only versions up to 3.0.
  await app.register(swagger, { mode: 'static', specification: { document: document as never } });
  await app.register(swaggerUi, {
    routePrefix: PAGES,
    // Without the bar at the top, which chooses among documents: there is only one.
    uiConfig: { docExpansion: 'none', layout: 'BaseLayout', filter: true, persistAuthorization: true },
    theme: { title: 'Holdover: API' },
    uiHooks: {
      // The plugin would make the text anew for every request.
      onRequest(request, reply, done) {
        const { url } = request.routeOptions;
        if (url === `${PAGES}/json`) sendDocument(request, reply);
        else if (url === `${PAGES}/yaml`) reply.callNotFound();
        else done();
      },
    },
  });
  app.get('/openapi.json', sendDocument);
}

/** Makes a handler that sends the document, or 304 to a client that has it (If-None-Match). */
function sender(document: object): (request: FastifyRequest, reply: FastifyReply) => FastifyReply {
  const bytes = Buffer.from(asLine(document));
  const tag = `"${hash('sha256', bytes, 'base64url')}"`;
  return (request, reply) => {
    reply.headers({ etag: tag, 'cache-control': 'no-cache' });
    const known = request.headers['if-none-match']?.split(',').map((one) => one.trim().replace(/^W\//, '')) ?? [];
    // A 304 to HEAD is given the bytes for its Content-Length, which would be 0 without them.
    const none = request.method === 'HEAD' ? bytes : undefined;
    if (known.includes(tag) || known.includes('*')) return reply.code(304).send(none);
    return reply.type('application/json').send(bytes);
  };
}
