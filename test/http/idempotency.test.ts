/** Requests with an Idempotency-Key: sent again, they have happened once, and are answered as the first time. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { describe, test } from 'node:test';
import { TestApp, useApp } from '../support/app.ts';
import { LINES } from '../support/batch.ts';
import { ADMIN_KEY } from '../support/keys.ts';
import { fixture, HOST } from './fixture.ts';

/** Of the tests that run. */
const app = useApp();
let number = 0;
const newKey = (): string => `key ${number++} of this test`;

interface Sent {
  status: number;
  replayed: boolean;
  location: string | null;
  text: string;
  body: Record<string, unknown>;
}

interface How {
  key?: string;
  tenant?: string;
  type?: string;
  on?: TestApp;
  method?: string;
}

/** As any client would: each on a connection of its own, so that any lane answers. */
async function send(path: string, body: unknown, how: How = {}): Promise<Sent> {
  const { key, on = app, tenant = on.key, type = 'application/json', method = 'POST' } = how;
  const headers: Record<string, string> = { authorization: `Bearer ${tenant}`, connection: 'close' };
  if (key !== undefined) headers['idempotency-key'] = key;
  if (body !== undefined) headers['content-type'] = type;
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const answer = await fetch(`${on.url}${path}`, { method, headers, ...(body !== undefined && { body: text }) });
  const said = await answer.text();
  return {
    status: answer.status,
    replayed: answer.headers.get('idempotency-replayed') === 'true',
    location: answer.headers.get('location'),
    text: said,
    body: type === 'application/json' && said !== '' ? JSON.parse(said) : {},
  };
}

/** Sends it twice: the answers, which have to be the same. */
async function sendTwice(path: string, body: unknown, how: How = {}): Promise<Sent> {
  const key = newKey();
  const first = await send(path, body, { ...how, key });
  const second = await send(path, body, { ...how, key });
  assert.ok(!first.replayed, first.text);
  assert.ok(second.replayed, second.text);
  assert.deepEqual(withoutInstance(second), withoutInstance(first));
  return first;
}

/** Each problem has an id of its own. */
const withoutInstance = ({ status, location, text }: Sent) => ({
  status,
  location,
  text: text.replace(/"instance":"[^"]+"/, ''),
});

const created = async (on: TestApp = app): Promise<string> =>
  `/v1/hosts/${(await send('/v1/hosts', { preset: 'vmm-lab' }, { on })).body.id}`;

const get = (path: string, on: TestApp = app): Promise<Sent> => send(path, undefined, { method: 'GET', on });
const listOf = async (path: string, on?: TestApp): Promise<unknown[]> => (await get(path, on)).body.items as unknown[];
const digestOf = async (host: string): Promise<unknown> => (await get(host)).body.digest;

