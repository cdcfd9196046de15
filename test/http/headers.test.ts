/** What answers tell browsers and caches. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ADMIN_KEY, fixture, HOST } from './fixture.ts';

test('what is of a tenant is stored by nobody on its way, and no problem is', async (t) => {
  const { ask, lanes } = await fixture(t);
  lanes.onQuery = () => ({ kind: 'ok', value: [] });
  const answers = [
    await ask('get', '/v1/hosts'),
    await ask('get', `/v1/hosts/${HOST}/devices`),
    await ask('post', `/v1/hosts/${HOST}/crash`),
    await ask('get', '/v1/admin/tenants', undefined, ADMIN_KEY),
    await ask('get', '/v1/hosts/h-unknown'),
    await ask('get', '/v1/hosts', undefined, null),
    await ask('get', '/v1/nowhere'),
    await ask('post', '/v1/hosts', '{').type('json'),
    await ask('get', '/nowhere', undefined, null),
    await ask('put', '/livez', undefined, null),
  ];
  for (const { headers, text } of answers) {
    assert.equal(headers['cache-control'], 'no-store', text);
    assert.equal(headers['x-content-type-options'], 'nosniff', text);
  }
});

test('pages load what the service sends and nothing else, and are in no frame', async (t) => {
  const { ask } = await fixture(t);
  for (const path of ['/docs', '/docs/', '/docs/static/swagger-ui.css', '/docs/static/oauth2-redirect.html']) {
    const { headers, status } = await ask('get', path, undefined, null);
    assert.equal(status, 200, path);
    const policy = headers['content-security-policy']!;
    for (const rule of ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"])
      assert.ok(policy.split('; ').includes(rule), `${path}: ${policy}`);
    assert.doesNotMatch(policy, /unsafe|https?:|\*/);
    assert.equal(headers['referrer-policy'], 'no-referrer');
    assert.equal(headers['x-content-type-options'], 'nosniff');
  }
  // What the policy would not let run.
  const { text } = await ask('get', '/docs/', undefined, null);
  assert.doesNotMatch(text, /<script>|<script [^>]*>\s*[^<\s]|<style|style=|\son\w+=/);
});
