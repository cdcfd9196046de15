/** The OpenAPI document, and pages made of it. They need no key and no network. */
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { openapiDocument } from '../openapi.ts';

export async function addDocs(app: FastifyInstance): Promise<void> {
  const document = openapiDocument();
  // The types of the plugin know versions up to 3.0; it takes the document as it is.
  await app.register(swagger, { mode: 'static', specification: { document: document as never } });
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    // Without the bar at the top, which is for choosing among documents: there is one.
    uiConfig: { docExpansion: 'none', layout: 'BaseLayout', filter: true, persistAuthorization: true },
    theme: { title: 'Holdover: API' },
  });
  app.get('/openapi.json', () => document);
}
