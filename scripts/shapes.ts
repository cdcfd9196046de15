/**
 * Writes what a host's state consists of (src/host/state/shapes.json) and the list of its classes beside it. With
 * `--check` it only says where the sources are not what is written.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { differences, type Shapes } from '../src/host/state/shapes.ts';
import { engineOf } from '../src/lanes/engine-version.ts';
import { ShapeReader } from './shape-reader.ts';

const SHAPES = new URL('../src/host/state/shapes.json', import.meta.url);
const CLASSES = new URL('../src/host/state/classes.ts', import.meta.url);

const reader = new ShapeReader();
const shapes = reader.shapes();
const registry = reader.registry();

if (!process.argv.includes('--check')) {
  writeFileSync(SHAPES, `${JSON.stringify(shapes, null, 2)}\n`);
  writeFileSync(CLASSES, registry);
  process.stdout.write(`engine ${engineOf(shapes)}: the last step of src/host/state/upgrades has to lead there\n`);
} else {
  const found = differences(JSON.parse(readFileSync(SHAPES, 'utf8')) as Shapes, shapes);
  if (readFileSync(CLASSES, 'utf8') !== registry)
    found.push('src/host/state/classes.ts is not what the sources say: run `npm run shapes`');
  for (const sentence of found) process.stderr.write(`${sentence}\n`);
  if (found.length > 0) process.exitCode = 1;
}
