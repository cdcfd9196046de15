/** The file that says where the service is: there when it can be used, whole at once, and gone with it. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import manifest from '../package.json' with { type: 'json' };
import { ReadyFile } from '../src/ready-file.ts';
import { runMain, startService, temporaryDirectory } from './support/service.ts';

test('it has address, process and version as long as the service is there', async (t) => {
  const directory = temporaryDirectory(t);
  const file = join(directory, 'ready.json');
  const service = await startService(t, join(directory, 'data'), { dev: false, env: { HOLDOVER_READY_FILE: file } });
  const { url, pid } = service;
  // It is there before the log tells where the service listens.
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), { url, pid, version: manifest.version });
  assert.equal((await fetch(`${url}/readyz`)).status, 200);
  assert.deepEqual(await service.stop(), { code: 0, signal: null });
  assert.deepEqual(readdirSync(directory), ['data']);
});

test('what a service before has left goes at once, and what another one has put there stays', async (t) => {
  const path = join(temporaryDirectory(t), 'ready.json');
  writeFileSync(path, 'of one that was killed');
  const ready = new ReadyFile(path);
  assert.equal(existsSync(path), false);
  ready.write('http://127.0.0.1:1');
  writeFileSync(path, 'of another one');
  await ready.remove();
  assert.equal(readFileSync(path, 'utf8'), 'of another one');
});

test('a start says where no file can be', async (t) => {
  const directory = temporaryDirectory(t);
  mkdirSync(join(directory, 'taken'));
  for (const [file, code] of [
    ['none/ready.json', 'ENOENT'],
    ['taken', 'ERR_FS_EISDIR'],
  ] as const) {
    const env = {
      HOLDOVER_PORT: '0',
      HOLDOVER_DATA_DIR: join(directory, 'data'),
      HOLDOVER_READY_FILE: join(directory, file),
    };
    const { code: exit, output } = await runMain([], env);
    assert.equal(exit, 1);
    assert.match(output, new RegExp(`^holdover: HOLDOVER_READY_FILE must name .*${file} cannot \\(${code}\\)\\.\n$`));
  }
});
