import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { getPriority } from 'node:os';
import { extname, join } from 'node:path';
import { test } from 'node:test';
import { Script } from 'node:vm';
import { runMain, type Service, startService, temporaryDirectory } from './support/service.ts';

const HOSTS = '/v1/hosts';
const ROOT = new URL('..', import.meta.url).pathname;

async function createHost(service: Service, key?: string): Promise<string> {
  const { status, body } = await service.request('POST', HOSTS, { preset: 'vmm-lab', name: 'kept' }, key);
  assert.equal(status, 201, JSON.stringify(body));
  return (body as { id: string }).id;
}

test('development mode prints URL, key and a first curl that works, and serves', async (t) => {
  const service = await startService(t, temporaryDirectory(t), { env: { HOLDOVER_DEV_KEY: 'my-key' } });
  for (const path of ['/livez', '/readyz', '/docs', '/openapi.json']) {
    const { status } = await fetch(`${service.url}${path}`);
    assert.equal(status, 200, path);
  }
  assert.match(service.output(), /^\n {2}Holdover is running/, 'nothing stands before it');
  assert.match(service.output(), /^ *key +my-key$/m);
  const [curl] = /^ *curl (.*\\\n)*.*\| jq -r \.id$/m.exec(service.output()) ?? assert.fail(service.output());
  const host = execFileSync('sh', ['-c', curl], { encoding: 'utf8' }).trim();
  const { status } = await service.request('GET', `${HOSTS}/${host}`, undefined, 'my-key');
  assert.equal(status, 200);
  const settings = `HOLDOVER_URL=${service.url} HOLDOVER_KEY=my-key`;
  const [, example] = new RegExp(`^ *${settings} (\\S+)$`, 'm').exec(service.output()) ?? assert.fail(service.output());
  accessSync(join(ROOT, example!), constants.X_OK);
});

