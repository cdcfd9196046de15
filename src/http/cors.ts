/** Pages of other origins: none may use the service from a browser, unless HOLDOVER_CORS_ORIGINS names it. */
import type { FastifyInstance } from 'fastify';
import { EXPOSED } from './headers.ts';

/** For so long a browser need not ask again, in seconds. */
const MAX_AGE = 600;

/** To be called before all other hooks are added. */
export async function allowOrigins(app: FastifyInstance, origins: readonly string[]): Promise<void> {
  // What the plugin answers by itself has an id, too.
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    done();
  });
  await app.register(import('@fastify/cors'), {
    origin: [...origins],
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    exposedHeaders: EXPOSED,
    maxAge: MAX_AGE,
    // Its refusals are no problem details.
    strictPreflight: false,
  });
}
