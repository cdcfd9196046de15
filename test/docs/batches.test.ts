/** The examples of docs/batches.md are run as they stand, behind those of the README that they go on from. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { useApp } from '../support/app.ts';

const run = promisify(execFile);
const app = useApp();

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

interface Example {
  script: string;
  /** What it prints, where the text shows it. */
  shown: unknown;
}

function examplesOf(text: string): Example[] {
  return [...text.matchAll(/^```sh\n(.*?)^```\n(?:\n```json\n(.*?)^```)?/gms)].map(([, script, shown]) => ({
    script: script!,
    shown: shown === undefined ? undefined : JSON.parse(shown),
  }));
}

test('the examples of batches answer what the text shows', async () => {
  const before = examplesOf(read('README.md')).slice(0, 2);
  const examples = examplesOf(read('docs/batches.md'));
  assert.equal(examples.filter(({ shown }) => shown !== undefined).length, 3);
  const scripts = examples.map(({ script }, index) => `{\n${script}} > ${index}.out\n`);
  const script = [...before.map(({ script }) => `{\n${script}} > /dev/null\n`), 'cd "$(mktemp -d)"', ...scripts];
  const { stdout } = await run(
    'bash',
    ['-euo', 'pipefail', '-c', `${script.join('\n')}\njq -cs . *.out; rm -r "$PWD"`],
    {
      env: { ...process.env, HOLDOVER_URL: app.url, HOLDOVER_KEY: app.key },
    },
  );
  const printed = JSON.parse(stdout) as { errors?: unknown[]; status?: number }[];
  assert.equal(printed.length, examples.length);
  for (const [index, { shown, script }] of examples.entries()) {
    if (shown !== undefined) assert.deepEqual(printed[index], shown, script);
    else assert.deepEqual([printed[index]!.status, printed[index]!.errors ?? []], [undefined, []], script);
  }
});
