/** The VMM of docs/porting.md runs and prints what the page shows; its tables leave nothing out. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { LEVER_CALLS } from '../../src/kernel/uapi/calls/levers.ts';
import { CALLS } from '../../src/kernel/uapi/calls.ts';
import { REQUESTS } from '../../src/kernel/uapi/index.ts';
import { STRUCTS } from '../../src/kernel/uapi/structs.ts';
import { startService, temporaryDirectory } from '../support/service.ts';
import { at, blocksOf, paste, ROOT } from './paste.ts';

const PAGE = 'docs/porting.md';
const page = readFileSync(`${ROOT}${PAGE}`, 'utf8');

test('the shim and the VMM above it', async (t) => {
  const directory = temporaryDirectory(t);
  const { url } = await startService(t, temporaryDirectory(t));
  const files = blocksOf(PAGE, 'js').map((code) => ({ code, name: /^\/\/ (\S+)\n/.exec(code)?.[1] }));
  assert.deepEqual(
    files.map(({ name }) => name),
    ['shim.mjs', 'vmm.mjs'],
  );
  for (const { name, code } of files) writeFileSync(`${directory}/${name}`, at(url, code));
  const { stdout, stderr } = await paste(blocksOf(PAGE, 'sh').join('\n'), directory);
  assert.equal(stderr, '');
  assert.deepEqual([stdout], blocksOf(PAGE, 'json'));
});

/** The rows of a table: their cells. */
const rows = (heading: string): string[][] =>
  page
    .slice(page.indexOf(`\n## ${heading}\n`))
    .split(/\n## /, 2)[1]!
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .slice(2)
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map((cells) => cells.slice(1, -1));

test('every system call is in the table', () => {
  const sent = rows('Where each call goes').flatMap(([, send, mind]) => [...`${send} ${mind}`.matchAll(/`(\w+)`/g)]);
  const told = new Set(sent.map(([, name]) => name));
  const missing = [...CALLS.keys()].filter((name) => !(name in LEVER_CALLS) && !told.has(name));
  assert.deepEqual(missing, []);
});

test('the requests that have no size in their first word are those of the table', () => {
  const listed = rows('The argument of an ioctl').map(([number, name]) => [name, Number(number)]);
  const without = [...REQUESTS.values()].filter(({ name }) => STRUCTS[name].struct === null);
  assert.deepEqual(
    listed,
    without.map(({ name, number }) => [name, number]).toSorted(([, a], [, b]) => Number(a) - Number(b)),
  );
});
