/** A run without a service brings its own, and leaves nothing behind. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startOwnService } from '../../src/scenarios/own-service.ts';
import { runScenarios } from '../../src/scenarios/run.ts';
import { SCENARIOS } from '../support/scenario-files.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

test('a service for one run', async () => {
  const service = await startOwnService(MAIN);
  const { passed, failed } = await runScenarios([path.join(SCENARIOS, 'S26-happy-path.yaml')], service);
  await service.stop();
  assert.deepEqual([passed, failed], [1, 0]);
  await assert.rejects(fetch(service.url));
  const left = (await readdir(tmpdir())).filter((name) => name.startsWith(`holdover-run-${process.pid}-`));
  assert.deepEqual(left, []);
});

test('a service that does not start says why', async () => {
  await assert.rejects(
    startOwnService(fileURLToPath(import.meta.url).replace('own-service.test', 'none')),
    /did not start:[\s\S]*none\.ts/,
  );
});
