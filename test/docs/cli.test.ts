/** The examples of docs/cli.md do what it says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startService, temporaryDirectory } from '../support/service.ts';
import { blocksOf, paste, ROOT } from './paste.ts';

test('the second example works as it is, but for where the service and the command are, and that it ends', async (t) => {
  const { url } = await startService(t, temporaryDirectory(t));
  const [, block] = blocksOf('docs/cli.md', 'sh');
  const script = block!
    .replaceAll('npx holdover', `${process.execPath} ${ROOT}src/cli/holdover.ts --url ${url}`)
    .replace(' --follow', '');
  const { stdout, stderr } = await paste(script, temporaryDirectory(t));
  assert.doesNotMatch(stderr, /holdover:/);
  assert.match(
    stdout,
    /A kexec would be taken\.[\s\S]*kernel 2: running[\s\S]*kernel 1\n[\s\S]*booted cold[\s\S]*kernel 2\n/,
  );
});
