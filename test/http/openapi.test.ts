/** The OpenAPI document: served, committed, complete, and its examples are true. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { get, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { openapiDocument } from '../../src/http/openapi.ts';
import { ROUTES } from '../../src/http/routes.ts';
import { pascal } from '../../src/http/schemas/values.ts';
import { REQUESTS } from '../../src/kernel/uapi/index.ts';
import { fixture } from './fixture.ts';

interface Operation {
  operationId: string;
  summary: string;
  tags: string[];
  security: unknown[];
  requestBody?: { content: Record<string, { example?: unknown }> };
  responses: Record<string, { content?: Record<string, { example?: unknown }> }>;
}

const document = openapiDocument() as {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, unknown> };
};
const operations = Object.values(document.paths).flatMap((path) => Object.values(path));

test('openapi/openapi.json is what the code says', async () => {
  const file = new URL('../../openapi/openapi.json', import.meta.url);
  assert.deepEqual(JSON.parse(await readFile(file, 'utf8')), document, 'run `npm run openapi` and commit the file');
});

test('it is served without a key, and so are the pages made of it, from the service alone', async (t) => {
  const { ask } = await fixture(t);
  assert.deepEqual((await ask('get', '/openapi.json', undefined, null)).body, document);
  const page = await ask('get', '/docs/', undefined, null).redirects(1);
  assert.equal(page.status, 200);
  assert.match(page.headers['content-type'] ?? '', /html/);
  assert.doesNotMatch(page.text, /(src|href)="(https?:)?\/\//);
  assert.equal((await ask('get', '/docs', undefined, null).redirects(1)).status, 200);
  assert.equal((await ask('get', '/docs/static/swagger-ui-bundle.js', undefined, null)).status, 200);
});

test('it is always the same bytes, and who has them is told so', async (t) => {
  const { ask } = await fixture(t);
  const first = await ask('get', '/openapi.json', undefined, null);
  const etag = first.headers.etag!;
  assert.match(etag, /^"[\w-]+"$/);
  assert.equal(first.headers['cache-control'], 'no-cache');
  assert.equal(first.headers['content-type'], 'application/json');
  const page = await ask('get', '/docs/json', undefined, null);
  assert.deepEqual([page.text, page.headers.etag], [first.text, etag]);
  for (const known of [etag, `W/${etag}`, `"another", ${etag}`, '*']) {
    const again = await ask('get', '/openapi.json', undefined, null).set('if-none-match', known);
    assert.deepEqual([again.status, again.text, again.headers.etag], [304, '', etag], known);
  }
  assert.equal((await ask('get', '/openapi.json', undefined, null).set('if-none-match', '"another"')).status, 200);
  for (const path of ['/openapi.json', '/docs/json']) {
    const head = await ask('head', path, undefined, null).set('if-none-match', etag);
    const { 'content-length': length } = head.headers;
    assert.deepEqual([head.status, Number(length)], [304, Buffer.byteLength(first.text)], path);
  }
  assert.equal((await ask('get', '/docs/yaml', undefined, null)).status, 404);
});

test('files of the pages that are not sent say why', async (t) => {
  const { app, ask } = await fixture(t);
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  const FILE = '/docs/static/index.css';
  const LONG_AGO = 'Mon, 01 Jan 2001 00:00:00 GMT';
  const cases: [string, OutgoingHttpHeaders, number, string][] = [
    [FILE, { range: 'bytes=0-3' }, 206, ''],
    [FILE, { range: 'bytes=999999999-' }, 416, 'range-not-satisfiable'],
    [FILE, { 'if-match': '"another"' }, 412, 'precondition-failed'],
    [FILE, { 'if-unmodified-since': LONG_AGO }, 412, 'precondition-failed'],
    ['/docs/static/../lib/routes.js', {}, 403, 'path-forbidden'],
    ['/docs/static/%2e%2e/lib/routes.js', {}, 403, 'path-forbidden'],
    ['/docs/static/a%00b', {}, 403, 'path-forbidden'],
    [`/docs/static/${'a'.repeat(5000)}`, {}, 403, 'path-forbidden'],
    ['/docs/static/.env', {}, 404, 'not-found'],
    ['/docs/static/nothing.css', {}, 404, 'not-found'],
  ];
  for (const [path, headers, status, problem] of cases) {
    // As it is: others tidy paths up.
    const [response] = (await once(get({ port, path, headers }), 'response')) as [IncomingMessage];
    const body = await text(response);
    assert.equal(response.statusCode, status, path);
    if (status === 416) assert.match(response.headers['content-range']!, /^bytes \*\/\d+$/);
    if (problem !== '') assert.equal(JSON.parse(body).type, `/problems/${problem}`, path);
  }
  for (const path of ['/docs', FILE, '/openapi.json']) {
    const { status, headers } = await ask('post', path, {});
    assert.deepEqual([status, headers.allow], [405, 'GET'], path);
  }
});

test('every route is an operation of its own with a summary, a tag, examples and its problems', () => {
  assert.equal(operations.length, ROUTES.length);
  assert.equal(new Set(operations.map(({ operationId }) => operationId)).size, operations.length);
  for (const { operationId, summary, tags, responses, requestBody } of operations) {
    assert.ok(summary && tags.length === 1, operationId);
    assert.ok(
      Object.keys(responses).some((status) => status.startsWith('4')),
      operationId,
    );
    const bodies = [
      requestBody,
      ...Object.entries(responses).flatMap(([status, body]) => (status < '3' ? [body] : [])),
    ];
    for (const body of bodies) {
      const content = body?.content?.['application/json'];
      if (content) assert.ok('example' in content, `${operationId} has no example`);
    }
  }
});

test('all but what is public needs a key', () => {
  for (const [path, methods] of Object.entries(document.paths)) {
    const isPublic = !path.startsWith('/v1/');
    for (const { security } of Object.values(methods)) assert.equal(security.length, isPublic ? 0 : 1, path);
  }
});

test('every request has a schema of its own', () => {
  for (const request of REQUESTS.keys()) assert.ok(`Ioctl${pascal(request)}` in document.components.schemas, request);
});

test('examples are what the schemas take', () => {
  for (const { operationId, body, bodyExample, success } of ROUTES) {
    if (body) assert.ok(body.safeParse(bodyExample ?? {}).success, `body of ${operationId}`);
    for (const { schema, example } of Object.values(success)) {
      const parsed = schema?.safeParse(example);
      assert.ok(parsed?.success !== false, `answer of ${operationId}: ${parsed?.error?.message}`);
    }
  }
});
