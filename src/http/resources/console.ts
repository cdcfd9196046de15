/** Serves the console: a page, its modules and its styles, which need no key. They are made when the first of them is asked for. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Context } from '../route.ts';
import { keySource, type PageFile, policy, sendFile } from './pages.ts';

/** What of it is markup was made by its own library, which does not put together markup and what it is given. */
const POLICY = policy({
  'script-src': "'self'",
  'style-src': "'self'",
  'img-src': "'self' data:",
  'connect-src': "'self'",
  'require-trusted-types-for': "'script'",
  'trusted-types': 'lit-html',
});

export function addConsole(app: FastifyInstance, context: Context): void {
  let files: Promise<ReadonlyMap<string, PageFile>> | undefined;
  const send = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    files ??= import('./console-files.ts').then(({ consoleFiles }) =>
      consoleFiles(keySource(context) === 'known' ? context.config.devKey : null),
    );
    const file = (await files).get(request.url.split('?', 1)[0]!);
    if (file !== undefined) return sendFile(file, request, reply);
    reply.callNotFound();
    return reply;
  };
  app.register(async (scope) => {
    scope.addHook('onRequest', (_request, reply, done) => {
      reply.headers({ 'content-security-policy': POLICY, 'referrer-policy': 'no-referrer' });
      done();
    });
    for (const url of ['/console', '/console/*']) scope.get(url, send);
  });
}
