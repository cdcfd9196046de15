/** What the console is made of, as it is sent. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fixture } from './fixture.ts';

const MOST_BYTES = 250 * 1024;

test('the page names all it needs, which is small, is of this service, and has no script or style in it', async (t) => {
  const { ask } = await fixture(t);
  const { text, headers } = await ask('get', '/console', undefined, null).expect(200);
  assert.match(headers['content-type']!, /^text\/html/);
  const policy = headers['content-security-policy']!;
  assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self'/);
  assert.doesNotMatch(policy, /unsafe|https?:|\*/);
  assert.doesNotMatch(text, /<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=|https?:\/\/(?!www\.w3\.org)/);
  const named = [...text.matchAll(/(?:href|src)="(console[^"]*)"/g)].map(([, path]) => `/${path}`);
  let bytes = Buffer.byteLength(text);
  for (const path of new Set(named)) {
    const file = await ask('get', path, undefined, null).expect(200);
    assert.match(file.headers['content-type']!, /^text\/(javascript|css)/);
    const body = file.text ?? file.body.toString();
    bytes += Buffer.byteLength(body);
    for (const [, name] of body.matchAll(/(?<![\w./-])(?:from|import) ?['"]([\w./-]+)['"]/g))
      assert.ok(named.includes(new URL(name!, `http://x${path}`).pathname), `${path} imports ${name}`);
  }
  assert.ok(named.length > 20);
  assert.ok(bytes < MOST_BYTES, `${bytes} bytes`);
});

test('what a browser has is not sent again, the log has a line a page, and there is nothing else', async (t) => {
  const { ask, logged } = await fixture(t);
  const { headers } = await ask('get', '/console', undefined, null).expect(200);
  assert.equal(headers['cache-control'], 'no-cache');
  for (const known of [headers.etag!, `W/${headers.etag}`, `"another", ${headers.etag}`, '*'])
    await ask('get', '/console', undefined, null).set('if-none-match', known).expect(304);
  await ask('get', '/console/console/main.ts', undefined, null).expect(200);
  const lines = logged()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const levelsOf = (wanted: string): unknown[] =>
    lines.filter(({ route }) => route === wanted).map(({ level }) => level);
  assert.deepEqual(new Set(levelsOf('/console')), new Set([30]));
  assert.deepEqual(levelsOf('/console/*'), [20]);
  for (const path of [
    '/console/',
    '/console/console/tsconfig.json',
    '/console/console/../../package.json',
    '/console/host/views.ts',
  ])
    await ask('get', path, undefined, null).expect(404);
  const refused = await ask('post', '/console', {}, null).expect(405);
  assert.equal(refused.headers.allow, 'GET');
});

test('the key of the development mode is filled in, and no other one', async (t) => {
  const known = await (await fixture(t, { dev: true })).ask('get', '/console', undefined, null);
  assert.match(known.text, /data-key="dev-key"/);
  const chosen = await (await fixture(t, { dev: true, devKey: 'chosen-by-somebody' })).ask(
    'get',
    '/console',
    undefined,
    null,
  );
  assert.doesNotMatch(chosen.text, /data-key|chosen-by-somebody/);
  const served = await (await fixture(t)).ask('get', '/console', undefined, null);
  assert.doesNotMatch(served.text, /data-key/);
});
