/** Imports of files, and the circles that they form. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { circlesOf, importsOf } from './import-graph.ts';

test('imports of types, and what is passed on, count; packages do not', () => {
  const text = `
    import { a } from './a.ts';
    import type { B } from '../b.ts';
    import { type C } from './c.ts';
    import './d.ts';
    export { e } from './e.ts';
    export type * from './f.ts';
    import path from 'node:path';
    // import { g } from './g.ts';
    export const h = './h.ts';
  `;
  assert.deepEqual(importsOf('x.ts', text), ['./a.ts', '../b.ts', './c.ts', './d.ts', './e.ts', './f.ts']);
  assert.throws(() => importsOf('x.ts', 'import {'), /^Error: x\.ts: /);
});

test('circles are found, the largest first; what only leads there or away is not in them', () => {
  const graph = new Map(
    Object.entries({
      in: ['a'],
      a: ['b'],
      b: ['c', 'out'],
      c: ['a', 'x'],
      x: ['y'],
      y: ['x'],
      out: [],
      self: ['self'],
    }),
  );
  const sets = new Map([...graph].map(([file, targets]) => [file, new Set(targets)]));
  assert.deepEqual(circlesOf(sets), [
    ['a', 'b', 'c'],
    ['x', 'y'],
  ]);
});
