/** The OpenAPI document, and pages made of it. They need no key and no network. */
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { openapiDocument } from '../openapi.ts';

export async function addDocs(app: FastifyInstance): Promise<void> {
  const document = openapiDocument();
  // The types of the plugin know versions up to 3.0; it takes the document as it is.
  await app.register(swagger, { mode: 'static', specification: { document: document as never } });
  await app.register(swaggerUi, { routePrefix: '/docs', uiConfig: { docExpansion: 'none' } });
  app.get('/openapi.json', () => document);
}
