import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearest } from '../src/nearest.ts';

test('the nearest name is that with the fewest changes, and none where all are far', () => {
  const known = ['HOLDOVER_PORT', 'HOLDOVER_HOST', 'fd', 'flags'];
  const cases: [string, string | undefined][] = [
    ['HOLDOVER_PROT', 'HOLDOVER_PORT'],
    ['holdover_host', 'HOLDOVER_HOST'],
    ['HOLDOVER_POST', 'HOLDOVER_PORT'],
    ['flag', 'flags'],
    ['df', 'fd'],
    ['size', undefined],
    ['', undefined],
    ['HOLDOVER_SOMETHING_ELSE', undefined],
  ];
  for (const [name, expected] of cases) assert.equal(nearest(name, known), expected, name);
  assert.equal(nearest('anything', []), undefined);
});
