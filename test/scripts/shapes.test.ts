/** What a host's state consists of is what is written: a change of it cannot go by unseen. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ShapeReader } from '../../scripts/shape-reader.ts';
import { differences, SHAPES, stateText } from '../../src/host/state/shapes.ts';
import { UPGRADES } from '../../src/host/state/upgrades/upgrades.ts';
import { ENGINE } from '../../src/lanes/engine-version.ts';

const CLASSES = new URL('../../src/host/state/classes.ts', import.meta.url);

/** The sources with one file changed, once for each pair. */
function edited(file: string, ...edits: readonly (readonly [string | RegExp, string])[]): ShapeReader {
  return new ShapeReader((path, text) => {
    if (path !== file) return text;
    return edits.reduce((before, [from, to]) => {
      const after = before.replaceAll(from, to);
      assert.notEqual(after, before, `${file} has ${from}`);
      return after;
    }, text);
  });
}

const found = (...[file, ...edits]: Parameters<typeof edited>): string[] =>
  differences(SHAPES, edited(file, ...edits).shapes()).map((sentence) => sentence.replace(/: run .*/, ''));

test('shapes.json and classes.ts are what the sources say; if not: run `npm run shapes`', () => {
  const reader = new ShapeReader();
  assert.deepEqual(differences(SHAPES, reader.shapes()), []);
  assert.equal(stateText(reader.shapes()), stateText(SHAPES));
  assert.equal(readFileSync(CLASSES, 'utf8'), reader.registry());
});

test('the last upgrade step leads to this engine', () => {
  assert.equal(UPGRADES.at(-1)!.to, ENGINE, 'src/host/state/upgrades: the step to the newest engine is to be adapted');
});

test('a field that is renamed is told, with what to do', () => {
  const reader = edited('kernel/iommufd/objects.ts', [/\b_users\b/g, '_useCount']);
  const sentences = differences(SHAPES, reader.shapes());
  assert.equal(sentences.length, 2);
  assert.match(
    sentences[0]!,
    /^field `_users` of class IommufdObject is in src\/host\/state\/shapes\.json and no longer there: run `npm run shapes`, and write an upgrade step in src\/host\/state\/upgrades: without one, stored hosts are built from their journals/,
  );
  assert.match(
    sentences[1]!,
    /^field `_useCount` of class IommufdObject is new and not in src\/host\/state\/shapes\.json: run/,
  );
});

test('types of fields, records in them, constants, and what a class extends, are told', () => {
  assert.deepEqual(found('machine/pci/function.ts', ['  resets = 0;', '  resets = 0n;']), [
    'field `resets` of class PciFunction is "bigint" and was "number"',
  ]);
  assert.deepEqual(found('kernel/mm/frame-map.ts', ['folioShift: number;', 'order: number;']), [
    'folioShift of record FrameSpan is in src/host/state/shapes.json and no longer there',
    'order of record FrameSpan is new and not in src/host/state/shapes.json',
  ]);
  assert.deepEqual(
    found('kernel/iommufd/areas/area-blocks.ts', ['export const BLOCK = 64;', 'export const BLOCK = 32;']),
    ['constant BLOCK is "32" and was "64"'],
  );
  assert.deepEqual(found('kernel/iommufd/ioas.ts', [/^}$/gm, '}\nexport class Spare {}']).slice(0, 1), [
    'class Spare is new and not in src/host/state/shapes.json',
  ]);
});

test('comments, methods, order and form change nothing; a cache changes no version', () => {
  const reader = edited(
    'kernel/iommufd/objects.ts',
    ['  id = 0;\n', ''],
    ['  private _users = 0;\n', '  private _users = 0; // the order is another\n  id    =   0;\n'],
    ['return this._objects.size === 0;', 'return this._objects.size < 1;'],
  );
  assert.deepEqual(differences(SHAPES, reader.shapes()), []);
  const cached = edited(
    'kernel/mm/frame-map.ts',
    [
      'static readonly caches = { _hint: () => undefined };',
      'static readonly caches = { _hint: () => undefined, _more: () => 1 };',
    ],
    ['  private _hint: FrameSpan | undefined;\n', '  private _hint: FrameSpan | undefined;\n  private _more = 1;\n'],
  ).shapes();
  assert.deepEqual(differences(SHAPES, cached), [
    'cache `_more` of class FrameMap is new and not in src/host/state/shapes.json: run `npm run shapes`',
  ]);
  assert.equal(stateText(cached), stateText(SHAPES));
});

test('what snapshots could not see is refused', () => {
  const file = 'kernel/mm/frame-map.ts';
  assert.throws(
    () => edited(file, ['private _hint: FrameSpan', '#hint: FrameSpan']).shapes(),
    /class FrameMap in src\/kernel\/mm\/frame-map\.ts has the field #hint/,
  );
  assert.throws(
    () => edited(file, ['caches = { _hint', 'caches = { _hunt']).shapes(),
    /lists _hunt among its caches, which is none of its fields/,
  );
  assert.throws(() => edited(file, ['export class FrameMap', 'class FrameMap']), /has to export class FrameMap/);
});
