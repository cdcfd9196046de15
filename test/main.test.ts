import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, realpathSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { Script } from 'node:vm';
import { runMain, type Service, startService, temporaryDirectory } from './support/service.ts';

const HOSTS = '/v1/hosts';

async function createHost(service: Service, key?: string): Promise<string> {
  const { status, body } = await service.request('POST', HOSTS, { preset: 'vmm-lab', name: 'kept' }, key);
  assert.equal(status, 201, JSON.stringify(body));
  return (body as { id: string }).id;
}

test('development mode prints URL, key and a first curl that works, and serves', async (t) => {
  const service = await startService(t, temporaryDirectory(t));
  for (const path of ['/livez', '/readyz', '/docs', '/openapi.json']) {
    const { status } = await fetch(`${service.url}${path}`);
    assert.equal(status, 200, path);
  }
  assert.match(service.output(), /^ *key +dev-key$/m);
  const curl = /^ *curl [\s\S]*?\/v1\/hosts$/m.exec(service.output())?.[0] ?? '';
  const host = JSON.parse(execFileSync('sh', ['-c', curl], { encoding: 'utf8' })) as { id: string };
  const { status } = await service.request('GET', `${HOSTS}/${host.id}`);
  assert.equal(status, 200);
});

test('SIGTERM and SIGINT end it in order, and the next start has the same tenants and hosts', async (t) => {
  const directory = temporaryDirectory(t);
  const env = { HOLDOVER_ADMIN_KEY: 'the-admin-key' };
  const first = await startService(t, directory, { env });
  const host = await createHost(first);
  const created = await first.request('POST', '/v1/admin/tenants', { name: 'acme' }, 'the-admin-key');
  assert.equal(created.status, 201, JSON.stringify(created.body));
  const { key } = created.body as { key: string };
  const acmeHost = await createHost(first, key);
  assert.deepEqual(await first.stop('SIGTERM'), { code: 0, signal: null });

  const second = await startService(t, directory, { env });
  assert.equal((await second.request('GET', `${HOSTS}/${host}`)).status, 200);
  assert.equal((await second.request('GET', `${HOSTS}/${acmeHost}`, undefined, key)).status, 200);
  assert.equal((await second.request('GET', `${HOSTS}/${acmeHost}`)).status, 404);
  assert.deepEqual(await second.stop('SIGINT'), { code: 0, signal: null });
});

test('one signal is enough, and those that follow change nothing', async (t) => {
  const service = await startService(t, temporaryDirectory(t), {
    dev: false,
    env: { HOLDOVER_TENANTS: 'dev:dev-key' },
  });
  // A request that has begun keeps the stop from being over at once.
  const body = JSON.stringify({ preset: 'vmm-lab' });
  const headers = {
    authorization: 'Bearer dev-key',
    'content-type': 'application/json',
    'content-length': body.length,
  };
  const begun = request(`${service.url}${HOSTS}`, { method: 'POST', headers });
  begun.write(body.slice(0, 5));
  await service.request('GET', HOSTS);

  service.kill('SIGINT');
  await service.printed(/"stopping"/);
  service.kill('SIGINT');
  service.kill('SIGTERM');
  begun.end(body.slice(5));
  const [answer] = (await once(begun, 'response')) as [IncomingMessage];
  assert.equal(answer.statusCode, 201);
  answer.resume();
  assert.deepEqual(await service.exited, { code: 0, signal: null });
});

test('outside of development mode it says where it listens in one line, and no key anywhere', async (t) => {
  const directory = temporaryDirectory(t);
  const env = { HOLDOVER_TENANTS: 'acme:secret-of-acme', HOLDOVER_ADMIN_KEY: 'secret-of-admin' };
  const service = await startService(t, directory, { dev: false, env });
  await createHost(service, 'secret-of-acme');
  assert.equal((await service.request('GET', HOSTS, undefined, 'secret-guess')).status, 401);
  assert.equal((await service.request('GET', HOSTS, undefined, 'dev-key')).status, 401);
  assert.deepEqual(await service.stop(), { code: 0, signal: null });
  for (const line of service.output().trim().split('\n')) JSON.parse(line);
  assert.doesNotMatch(service.output(), /secret/);
  assert.ok(!readFileSync(join(directory, 'holdover.db')).includes('secret'));
});

test('what cannot start says why in one sentence', async (t) => {
  const directory = temporaryDirectory(t);
  const running = await startService(t, directory);
  const port = new URL(running.url).port;
  const cases: [string[], Record<string, string>, RegExp][] = [
    [['--dev'], { HOLDOVER_HOST: '0.0.0.0' }, /^holdover: HOLDOVER_HOST is 0\.0\.0\.0, but development mode/],
    [[], { HOLDOVER_PORT: 'http' }, /^holdover: HOLDOVER_PORT must be a whole number from 0 to 65535\.$/],
    [[], { HOLDOVER_DATA_DIR: directory }, /^holdover: cannot open the data directory .*another Holdover is using it/],
    [[], { HOLDOVER_DATA_DIR: temporaryDirectory(t), HOLDOVER_PORT: port }, /^holdover: cannot listen on 127\.0\.0\.1/],
  ];
  for (const [args, env, sentence] of cases) {
    const { code, output } = await runMain(args, { HOLDOVER_LOG_LEVEL: 'silent', ...env });
    assert.equal(code, 1);
    assert.match(output.trim(), sentence);
    assert.equal(output.trim().split('\n').length, 1, output);
  }
});

test('an old Node is refused before anything is imported', async () => {
  const pretend = 'Object.defineProperty(process,"versions",{value:{...process.versions,node:"24.1.0"}})';
  const { code, output } = await runMain([], {
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(pretend)}`,
  });
  assert.equal(code, 1);
  assert.match(output, /^holdover: Node 26 or newer is needed, this is 24\.1\.0\..*\n$/);
});

test('the entry is plain CommonJS to a Node that knows no TypeScript', () => {
  const entry = realpathSync(new URL('../src/main.ts', import.meta.url));
  assert.doesNotThrow(() => new Script(readFileSync(entry, 'utf8')));
  assert.deepEqual(JSON.parse(readFileSync(join(dirname(entry), 'package.json'), 'utf8')), { type: 'commonjs' });
});
