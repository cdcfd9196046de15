/** The examples of docs/events.md do what it says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startService, temporaryDirectory } from '../support/service.ts';
import { at, blocksOf, paste } from './paste.ts';

test('the examples of the page work as they are', async (t) => {
  const directory = temporaryDirectory(t);
  const { url } = await startService(t, temporaryDirectory(t));
  const { stdout, stderr } = await paste(at(url, blocksOf('docs/events.md', 'sh').join('\n')), directory);
  assert.equal(stderr, '');
  const pages = stdout.split('\n').filter((line) => line.startsWith('{'));
  assert.deepEqual(
    pages.map((page) => (JSON.parse(page) as { items: unknown[] }).items.length),
    [6, 0, 0, 0],
  );
  assert.match(stdout, /^kernel 1\n +0\.000000 {2}0-0 .* boot +booted cold\n/m);
});
