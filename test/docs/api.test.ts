/** The examples of docs/api.md do what it says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startService, temporaryDirectory } from '../support/service.ts';
import { at, blocksOf, paste } from './paste.ts';

test('the examples of the page work as they are', async (t) => {
  const { url } = await startService(t, temporaryDirectory(t));
  const blocks = blocksOf('docs/api.md', 'sh');
  const { stdout, stderr } = await paste(at(url, blocks.join('\n')), temporaryDirectory(t));
  assert.equal(stderr, '');
  const [id, advanced, status, type, unchanged] = stdout.trim().split('\n');
  assert.equal(id, 'ci-4711/7');
  assert.ok(advanced?.startsWith('{"now":'), stdout);
  assert.deepEqual([status, type, unchanged], ['200', '/problems/host-changed', '304'], stdout);
});
