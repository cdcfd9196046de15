/** The examples of docs/batches.md are pasted into a shell that knows nothing else. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { startService, temporaryDirectory } from '../support/service.ts';
import { at, blocksOf, paste, ROOT } from './paste.ts';

/** What an example prints, where the page shows it. */
function shownBehind(script: string): unknown {
  const page = readFileSync(`${ROOT}docs/batches.md`, 'utf8');
  const shown = /^```\n\n```json\n(.*?)^```/ms.exec(page.slice(page.indexOf(script) + script.length));
  return shown?.index === 0 ? JSON.parse(shown[1]!) : undefined;
}

test('the examples of batches answer what the text shows', async (t) => {
  const directory = temporaryDirectory(t);
  const { url } = await startService(t, temporaryDirectory(t));
  const [before, ...blocks] = blocksOf('docs/batches.md', 'sh');
  const examples = blocks.map((script) => ({ script, shown: shownBehind(script) }));
  assert.equal(examples.filter(({ shown }) => shown !== undefined).length, 3);
  const scripts = examples.map(({ script }, index) => `{\n${script}} > ${index}.out\n`);
  const script = [`{\n${before}} > /dev/null\n`, ...scripts, 'jq -cs . {0..9}.out 2> /dev/null'].join('\n');
  const { stdout, stderr } = await paste(at(url, script), directory);
  assert.equal(stderr, '');
  const printed = JSON.parse(stdout) as { errors?: unknown[]; status?: number }[];
  assert.equal(printed.length, examples.length);
  for (const [index, { shown, script }] of examples.entries()) {
    if (shown !== undefined) assert.deepEqual(printed[index], shown, script);
    else assert.deepEqual([printed[index]!.status, printed[index]!.errors ?? []], [undefined, []], script);
  }
});
