/** The examples of docs/fixtures.md do what it says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seeded } from '../support/seeds.ts';
import { startService, temporaryDirectory } from '../support/service.ts';
import { at, blocksOf, paste } from './paste.ts';

test('the examples of the page work as they are', async (t) => {
  const { url } = await startService(t, temporaryDirectory(t));
  const script = at(url, blocksOf('docs/fixtures.md', 'sh').join('\n'));
  const { stdout, stderr } = await paste(script, temporaryDirectory(t));
  assert.equal(stderr, '');
  const lines = stdout.trim().split('\n');
  assert.deepEqual(lines, [
    '{"suite":"nightly"}',
    '{"suite":"nightly"}',
    '{"suite":"kept","ci/job":"4711"}',
    'lab running 1 0',
    '["kept","nightly"]',
    '{"deleted":2}',
    'dev/run-4711',
    '{"hosts":1,"tenants":1}',
  ]);
});

test('the seeds of the page are as it says', async (t) => {
  const [seeds, scenario, ...none] = blocksOf('docs/fixtures.md', 'yaml');
  assert.deepEqual(none, []);
  const { directory, env } = seeded(t, { 'acme.yaml': seeds!, 'scenarios/ready.yaml': scenario! });
  const { request } = await startService(t, directory, { dev: false, env });
  const { body } = await request('GET', '/v1/hosts', undefined, 'key-of-acme');
  assert.deepEqual(
    (body as { items: { name: string; labels: object }[] }).items.map(({ name, labels }) => [name, labels]),
    [
      ['lab', { suite: 'nightly' }],
      ['ready', {}],
    ],
  );
});
