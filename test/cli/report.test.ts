/** `holdover report` writes a page on a host, and on a file, for which nothing stays behind. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1 } from '../support/client.ts';
import { temporaryDirectory } from '../support/service.ts';
import { adopt } from '../support/setups.ts';
import { command } from './command.ts';

const app = useApp();

test('a report on a host goes to standard output, or to a file', async (t) => {
  const { host } = await adopt(app);
  const shown = await command(['report', host.id], app);
  assert.equal(shown.code, 0, shown.errors);
  assert.match(shown.output, /^<!doctype html>[\s\S]*<\/html>\n$/);
  assert.match(shown.output, new RegExp(`${D1}, kernel 2, from 1\\.0\\d+ s on: A, adopted`));
  const file = join(temporaryDirectory(t), 'report.html');
  const written = await command(['report', host.id, '--output', file, '--json'], app);
  assert.deepEqual(JSON.parse(written.output), { output: file, bytes: Buffer.byteLength(shown.output) });
  assert.equal(readFileSync(file, 'utf8'), shown.output);
});

test('a report on a file of export leaves no host behind; where no service answers, one is started for it', async (t) => {
  const { host } = await adopt(app);
  const file = join(temporaryDirectory(t), 'host.json');
  assert.equal((await command(['export', host.id, file], app)).code, 0);
  const count = async (): Promise<number> => JSON.parse((await command(['hosts', '--json'], app)).output).length;
  const before = await count();
  const asked = await command(['report', file], app);
  assert.equal(asked.code, 0, asked.errors);
  assert.match(asked.output, /none tells what came before/);
  assert.match(asked.output, new RegExp(`${D1}, now: A, adopted`));
  assert.equal(await count(), before);
  const own = await command(['--url', 'http://127.0.0.1:2', 'report', file]);
  assert.equal(own.code, 0, own.errors);
  assert.match(own.output, new RegExp(`${D1}, now: A, adopted`));
});

test('what is no host is told', async () => {
  const { code, output, errors } = await command(['report', 'h-none'], app);
  assert.deepEqual([code, output], [1, '']);
  assert.match(errors, /There is no such host/);
});
