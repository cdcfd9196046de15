import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StateConstant, StateGraph, StateObject } from '../../../src/host/state/graph.ts';
import { type Upgrade, wayOf } from '../../../src/host/state/upgrades/upgrade.ts';
import { finished } from '../../support/steps.ts';

function graph(): StateGraph {
  const root = new StateObject('Host');
  const parts = [1, 2].map((number) => Object.assign(new StateObject('Part'), { fields: { number, root } }));
  root.fields = {
    parts,
    span: { page: 1, count: 2 },
    handler: new StateConstant('HANDLER'),
    words: new Uint32Array([7]),
  };
  return new StateGraph(root);
}

/** As it comes back from pieces. */
const stored = (of: StateGraph): StateGraph => finished(StateGraph.fromPieces(finished(of.toPieces())));

test('a graph comes back from pieces as it was', () => {
  assert.deepEqual(stored(graph()).root, graph().root);
});

test('fields are renamed, dropped and added, classes renamed, objects made; what nothing reaches is gone', () => {
  const edited = graph();
  edited.renameField('Part', 'number', 'index');
  edited.addField('Part', 'double', ({ fields }: StateObject) => Number(fields.index) * 2);
  edited.renameClass('Part', 'Piece');
  edited.dropFields('Host', 'words', 'handler');
  edited.addField('Host', 'clock', edited.make('Clock', { time: 0n }));
  for (const span of edited.records('page', 'count')) span.order = 12;
  const { root } = stored(edited);
  assert.deepEqual(Object.keys(root.fields).sort(), ['clock', 'parts', 'span']);
  assert.deepEqual(
    (root.fields.parts as StateObject[]).map(({ of, fields: { root: back, ...fields } }) => ({
      of,
      fields,
      back: back === root,
    })),
    [
      { of: 'Piece', fields: { index: 1, double: 2 }, back: true },
      { of: 'Piece', fields: { index: 2, double: 4 }, back: true },
    ],
  );
  assert.deepEqual(root.fields.span, { page: 1, count: 2, order: 12 });
  assert.equal((root.fields.clock as StateObject).of, 'Clock');
  assert.deepEqual(edited.objects('Part'), []);
  assert.equal(edited.objects('Clock').length, 1);
});

test('a step that is mistaken is told so', () => {
  assert.throws(() => graph().renameField('Part', 'size', 'length'), /class Part has no field size/);
  assert.throws(() => graph().addField('Part', 'number', 0), /class Part has a field number already/);
});

test('steps make a way from one version to another, or there is none', () => {
  const step = (from: string, to: string): Upgrade => ({ from, to, step: () => undefined });
  const upgrades = [step('b', 'c'), step('a', 'b'), step('x', 'y'), step('y', 'x')];
  assert.deepEqual(wayOf(upgrades, 'a', 'c'), [upgrades[1], upgrades[0]]);
  assert.deepEqual(wayOf(upgrades, 'c', 'c'), []);
  assert.equal(wayOf(upgrades, 'c', 'a'), null);
  assert.equal(wayOf(upgrades, 'x', 'c'), null);
});