describe('a request that is sent again', () => {
  test('starts a process once', async () => {
    const host = await created();
    const { status, location } = await sendTwice(`${host}/processes`, { name: 'vmm' });
    assert.deepEqual([status, location], [201, `${host}/processes/1`]);
    assert.equal((await listOf(`${host}/processes`)).length, 1);
    const without = [await send(`${host}/processes`, {}), await send(`${host}/processes`, {})];
    assert.deepEqual(
      without.map(({ body, replayed }) => [body.pid, replayed]),
      [
        [2, false],
        [3, false],
      ],
    );
  });

  test('is answered as it was, whatever has come since', async () => {
    const host = await created();
    const key = newKey();
    const body = { name: 'vmm' };
    const first = await send(`${host}/processes`, body, { key });
    await send(`${host}/processes/1/calls`, { calls: [{ call: 'open', path: '/dev/iommu' }] });
    await send(`${host}/reset`, undefined);
    const digest = await digestOf(host);
    const again = await send(`${host}/processes`, body, { key });
    assert.deepEqual([again.text, again.replayed], [first.text, true]);
    assert.equal(await digestOf(host), digest);
  });

  test('makes calls, requests of an iommufd and DMA once', async () => {
    const host = await created();
    await send(`${host}/processes`, { name: 'vmm' });
    const { body } = await sendTwice(`${host}/processes/1/calls`, {
      calls: [
        { call: 'open', path: '/dev/iommu' },
        { call: 'memfd_create', name: 'ram', flags: 0, size: 4096 },
        { call: 'pwrite', fd: 4, offset: 0, data: 'SGVsbG8=' },
        { call: 'pread', fd: 4, offset: 0, length: 5 },
        { call: 'close', fd: 77 },
      ],
    });
    const results = body.results as { ret?: number; data?: string; errno?: string }[];
    assert.deepEqual(
      results.map(({ ret, data, errno }) => errno ?? data ?? ret),
      [3, 4, 5, 'SGVsbG8=', 'EBADF'],
    );
    await sendTwice(`${host}/processes/1/iommufds/3/ioases`, undefined);
    await sendTwice(`${host}/devices/0000:01:00.0/dma`, { accesses: [{ op: 'read', iova: 0, length: 8 }] });
    await sendTwice(`${host}/clock`, { advance: 1000 });
    assert.equal((await sendTwice(`${host}/processes/1/iommufds`, undefined)).body.fd, 5);
  });

  test('is refused as it was, by the kernel', async () => {
    const host = await created();
    await send(`${host}/processes`, { name: 'vmm', capabilities: [] });
    const key = newKey();
    const asked = { calls: [{ call: 'close', fd: 3 }] };
    await send(`${host}/processes/1/calls`, asked, { key });
    // By now it would do.
    await send(`${host}/processes/1/calls`, { calls: [{ call: 'open', path: '/dev/iommu' }] });
    const { body, replayed } = await send(`${host}/processes/1/calls`, asked, { key });
    assert.deepEqual([(body.results as { errno: string }[])[0]!.errno, replayed], ['EBADF', true]);
    const refused = await sendTwice(`${host}/processes/1/iommufds/9/ioases`, undefined);
    assert.deepEqual([refused.status, refused.body.errno], [422, 'EBADF']);
    const reboot = await sendTwice(`${host}/kexec`, { mode: 'plain', image: 'loading' });
    assert.deepEqual([reboot.status, reboot.body.errno], [409, 'EBUSY']);
  });

  test('reboots once, and tells what was handed over', async () => {
    const host = await created();
    const { body } = await sendTwice(`${host}/kexec`, { mode: 'live-update' });
    assert.deepEqual([body.kernel, body.kexecCount], [2, 1]);
    assert.equal((await get(host)).body.kexecCount, 1);
  });

  test('plugs a device in once', async () => {
    const host = await created();
    const before = (await listOf(`${host}/devices`)).length;
    const { location } = await sendTwice(`${host}/devices`, { bdf: '0000:05:00.0', driver: 'vfio-pci' });
    assert.equal(location, `${host}/devices/0000:05:00.0`);
    assert.equal((await listOf(`${host}/devices`)).length, before + 1);
  });

  test('brings a host back once', async () => {
    const host = await created();
    await send(`${host}/snapshots/ready`, undefined, { method: 'PUT' });
    const key = newKey();
    const first = await send(`${host}/snapshots/ready/restore`, undefined, { key });
    await send(`${host}/processes`, { name: 'since' });
    const again = await send(`${host}/snapshots/ready/restore`, undefined, { key });
    assert.deepEqual([again.text, again.replayed], [first.text, true]);
    assert.equal((await listOf(`${host}/processes`)).length, 1);
  });

  test('which has not happened is carried out', async () => {
    const host = await created();
    const key = newKey();
    const nowhere = `${host}/processes/1/calls`;
    const body = { calls: [{ call: 'open', path: '/dev/iommu' }] };
    assert.equal((await send(nowhere, body, { key })).status, 404);
    await send(`${host}/processes`, { name: 'vmm' });
    const { status, replayed } = await send(nowhere, body, { key });
    assert.deepEqual([status, replayed], [200, false]);
    assert.ok((await send(nowhere, body, { key })).replayed);
    // What changes nothing is asked anew.
    const sweep = { requests: [{ method: 'POST', path: '/processes' }] };
    for (const path of [`${host}/sweep`, `${host}/sweep`]) {
      const answer = await send(path, sweep, { key: 'of a sweep' });
      assert.deepEqual([answer.status, answer.replayed], [200, false]);
    }
  });

  test('makes a host once: of a preset, of another one, of a file', async () => {
    const count = async (): Promise<number> => (await listOf('/v1/hosts?limit=1000')).length;
    const made = await sendTwice('/v1/hosts', { preset: 'vmm-lab', name: 'lab' });
    const host = `/v1/hosts/${made.body.id}`;
    assert.equal(made.location, host);
    const before = await count();
    await sendTwice('/v1/hosts', { from: made.body.id });
    const file = (await get(`${host}/export`)).body;
    await sendTwice('/v1/hosts/import', file);
    assert.equal(await count(), before + 2);
    // It is what the host was then that is told.
    const key = newKey();
    const first = await send('/v1/hosts', { preset: 'vmm-lab' }, { key });
    await send(`/v1/hosts/${first.body.id}/crash`, undefined);
    const again = await send('/v1/hosts', { preset: 'vmm-lab' }, { key });
    assert.deepEqual([again.text, again.body.state], [first.text, 'running']);
    await send(`/v1/hosts/${first.body.id}`, undefined, { method: 'DELETE' });
    assert.notEqual((await send('/v1/hosts', { preset: 'vmm-lab' }, { key })).body.id, first.body.id);
  });

  test('makes a tenant once, with the same key', async () => {
    const key = newKey();
    const ask = (name: string) => send('/v1/admin/tenants', { name }, { key, tenant: ADMIN_KEY });
    const first = await ask('acme');
    const again = await ask('acme');
    assert.deepEqual([first.status, again.text, again.replayed], [201, first.text, true]);
    assert.equal((await send('/v1/hosts', undefined, { method: 'GET', tenant: String(again.body.key) })).status, 200);
    const other = await ask('other');
    assert.deepEqual([other.status, other.body.type], [422, '/problems/key-reused']);
    const taken = await send('/v1/admin/tenants', { name: 'acme' }, { key: newKey(), tenant: ADMIN_KEY });
    assert.deepEqual([taken.status, taken.body.type], [409, '/problems/conflict']);
  });
});

