/** The page at `/`, for people who open the service's address in a browser. Whoever does not ask for a page is answered 404, as at any path that is none. */
import { hash } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import manifest from '../../../package.json' with { type: 'json' };
import { COLOURS } from '../../timeline/shapes.ts';
import { escaped } from '../../timeline/text.ts';
import { prefersPage } from '../accept.ts';
import { problemOf } from '../errors.ts';
import { noRoute } from '../no-route.ts';
import type { Context } from '../route.ts';
import { type KeySource, keySource, policy } from './pages.ts';

const STYLE = `
${COLOURS}
* { box-sizing: border-box; } body { font: 16px/1.55 system-ui, sans-serif; margin: 0 auto; max-width: 44rem; padding: clamp(1.5rem, 8vh, 6rem) clamp(1rem, 4vw, 2rem); background: var(--page); color: var(--text); overflow-wrap: anywhere; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0; } p { margin: .5rem 0; } a { color: var(--link); } code { font: 14px ui-monospace, monospace; background: var(--column); border: 1px solid var(--line); border-radius: 4px; padding: .1rem .35rem; } .soft { color: var(--soft); } .bad { color: var(--bad); font-weight: 600; }
ul { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)); gap: .75rem; list-style: none; margin: 2rem 0; padding: 0; }
li a { display: block; height: 100%; padding: .9rem 1.1rem; border: 1px solid var(--line); border-radius: 8px; background: var(--column); color: var(--text); text-decoration: none; } li strong { color: var(--link); text-decoration: underline; text-underline-offset: 3px; } li span { display: block; color: var(--soft); font-size: 14px; }
li a:hover { border-color: var(--edge); } a:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.2rem; margin: 0; padding-top: 1rem; border-top: 1px solid var(--line); } dt { color: var(--soft); } dd { margin: 0; }
`;

const POLICY = policy({ 'style-src': `'sha256-${hash('sha256', STYLE, 'base64')}'`, 'img-src': "'self'" });

/** Paths are relative, so that they are right behind a proxy that puts the service below a path of its own. */
const WAYS = [
  ['console', 'Console', 'Hosts, devices and sessions, to look at and to work with'],
  ['docs', 'API pages', 'Getting started, all operations, and requests to try'],
  ['openapi.json', 'OpenAPI document', 'For generators of clients'],
  ['docs/readme', 'README', 'What Holdover is, and a live update step by step'],
] as const;

const KEYS: Readonly<Record<KeySource, (key: string) => string>> = {
  known: (key) => `<code>${escaped(key)}</code> (development mode, this machine only)`,
  chosen: () => 'the one in <code>HOLDOVER_DEV_KEY</code> (development mode, this machine only)',
  configured: () => 'from whoever runs the service; <a href="docs">API pages</a> tell where keys come from',
};

export function addHome(app: FastifyInstance, context: Context): void {
  const key = KEYS[keySource(context)](context.config.devKey);
  app.get('/', async (request, reply) => {
    reply.header('vary', 'accept');
    if (!prefersPage(request.headers.accept)) throw noRoute(request);
    reply.headers({
      'cache-control': 'no-store',
      'content-security-policy': POLICY,
      'referrer-policy': 'no-referrer',
      'content-type': 'text/html; charset=utf-8',
    });
    return page(await stateOf(context), key);
  });
}

/** Whether the service can be used, as /readyz says it. */
async function stateOf({ directory: { check, damage } }: Context): Promise<string> {
  try {
    await check();
  } catch (error) {
    return `<strong class="bad">not ready</strong>: ${escaped(problemOf(error as Error).message)}`;
  }
  return damage.all.length === 0 ? 'ready' : 'ready; <a href="readyz">some of what is stored is damaged</a>';
}

const page = (state: string, key: string): string => `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Holdover</title>
<link rel="icon" type="image/png" href="docs/static/favicon-32x32.png" sizes="32x32">
<style>${STYLE}</style></head>
<body>
<main>
<h1>Holdover</h1>
<p>${escaped(manifest.description)}.</p>
<nav aria-label="Pages"><ul>${WAYS.map(([href, name, about]) => `<li><a href="${href}"><strong>${name}</strong><span>${about}</span></a></li>`).join('')}</ul></nav>
<dl><dt>Service</dt><dd>${state}</dd><dt>Version</dt><dd>${escaped(manifest.version)}</dd><dt>Key</dt><dd>${key}</dd></dl>
</main>
</body>
</html>
`;
