/** The pages for people at / and /docs: who gets them, what they say and which key they show. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import manifest from '../../package.json' with { type: 'json' };
import { StoreFull } from '../../src/store/store.ts';
import { startService, temporaryDirectory } from '../support/service.ts';
import { fixture } from './fixture.ts';

/** As Chromium sends it. */
const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8';

test('a browser is shown at / where to go, and what the service is', async (t) => {
  const { ask } = await fixture(t);
  const { status, headers, text } = await ask('get', '/', undefined, null).set('accept', BROWSER);
  assert.equal(status, 200);
  assert.equal(headers['content-type'], 'text/html; charset=utf-8');
  assert.equal(headers['cache-control'], 'no-store');
  assert.match(headers.vary ?? '', /^accept(,|$)/);
  const ways = [...text.matchAll(/<li><a href="([^"]+)"/g)].map(([, href]) => href!);
  assert.deepEqual(ways, ['console', 'docs', 'openapi.json', 'docs/readme']);
  for (const path of ways.slice(1)) assert.equal((await ask('get', `/${path}`, undefined, null)).status, 200, path);
  assert.ok(text.includes(manifest.description) && text.includes(`<dd>${manifest.version}</dd>`), text);
  assert.match(text, /<dt>Service<\/dt><dd>ready<\/dd>/);
});