describe('batches', () => {
  const operations = Array.from({ length: 40_000 }, (_, index) => ({
    op: 'map',
    iova: `0x${(0x1_0000_0000 + index * 4096).toString(16)}`,
    length: 4096,
    userVa: '0x7f0000000000',
  }));

  async function ioas(): Promise<string> {
    const host = await created();
    await send(`${host}/processes`, { name: 'vmm' });
    const at = `${host}/processes/1`;
    const calls = [
      { call: 'open', path: '/dev/iommu' },
      { call: 'mmap', addr: '0x7f0000000000', length: 4096 },
      { call: 'ioctl', fd: 3, request: 'IOMMU_IOAS_ALLOC', arg: {} },
    ];
    await send(`${at}/calls`, { calls });
    return `${at}/iommufds/3/ioases/1`;
  }

  /** As a client that dies when something of it has been acknowledged. */
  async function sendSome(path: string, lines: string, key: string): Promise<void> {
    const headers = { authorization: `Bearer ${app.key}`, 'idempotency-key': key, 'content-type': LINES };
    const sending = httpRequest(`${app.url}${path}`, { method: 'POST', headers });
    sending.write(lines);
    const [answer] = (await once(sending, 'response')) as [IncomingMessage];
    await once(answer, 'data');
    sending.on('error', () => {}).destroy();
  }

  test('of JSON are carried out once, with the outcome of each operation', async () => {
    const path = await ioas();
    const some = [...operations.slice(0, 3), operations[1], { op: 'unmap', iova: operations[0]!.iova, length: 4096 }];
    const { body } = await sendTwice(`${path}/batch`, { operations: some, onError: 'continue', results: true });
    assert.deepEqual([body.applied, body.failed, (body.results as unknown[]).length], [4, 1, 5]);
    assert.equal((await get(path)).body.areas, 2);
  });

  test('of lines are carried out once, piece by piece, and go on where they were cut off', async () => {
    const path = await ioas();
    const lines = operations.map((operation) => `${JSON.stringify(operation)}\n`).join('');
    const how = { key: newKey(), type: LINES };
    await sendSome(`${path}/batch`, lines.slice(0, 2_500_000), how.key);
    const done = (await get(path)).body.areas as number;
    assert.ok(done > 10_000 && done < operations.length, `${done} areas`);
    const first = await send(`${path}/batch`, lines, how);
    assert.ok(first.replayed);
    const last = JSON.parse(first.text.trimEnd().split('\n').at(-1)!);
    assert.deepEqual([last.acknowledged, last.applied, last.failed, last.done], [40_000, 40_000, 0, true]);
    assert.equal((await send(`${path}/batch`, lines, how)).text, first.text);
    assert.equal((await get(path)).body.areas, 40_000);
    const other = await send(`${path}/batch`, lines.replace('0x100000000', '0x200000000000'), how);
    assert.equal(other.status, 422);
    assert.match(other.text, /key-reused/);
  });
});

