/** Serves the console: a page, its modules and its styles, which need no key. They are made when the first of them is asked for. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Context } from '../route.ts';
import type { ConsoleFile } from './console-files.ts';

/** The page loads and asks nothing but this service, runs no script but its modules, and is in no other's frame. */
const POLICY = Object.entries({
  'default-src': "'none'",
  'script-src': "'self'",
  'style-src': "'self'",
  'img-src': "'self' data:",
  'connect-src': "'self'",
  'base-uri': "'none'",
  'form-action': "'none'",
  'frame-ancestors': "'none'",
  'require-trusted-types-for': "'script'",
  'trusted-types': 'lit-html',
})
  .map(([what, from]) => `${what} ${from}`)
  .join('; ');

export function addConsole(app: FastifyInstance, { dev, config }: Pick<Context, 'dev' | 'config'>): void {
  let files: Promise<ReadonlyMap<string, ConsoleFile>> | undefined;
  const send = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    files ??= import('./console-files.ts').then(({ consoleFiles }) => consoleFiles(dev ? config.devKey : null));
    const file = (await files).get(request.url.split('?', 1)[0]!);
    if (file === undefined) return reply.callNotFound() as unknown as FastifyReply;
    const { bytes, type, tag } = file;
    reply.headers({ etag: tag, 'cache-control': 'no-cache' });
    if (request.headers['if-none-match'] === tag) return reply.code(304).send();
    return reply.type(type).send(bytes);
  };
  app.register(async (scope) => {
    scope.addHook('onRequest', (_request, reply, done) => {
      reply.headers({ 'content-security-policy': POLICY, 'referrer-policy': 'no-referrer' });
      done();
    });
    for (const url of ['/console', '/console/*']) scope.get(url, send);
  });
}