test('development mode logs a line for people for each request, in the order in which they were answered', async (t) => {
  const service = await startService(t, temporaryDirectory(t), { env: { HOLDOVER_PROT: '80' } });
  assert.match(service.output(), /^\d\d:\d\d:\d\d {2}WARN {2}HOLDOVER_PROT is not .* HOLDOVER_PORT\?\n\n {2}Holdover/);
  const host = `${HOSTS}/${await createHost(service)}`;
  await service.request('GET', '/livez');
  await service.request('PUT', `${host}/devices/0000:01:00.0/driver`, { driver: 'nvme' });
  await service.request('POST', `${host}/processes`, { name: 'line\n\u001b[31mbreak', 'what\u001b[31m\nelse': 1 });
  await service.printed(/unknown field/);
  await service.stop('SIGTERM');
  const lines = service.output().split('\n\n').at(-1)!.trim().split('\n');
  const expected = [
    `POST /v1/hosts 201 N ms`,
    `PUT ${host}/devices/0000:01:00.0/driver 409 N ms  EBUSY bind_store: 0000:01:00.0 has driver vfio-pci: unbind it first`,
    /^POST .*\/processes 400 N ms {2}body \/what \[31m else: unknown field/,
    'stopping {"signal":"SIGTERM"}',
  ];
  assert.equal(lines.length, expected.length, service.output());
  for (const [index, line] of lines.entries()) {
    const [, said] = /^\d\d:\d\d:\d\d {2}(.*)$/.exec(line) ?? assert.fail(line);
    const wanted = expected[index]!;
    const found = said!.replace(/ \d+ ms/, ' N ms');
    if (typeof wanted === 'string') assert.equal(found, wanted);
    else assert.match(found, wanted);
  }
});

test('memory and processors are shared out so that nobody waits for it', {
  skip: process.platform !== 'linux',
}, async (t) => {
  // Whoever runs the tests may have said this already.
  for (const name of Object.keys(process.env)) if (name.startsWith('MALLOC_')) delete process.env[name];
  const service = await startService(t, temporaryDirectory(t));
  const proc = `/proc/${service.pid}`;
  const environment = readFileSync(`${proc}/environ`, 'utf8').split('\0');
  assert.ok(environment.includes('MALLOC_MMAP_THRESHOLD_=131072'), 'free buffers go back to the system');
  assert.ok(environment.includes('MALLOC_TRIM_THRESHOLD_=2097152'), 'what is small is kept for a while');
  assert.ok(environment.includes('MALLOC_TOP_PAD_=262144'), 'and fetched in large pieces');
  const threads = readdirSync(`${proc}/task`).map(Number);
  const name = (thread: number): string => readFileSync(`${proc}/task/${thread}/comm`, 'utf8').trim();
  const helpers = threads.filter((thread) => name(thread).includes('V8Worker'));
  assert.ok(helpers.length > 0);
  for (const helper of helpers) assert.equal(getPriority(helper), Math.min(getPriority(service.pid) + 5, 19));
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
  const { port } = new URL(running.url);
  const another = createServer().listen(0, '127.0.0.1');
  t.after(() => another.close());
  await once(another, 'listening');
  const { port: taken } = another.address() as AddressInfo;
  const free = { HOLDOVER_DATA_DIR: temporaryDirectory(t) };
  const cases: [string[], Record<string, string>, RegExp][] = [
    [['--dev'], { HOLDOVER_HOST: '0.0.0.0' }, /^HOLDOVER_HOST is 0\.0\.0\.0, but development mode/],
    [[], { HOLDOVER_PORT: 'http' }, /^HOLDOVER_PORT must be a whole number from 0 to 65535\.$/],
    [[], { HOLDOVER_DATA_DIR: directory }, new RegExp(`process \\d+, is using it and serves ${running.url}\\. .*kill`)],
    [[], { HOLDOVER_DATA_DIR: `${ROOT}package.json` }, /package\.json: it is a file, not a directory: name another/],
    [[], { ...free, HOLDOVER_PORT: port }, new RegExp(`port ${port}: another Holdover has .* HOLDOVER_PORT \\(0 `)],
    // Its lanes could share the port with those of the other one.
    [[], { ...free, HOLDOVER_PORT: port, HOLDOVER_LANES: '2' }, new RegExp(`port ${port}: another Holdover has `)],
    [[], { ...free, HOLDOVER_PORT: `${taken}` }, new RegExp(`port ${taken}: another program has .* HOLDOVER_PORT`)],
    [
      [],
      { ...free, HOLDOVER_HOST: '192.0.2.1' },
      /^cannot listen on 192\.0\.2\.1 .*HOLDOVER_HOST has to be an address of/,
    ],
  ];
  for (const [args, env, sentence] of cases) {
    const { code, output } = await runMain(args, { HOLDOVER_LOG_LEVEL: 'silent', ...env });
    assert.equal(code, 1);
    assert.match(output, /^holdover: .*\.\n$/);
    assert.match(output.slice('holdover: '.length).trimEnd(), sentence);
  }
});

test('what was killed does not keep its data directory', async (t) => {
  const directory = temporaryDirectory(t);
  const first = await startService(t, directory);
  await first.stop('SIGKILL');
  const second = await startService(t, directory);
  const { pid, address } = JSON.parse(readFileSync(join(directory, 'holdover.json'), 'utf8'));
  assert.equal(address, second.url);
  assert.ok(process.kill(pid, 0));
});

test('an old Node is refused before anything is imported', async () => {
  const pretend = 'Object.defineProperty(process,"versions",{value:{...process.versions,node:"24.1.0"}})';
  const { code, output } = await runMain([], {
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(pretend)}`,
  });
  assert.equal(code, 1);
  assert.match(output, /^holdover: Node 26 or newer is needed, this is 24\.1\.0\..*\n$/);
});

test('the entry is plain CommonJS, to a Node that knows no TypeScript, too', () => {
  const entry = realpathSync(new URL('../src/main.ts', import.meta.url));
  assert.equal(extname(entry), '.cjs');
  assert.doesNotThrow(() => new Script(readFileSync(entry, 'utf8')));
});