describe('keys', () => {
  test('are of one request: another body, query, path or host is refused, and changes nothing', async () => {
    const [host, other] = [await created(), await created()];
    const key = newKey();
    await send(`${host}/processes`, { name: 'vmm' }, { key });
    for (const [path, body] of [
      [`${host}/processes`, { name: 'other' }],
      [`${host}/processes?`, { name: 'vmm' }],
      [`${host}/processes/1/iommufds`, undefined],
      [`${other}/processes`, { name: 'vmm' }],
      ['/v1/hosts', { preset: 'vmm-lab' }],
    ] as const) {
      const answer = await send(path, body, { key });
      assert.deepEqual([answer.status, answer.body.type, answer.replayed], [422, '/problems/key-reused', false], path);
    }
    assert.equal((await listOf(`${host}/processes`)).length, 1);
    assert.equal((await listOf(`${other}/processes`)).length, 0);
  });

  test('are of one tenant', async () => {
    const tenant = String((await send('/v1/admin/tenants', { name: 'globex' }, { tenant: ADMIN_KEY })).body.key);
    const key = newKey();
    const own = await send('/v1/hosts', { preset: 'vmm-lab' }, { key });
    const others = await send('/v1/hosts', { preset: 'vmm-lab', name: 'another body' }, { key, tenant });
    assert.deepEqual([own.status, others.status, others.replayed], [201, 201, false]);
    assert.notEqual(own.body.id, others.body.id);
    const path = `/v1/hosts/${own.body.id}/processes`;
    await send(path, {}, { key: 'of the own host' });
    assert.equal((await send(path, {}, { key: 'of the own host', tenant })).status, 404);
  });

  test('are 1 to 255 printable characters of ASCII, and there once', async () => {
    for (const key of ['', 'x'.repeat(256), 'h\xf6st', 'a\tb']) {
      const answer = await send('/v1/hosts', { preset: 'vmm-lab' }, { key });
      assert.deepEqual([answer.status, answer.body.type], [400, '/problems/invalid-request'], key);
      assert.match(String(answer.body.detail), /^header Idempotency-Key: /);
    }
    const longest = await send('/v1/hosts', { preset: 'vmm-lab' }, { key: 'x'.repeat(255) });
    assert.equal(longest.status, 201);
    const answer = await app.agent
      .post('/v1/hosts')
      .set('authorization', `Bearer ${app.key}`)
      .set('idempotency-key', ['a', 'b'] as never)
      .send({ preset: 'vmm-lab' });
    assert.deepEqual([answer.status, answer.body.detail], [400, 'header Idempotency-Key: it is there twice']);
  });
});

