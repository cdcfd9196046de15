/** The key that files of hosts are signed with lasts as long as the data directory. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileKeyOf } from '../src/file-key.ts';
import { temporaryDirectory } from './support/service.ts';

function note() {
  const lines: string[] = [];
  return {
    lines,
    log: { info() {}, error() {}, warn: (_details: object, message: string) => void lines.push(message) },
  };
}

test('it is made once, is nobody else’s to read, and is another one in another directory', (t) => {
  const directory = temporaryDirectory(t);
  const { log, lines } = note();
  const key = fileKeyOf(directory, log);
  assert.match(key, /^[0-9a-f]{64}$/);
  assert.equal(fileKeyOf(directory, log), key);
  assert.equal(statSync(join(directory, 'file.key')).mode & 0o777, 0o600);
  assert.notEqual(fileKeyOf(temporaryDirectory(t), log), key);
  assert.deepEqual(lines, []);
});

test('one that is damaged is replaced, and one that cannot be kept is told of', (t) => {
  const directory = temporaryDirectory(t);
  const damaged = note();
  writeFileSync(join(directory, 'file.key'), 'abc');
  const key = fileKeyOf(directory, damaged.log);
  assert.equal(readFileSync(join(directory, 'file.key'), 'utf8').trim(), key);
  assert.match(damaged.lines.join(), /^there is no key in it/);

  const unusable = note();
  const other = temporaryDirectory(t);
  mkdirSync(join(other, 'file.key'));
  assert.match(fileKeyOf(other, unusable.log), /^[0-9a-f]{64}$/);
  assert.match(unusable.lines.join(), /cannot be read.*cannot be kept/);
});
