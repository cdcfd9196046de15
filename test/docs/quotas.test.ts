/** The page of the configuration has the quotas that there are. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { DEFAULTS, QUOTA_NAMES, QUOTAS } from '../../src/quotas.ts';
import { ROOT } from './paste.ts';

const page = readFileSync(`${ROOT}docs/configuration.md`, 'utf8');
const rows = [...page.matchAll(/^\| `(\w+)` \| (.*?) \| (.*?) \|$/gm)].filter(([, name]) => name! in QUOTAS);

test('each quota is told, with what it is of and its default', () => {
  assert.deepEqual(
    rows.map(([, name]) => name),
    QUOTA_NAMES,
  );
  for (const [, name, about, usual] of rows as unknown as [string, keyof typeof QUOTAS, string, string][]) {
    assert.ok(about.startsWith(QUOTAS[name].about), `${name}: ${about}`);
    if (name in DEFAULTS)
      assert.ok(usual.startsWith(DEFAULTS[name as keyof typeof DEFAULTS].toLocaleString('en')), name);
  }
});
