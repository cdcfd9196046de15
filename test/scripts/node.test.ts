/** `npm start` as a person runs it: through npm, sh and scripts/node.mjs. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryDirectory } from '../support/service.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Runs `npm start` in a directory. What it has begun holds its output open: `close` comes when nothing of it is left. */
function npmStart(t: TestContext, directory: string, env: Record<string, string>): ChildProcess {
  const own = Object.entries(process.env).filter(([name]) => !/^(HOLDOVER_|npm_|NODE_TEST_CONTEXT$)/i.test(name));
  const npm = spawn('npm', ['start'], {
    cwd: directory,
    env: { ...Object.fromEntries(own), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  npm.stderr!.resume();
  t.after(() => {
    // What a failed test has left behind.
    if (npm.stdout?.closed === false) process.kill(-npm.pid!, 'SIGKILL');
  });
  return npm;
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`npm start ended by ${signal} leaves nothing running`, async (t) => {
    const npm = npmStart(t, ROOT, { HOLDOVER_PORT: '0', HOLDOVER_DATA_DIR: temporaryDirectory(t) });
    const closed = once(npm, 'close');
    let output = '';
    for await (const chunk of npm.stdout!.setEncoding('utf8')) {
      output += chunk;
      if (/^ *API +http:\S+$/m.test(output)) npm.kill(signal);
    }
    await closed;
    const url = /^ *API +(http:\S+)$/m.exec(output)?.[1] ?? assert.fail(output);
    await assert.rejects(fetch(url), (error: Error) => (error.cause as { code: string }).code === 'ECONNREFUSED');
  });
}

/** What `npm start` needs of the project before anything is installed, in a directory of its own. */
function copyOfProject(t: TestContext): string {
  const directory = temporaryDirectory(t);
  for (const file of ['package.json', 'package-lock.json', 'scripts/node.mjs', 'src/entry/memory.cjs']) {
    cpSync(join(ROOT, file), join(directory, file));
  }
  return directory;
}

test('npm start ended while it installs leaves nothing running', async (t) => {
  const directory = copyOfProject(t);
  // A registry that never answers: npm waits for it until it is stopped.
  const registry = createServer();
  const sockets: Socket[] = [];
  registry.on('connection', (socket) => sockets.push(socket));
  registry.listen(0, '127.0.0.1');
  await once(registry, 'listening');
  t.after(() => registry.close());

  const npm = npmStart(t, directory, {
    npm_config_registry: `http://127.0.0.1:${(registry.address() as AddressInfo).port}/`,
    npm_config_cache: join(directory, 'cache'),
    npm_config_update_notifier: 'false',
  });
  const closed = once(npm, 'close');
  npm.stdout!.resume();
  await once(registry, 'request');
  npm.kill('SIGTERM');
  await closed;
  await Promise.all(sockets.map((socket) => socket.closed || once(socket, 'close')));
});

const { optionalDependencies: NODES } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  optionalDependencies: Record<string, string>;
};

test('npm start says what to install where the system cannot load the Node of the project, each time', async (t) => {
  const directory = copyOfProject(t);
  const bin = join(directory, 'node_modules', Object.keys(NODES)[0]!, 'bin');
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, 'node'), '#!/bin/sh\nexit 127\n', { mode: 0o755 });
  mkdirSync(join(directory, 'node_modules/.bin'));
  cpSync(join(ROOT, 'node_modules/.package-lock.json'), join(directory, 'node_modules/.package-lock.json'));
  for (const _time of [1, 2]) {
    const npm = npmStart(t, directory, {});
    let output = '';
    npm.stdout!.resume();
    for await (const chunk of npm.stderr!.setEncoding('utf8')) output += chunk;
    assert.match(output, /^Node 26 needs a library that is missing here\. .*libatomic1/m);
  }
});

test('the Node of every system is of one version', () => {
  assert.deepEqual([...new Set(Object.values(NODES))], [process.versions.node]);
});
