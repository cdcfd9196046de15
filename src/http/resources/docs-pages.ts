/** The OpenAPI document and the pages made of it, as an application of their own: see docs.ts. */
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import { packageFile } from '../../package-files.ts';
import { asLine } from '../errors.ts';
import { NO_SCHEMAS } from '../no-schemas.ts';
import { SCRIPT, STYLE } from './docs-browser.ts';
import { type GuideOptions, guide } from './docs-guide.ts';
import { pageFile, sendFile } from './pages.ts';

const PAGES = '/docs';

/** What `openapi.ts` makes of the routes; `npm run openapi` writes it. */
const DOCUMENT = packageFile('openapi/openapi.json');

const README = packageFile('README.md');

/** In steps, between which others have their turns. `replyTo`: the reply of the service itself to such a request, which tells what cannot be sent. */
export async function buildPages(
  keys: Pick<GuideOptions, 'keySource' | 'devKey'>,
  replyTo: (request: IncomingMessage) => FastifyReply,
): Promise<FastifyInstance> {
  const app = fastify({ schemaController: NO_SCHEMAS });
  app.setErrorHandler<FastifyError>((error, request) => void replyTo(request.raw).send(error));
  app.setNotFoundHandler((request) => void replyTo(request.raw).callNotFound());
  const document = JSON.parse(await readFile(DOCUMENT, 'utf8'));
  await setImmediate();
  const options = { ...keys, description: document.info.description };
  const file = pageFile(asLine(document), 'application/json');
  const sendDocument = (request: FastifyRequest, reply: FastifyReply): FastifyReply => sendFile(file, request, reply);
  await setImmediate();
  // Given its path the plugin would read it at once.
  await app.register(swagger, { mode: 'static', specification: { document } });
  await setImmediate();
  await app.register(swaggerUi, {
    routePrefix: PAGES,
    theme: {
      css: [{ filename: 'docs.css', content: STYLE }],
      js: [{ filename: 'docs.js', content: SCRIPT }],
    },
    uiHooks: {
      // Its page is another one here, and it would make the text of the document anew for every request.
      onRequest(request, reply, done) {
        const { url } = request.routeOptions;
        if (url === PAGES || url === `${PAGES}/`) sendGuide(options, request, reply);
        else if (url === `${PAGES}/json`) sendDocument(request, reply);
        else if (url === `${PAGES}/yaml`) reply.callNotFound();
        else done();
      },
    },
  });
  app.get('/openapi.json', sendDocument);
  app.get(`${PAGES}/readme`, async (_request, reply) =>
    reply.type('text/plain; charset=utf-8').send(await readFile(README)),
  );
  await setImmediate();
  await app.ready();
  return app;
}

/** A header Host that can stand in a line of a shell as it is. */
const PLAIN = /^(?:[\w.-]+|\[[\da-f:.]+\])(?::\d+)?$/i;

function sendGuide(
  options: GuideOptions,
  { protocol, headers, url }: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const { host = '' } = headers;
  const address = `${protocol}://${PLAIN.test(host) ? host : 'localhost:8080'}`;
  const folder = url.split('?', 1)[0]!.endsWith('/') ? '.' : PAGES.slice(1);
  return reply
    .type('text/html; charset=utf-8')
    .header('cache-control', 'no-cache')
    .send(guide(options, { address, folder }));
}
