import assert from 'node:assert/strict';
import { readlinkSync } from 'node:fs';
import { getPriority } from 'node:os';
import { basename } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';

const priority = new URL('../../src/threads/priority.ts', import.meta.url).href;

test('a thread stands behind others, which stay as they are', { skip: process.platform !== 'linux' }, async () => {
  const program = `
    const { workBehindOthers } = await import(${JSON.stringify(priority)});
    workBehindOthers();
    const { readlinkSync } = await import('node:fs');
    const { parentPort } = await import('node:worker_threads');
    parentPort.postMessage(readlinkSync('/proc/thread-self'));
    parentPort.once('message', () => process.exit());
  `;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`));
  const thread = await new Promise<string>((resolve, reject) => worker.once('message', resolve).once('error', reject));
  const mine = Number(basename(readlinkSync('/proc/thread-self')));
  assert.equal(getPriority(Number(basename(thread))), Math.min(getPriority(mine) + 10, 19));
  worker.postMessage('end');
});