test('its policy lets nothing in but its own style', async (t) => {
  const { ask } = await fixture(t);
  const { headers, text } = await ask('get', '/', undefined, null).set('accept', BROWSER);
  const [, style] = /<style>(.*)<\/style>/s.exec(text)!;
  assert.deepEqual(headers['content-security-policy']!.split('; '), [
    "default-src 'none'",
    `style-src 'sha256-${hash('sha256', style!, 'base64')}'`,
    "img-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ]);
  assert.equal(headers['referrer-policy'], 'no-referrer');
  assert.doesNotMatch(text, /<script|style=|\son\w+=|(src|href)="(https?:)?\/\//);
});

test('HEAD of / is as GET, without the page', async (t) => {
  const { ask } = await fixture(t);
  const page = await ask('get', '/', undefined, null).set('accept', BROWSER);
  const head = await ask('head', '/', undefined, null).set('accept', BROWSER);
  assert.equal(head.status, 200);
  assert.equal(Number(head.headers['content-length']), Buffer.byteLength(page.text));
  assert.equal((await ask('head', '/', undefined, null)).status, 404);
});

test('whoever does not ask for a page is told at / where to look', async (t) => {
  const { ask } = await fixture(t);
  for (const accept of ['', '*/*', 'application/json', 'application/json, text/html;q=0.9', 'text/html;q=0']) {
    const asked = ask('get', '/', undefined, null);
    const { status, headers, body } = await (accept === '' ? asked : asked.set('accept', accept));
    assert.equal(status, 404, accept);
    assert.equal(headers['content-type'], 'application/problem+json');
    assert.match(headers.vary ?? '', /^accept(,|$)/);
    assert.equal(body.type, '/problems/not-found');
    for (const path of ['/openapi.json', '/docs', '/console']) assert.ok(body.detail.includes(path), body.detail);
  }
});

test('/ says what keeps the service from being used, and that something is damaged', async (t) => {
  const { ask, store } = await fixture(t);
  const page = async (): Promise<string> => (await ask('get', '/', undefined, null).set('accept', 'text/html')).text;
  store.writeBy({ write: () => Promise.reject(new StoreFull('there is no room')) });
  const { body } = await ask('get', '/readyz', undefined, null);
  assert.ok((await page()).includes(`<strong class="bad">not ready</strong>: ${body.detail}`), body.detail);
  store.writeBy(null);
  store.damage.add({ hostId: null, kind: 'database', what: 'a page' });
  assert.match(await page(), /<dd>ready; <a href="readyz">some of what is stored is damaged<\/a><\/dd>/);
});

test('both pages show the key of the development mode, as long as everybody knows it, and no other key', async (t) => {
  const cases = [
    [{ dev: true }, /<dd><code>dev-key<\/code>/, /data-key="dev-key"/, /its key is <code>dev-key<\/code>/i],
    [{ dev: true, devKey: 'my-secret' }, /HOLDOVER_DEV_KEY/, /HOLDOVER_DEV_KEY/, /\$HOLDOVER_KEY/],
    [{ devKey: 'my-secret' }, /from whoever runs/, /HOLDOVER_TENANTS=name:key/, /POST \/v1\/admin\/tenants/],
    [{}, /from whoever runs/, /HOLDOVER_TENANTS=name:key/, /process\.env\.HOLDOVER_KEY/],
  ] as const;
  for (const [options, onFirst, ...onDocs] of cases) {
    const { app, ask } = await fixture(t, options);
    const address = await app.listen({ host: '127.0.0.1', port: 0 });
    const host = new URL(address).host;
    const first = await ask('get', '/', undefined, null).set('accept', BROWSER).set('host', host);
    assert.match(first.text, onFirst);
    const docs = await ask('get', '/docs', undefined, null).set('host', host);
    for (const pattern of onDocs) assert.match(docs.text, pattern);
    for (const { text } of [first, docs]) {
      assert.doesNotMatch(text, /my-secret/);
      if (!('dev' in options) || 'devKey' in options) assert.doesNotMatch(text, /dev-key|data-key/);
    }
  }
});

test('/docs is a page for narrow screens and for readers of any kind, with or without a slash at its end', async (t) => {
  const { ask } = await fixture(t);
  for (const [path, folder] of [
    ['/docs', 'docs'],
    ['/docs?from=somewhere/', 'docs'],
    ['/docs/', '.'],
  ] as const) {
    const { headers, text } = await ask('get', path, undefined, null);
    assert.equal(headers['content-type'], 'text/html; charset=utf-8');
    assert.equal(headers['cache-control'], 'no-cache');
    assert.match(text, /^<!doctype html>\n<html lang="en">/);
    assert.match(text, /<meta name="viewport" content="width=device-width, initial-scale=1">/);
    for (const file of ['static/theme/docs.js', 'static/theme/docs.css', 'json', 'readme', '../console'])
      assert.ok(text.includes(`"${folder}/${file}"`), `${path}: ${file}`);
  }
  for (const [file, type] of [
    ['docs.js', 'application/javascript; charset=utf-8'],
    ['docs.css', 'text/css; charset=utf-8'],
  ] as const) {
    const { status, headers } = await ask('get', `/docs/static/theme/${file}`, undefined, null);
    assert.deepEqual([status, headers['content-type']?.toLowerCase()], [200, type]);
  }
});

test('/docs tells each state that the API names', async (t) => {
  const { ask } = await fixture(t);
  const { text } = await ask('get', '/docs', undefined, null);
  const tables = [...text.matchAll(/<table>(.*?)<\/table>/gs)].map(([, table]) =>
    [...table!.matchAll(/<th scope="row"><code>(\w+)<\/code>/g)].map(([, state]) => state!).sort(),
  );
  const { schemas } = (await ask('get', '/openapi.json', undefined, null)).body.components;
  const told = ['Device', 'Host', 'Session'].map((name) => [...schemas[name].properties.state.enum].sort());
  assert.deepEqual(tables, told);
});

test('/docs shows an address as it was asked, unless a shell would take it for something else', async (t) => {
  const { ask } = await fixture(t);
  for (const [host, shown] of [
    ['holdover.example:81', 'holdover.example:81'],
    ['[::1]:8080', '[::1]:8080'],
    ["a'$(b)", 'localhost:8080'],
  ] as const) {
    const { text } = await ask('get', '/docs', undefined, null).set('host', host);
    assert.ok(text.includes(`curl -s http://${shown}/v1/hosts`), host);
    assert.ok(!text.includes('$(b)'));
  }
});

test('/docs/readme is the README', async (t) => {
  const { ask } = await fixture(t);
  const { headers, text } = await ask('get', '/docs/readme', undefined, null);
  assert.equal(headers['content-type'], 'text/plain; charset=utf-8');
  assert.equal(text, await readFile(new URL('../../README.md', import.meta.url), 'utf8'));
});

test('the lines of /docs each make a host', async (t) => {
  const service = await startService(t, temporaryDirectory(t));
  const text = await (await fetch(`${service.url}/docs`)).text();
  const [curl, javascript] = [...text.matchAll(/<pre [^>]*><code>(.*?)<\/code>/gs)].map(([, line]) =>
    line!.replaceAll('&apos;', "'").replaceAll('&quot;', '"').replaceAll('&amp;', '&'),
  );
  const made = [
    execFileSync('sh', ['-c', curl!], { encoding: 'utf8' }),
    execFileSync(process.execPath, ['--input-type=module', '-e', `${javascript}\nconsole.log(JSON.stringify(host))`], {
      encoding: 'utf8',
    }),
  ].map((answer) => JSON.parse(answer).id);
  const { body } = await service.request('GET', '/v1/hosts');
  assert.deepEqual(
    (body as { items: { id: string }[] }).items.map(({ id }) => id),
    made,
  );
});
