/** The examples of the page about scenario files hold. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { runScenarios } from '../../src/scenarios/run.ts';
import { useApp } from '../support/app.ts';
import { scenarioFiles } from '../support/scenario-files.ts';

const app = useApp();

test('each example of docs/scenarios.md holds', async (t) => {
  const page = await readFile(new URL('../../docs/scenarios.md', import.meta.url), 'utf8');
  const examples = [...page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, text], index) => [`${index}.yaml`, text!]);
  assert.ok(examples.length >= 5);
  const { outcomes } = await runScenarios([await scenarioFiles(t, Object.fromEntries(examples))], app);
  assert.ok(outcomes.length > examples.length, 'one has parameters');
  for (const { name, failure } of outcomes) assert.equal(failure && JSON.stringify(failure, null, 1), undefined, name);
});