test('what a tenant has had made it is told again, also where it may have no more', async () => {
  const ask = (path: string, body: unknown, method = 'POST') => send(path, body, { method, tenant: ADMIN_KEY });
  const { body: made } = await ask('/v1/admin/tenants', { name: 'frugal' });
  const how = { tenant: String(made.key), key: newKey() };
  await ask(`/v1/admin/tenants/${made.id}`, { quotas: { hosts: 1 } }, 'PATCH');
  const first = await send('/v1/hosts', { preset: 'vmm-lab' }, how);
  assert.equal((await send('/v1/hosts', { preset: 'vmm-lab' }, { ...how, key: newKey() })).status, 403);
  assert.deepEqual((await send('/v1/hosts', { preset: 'vmm-lab' }, how)).text, first.text);
  const path = `/v1/hosts/${first.body.id}/processes`;
  const process = await send(path, {}, { ...how, key: 'of a process' });
  await ask(`/v1/admin/tenants/${made.id}`, { quotas: { stored: 0 } }, 'PATCH');
  assert.equal((await send(path, {}, { ...how, key: newKey() })).status, 403);
  assert.equal((await send(path, {}, { ...how, key: 'of a process' })).text, process.text);
});

test('what has happened is not done again where its answer cannot be made any more', async (t) => {
  const { ask, lanes, store } = await fixture(t);
  const path = `/v1/hosts/${HOST}/crash`;
  const tenantId = (await store.tenants.findByName('acme'))!.id;
  const hashed = (text: string): string => hash('sha256', text, 'base64url');
  const request = { tenantId, key: hashed('k'), fingerprint: hashed(`POST ${path}\n`) };
  await store.journal.append({ hostId: HOST, epoch: 1, sequence: 1, command: '{}', digest: 'd', request });
  lanes.lookBack = async () => ({ kind: 'not-found', what: 'command 1 any more: the first that is kept is 7' });
  const { status, body } = await ask('post', path).set('idempotency-key', 'k');
  assert.deepEqual([status, body.type, lanes.commands], [410, '/problems/answer-gone', []]);
  assert.match(body.detail, /as command 1 of host h-one, .* there is no command 1 any more: the first/);
});

test('the same request many times at once happens once, and all are answered alike', async () => {
  const host = await created();
  const tries = Array.from({ length: 12 });
  for (const [path, body] of [
    [`${host}/processes`, { name: 'vmm' }],
    ['/v1/hosts', { preset: 'vmm-lab', name: 'at once' }],
    [`${host}/devices`, { bdf: '0000:06:00.0' }],
  ] as const) {
    const key = newKey();
    const answers = await Promise.all(tries.map(() => send(path, body, { key })));
    assert.deepEqual(new Set(answers.map(({ text, status }) => `${status} ${text}`)).size, 1, path);
    assert.equal(answers.filter(({ replayed }) => !replayed).length, 1, path);
  }
  assert.equal((await listOf(`${host}/processes`)).length, 1);
});

test('several lanes know one key, whichever is asked', async (t) => {
  const several = new TestApp(3);
  await several.start();
  t.after(() => several.stop());
  const key = newKey();
  const tries = Array.from({ length: 12 });
  const made = await Promise.all(tries.map(() => send('/v1/hosts', { preset: 'vmm-lab' }, { key, on: several })));
  assert.equal(new Set(made.map(({ text }) => text)).size, 1);
  assert.equal((await listOf('/v1/hosts', several)).length, 1);
  const host = `/v1/hosts/${made[0]!.body.id}`;
  for (let turn = 0; turn < 5; turn += 1) {
    const own = { key: newKey(), on: several };
    const answers = await Promise.all(tries.map(() => send(`${host}/processes`, { name: 'vmm' }, own)));
    assert.equal(new Set(answers.map(({ text }) => text)).size, 1);
    assert.ok((await send(`${host}/processes`, { name: 'vmm' }, own)).replayed);
  }
  assert.equal((await listOf(`${host}/processes`, several)).length, 5);
});
