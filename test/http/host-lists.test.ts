/** Hosts by what they are known by: labels and names, in lists and when many are deleted, and what lists tell of each. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { Host } from '../support/client.ts';
import { ADMIN_KEY } from '../support/keys.ts';
import { prepare } from '../support/setups.ts';

const app = useApp();

interface Listed {
  id: string;
  name: string;
  labels: Record<string, string>;
  expiresAt: string | null;
  state: string | null;
  kernel: number | null;
  hazards: number | null;
}

const ask = (method: 'get' | 'post' | 'put' | 'delete', path: string, body?: object, key = app.key) => {
  const asked = app.agent[method](path).set('authorization', `Bearer ${key}`);
  return body === undefined ? asked : asked.send(body);
};

async function list(query: string): Promise<Listed[]> {
  const { status, body, text } = await ask('get', `/v1/hosts?${query}`);
  assert.equal(status, 200, text);
  return body.items;
}

const names = async (query: string): Promise<string> => (await list(query)).map(({ name }) => name).join(' ');

async function made(name: string, labels?: Record<string, string>): Promise<string> {
  const { status, body, text } = await ask('post', '/v1/hosts', { name, devices: [], ...(labels && { labels }) });
  assert.equal(status, 201, text);
  assert.deepEqual(body.labels, labels ?? {});
  return body.id;
}

test('hosts have the labels that they are given, and are found by them page by page', async () => {
  const run = 'ci/run';
  for (const [name, labels] of [
    ['a', { [run]: '1', part: 'x' }],
    ['b', { [run]: '1', part: 'y' }],
    ['c', { [run]: '2' }],
    ['d', undefined],
  ] as const)
    await made(name, labels);
  assert.equal(await names('label=ci/run%3D1'), 'a b');
  assert.equal(await names('label=ci/run=1&label=part=y'), 'b');
  assert.equal(await names('label=ci/run'), 'a b c');
  assert.equal(await names('label=ci/run&name=c'), 'c');
  assert.equal(await names('name=d'), 'd');
  assert.equal(await names('label=ci/run=3'), '');
  const first = await ask('get', '/v1/hosts?label=ci/run&limit=2');
  assert.equal(first.body.items.length, 2);
  assert.equal(await names(`label=ci/run&after=${first.body.nextPageToken}`), 'c');
});

test('labels are replaced, and nothing else of the host is', async () => {
  const id = await made('one', { old: '1' });
  const before = (await ask('get', `/v1/hosts/${id}`)).body;
  const { body } = await ask('put', `/v1/hosts/${id}/labels`, { labels: { new: '2' } });
  assert.deepEqual(body, { labels: { new: '2' } });
  assert.deepEqual((await ask('get', `/v1/hosts/${id}`)).body, { ...before, labels: { new: '2' } });
  assert.equal(await names('label=old&name=one'), '');
});

test('what is no label is refused, and names where', async () => {
  const id = await made('whole', { kept: '1' });
  const many = Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, '']));
  for (const [labels, pointer] of [
    [{ '-a': '1' }, '/labels/-a'],
    [{ 'a"b': '1' }, '/labels/a"b'],
    [{ '': '1' }, '/labels/'],
    [{ ['a'.repeat(64)]: '1' }, `/labels/${'a'.repeat(64)}`],
    [{ a: 'x'.repeat(64) }, '/labels/a'],
    [{ a: 1 }, '/labels/a'],
    [many, '/labels'],
    [['a'], '/labels'],
  ] as const) {
    for (const [method, path, body] of [
      ['post', '/v1/hosts', { devices: [], labels }],
      ['put', `/v1/hosts/${id}/labels`, { labels }],
    ] as const) {
      const refused = await ask(method, path, body);
      assert.equal(refused.status, 400, JSON.stringify(labels));
      assert.deepEqual(refused.body.errors[0].pointer, pointer);
    }
  }
  for (const query of ['label==x', 'label=-a', `label=a=${'x'.repeat(64)}`, 'name=']) {
    assert.equal((await ask('get', `/v1/hosts?${query}`)).status, 400, query);
    assert.equal((await ask('delete', `/v1/hosts?${query}`)).status, 400, query);
  }
  assert.equal(await names('label=kept'), 'whole');
});

test('a host can be given an end', async () => {
  for (const ttlSeconds of [0, -1, 1.5, '60', 30 * 86_400 + 1]) {
    const refused = await ask('post', '/v1/hosts', { devices: [], ttlSeconds });
    assert.deepEqual([refused.status, refused.body.errors?.[0]?.pointer], [400, '/ttlSeconds'], String(ttlSeconds));
  }
  const { body } = await ask('post', '/v1/hosts', { name: 'short', devices: [], ttlSeconds: 30 * 86_400 });
  assert.equal(Date.parse(body.expiresAt), Date.parse(body.created) + 30 * 86_400_000);
  const [listed] = await list('name=short');
  assert.equal(listed?.expiresAt, body.expiresAt);
  assert.equal((await ask('get', `/v1/hosts/${body.id}`)).body.expiresAt, body.expiresAt);
});

test('a copy and a host of a file have the labels that they are given, and none otherwise', async () => {
  const from = await made('original', { of: 'original' });
  const copy = await ask('post', '/v1/hosts', { from, labels: { of: 'copy' }, ttlSeconds: 600 });
  assert.deepEqual([copy.status, copy.body.labels], [201, { of: 'copy' }]);
  assert.equal(Date.parse(copy.body.expiresAt), Date.parse(copy.body.created) + 600_000);
  const bare = await ask('post', '/v1/hosts', { from });
  assert.deepEqual([bare.body.labels, bare.body.expiresAt], [{}, null]);
  const file = (await ask('get', `/v1/hosts/${from}/export`)).body;
  const imported = await ask('post', '/v1/hosts/import?label=of=file&label=x=y=z&ttlSeconds=60', file);
  assert.deepEqual([imported.status, imported.body.labels], [201, { of: 'file', x: 'y=z' }]);
  assert.equal(Date.parse(imported.body.expiresAt), Date.parse(imported.body.created) + 60_000);
  assert.deepEqual((await ask('post', '/v1/hosts/import', file)).body.labels, {});
  assert.equal((await ask('post', '/v1/hosts/import?label=of', file)).status, 400);
  assert.deepEqual(
    (await list('label=of')).map(({ id, labels: { of } }) => [id, of]),
    [
      [from, 'original'],
      [copy.body.id, 'copy'],
      [imported.body.id, 'file'],
    ],
  );
});

test('those that fit are deleted together, and nobody else', async () => {
  const other = await ask('post', '/v1/admin/tenants', { name: 'other' }, ADMIN_KEY);
  const foreign = await ask('post', '/v1/hosts', { devices: [], labels: { go: '1' } }, other.body.key);
  for (let count = 0; count < 20; count += 1) await made(`go-${count % 2}`, { go: String(count % 2) });
  await made('stay');
  const bare = await ask('delete', '/v1/hosts');
  assert.equal(bare.status, 400);
  assert.match(bare.body.detail, /\/v1\/reset/);
  assert.deepEqual((await ask('delete', '/v1/hosts?label=go=1&name=go-0')).body, { deleted: 0 });
  assert.deepEqual((await ask('delete', '/v1/hosts?label=go=1')).body, { deleted: 10 });
  assert.equal(await names('label=go=1'), '');
  assert.deepEqual((await ask('delete', '/v1/hosts?name=go-0')).body, { deleted: 10 });
  assert.equal(await names('name=stay'), 'stay');
  assert.equal((await ask('get', `/v1/hosts/${foreign.body.id}`, undefined, other.body.key)).status, 200);
});

test('a list tells in which state each host is, which kernel runs, and how many hazards there were', async () => {
  const of = async (host: Host) => {
    const { state, kernel, hazards } = (await list('limit=1000')).find(({ id }) => id === host.id)!;
    const view = await host.view();
    assert.deepEqual([state, kernel], [view.state, view.kernel]);
    const told = (await host.events()).filter(({ kind }) => kind === 'hazard').length;
    assert.equal(hazards, told);
    return [state, kernel, told > 0];
  };
  const { host } = await prepare(app);
  assert.deepEqual(await of(host), ['running', 1, false]);
  await host.request('put', '/snapshots/ready');
  await host.kexec({ mode: 'plain' });
  assert.deepEqual((await of(host)).slice(0, 2), ['running', 2]);
  await host.crash();
  assert.deepEqual(await of(host), ['kdump', 3, true]);
  const copy = new Host(app, ((await host.ask('post', '/v1/hosts', { from: host.id })) as { id: string }).id);
  assert.deepEqual(await of(copy), ['kdump', 3, false]);
  await host.request('post', '/snapshots/ready/restore');
  assert.deepEqual((await of(host)).slice(0, 2), ['running', 1]);
  await host.powerCycle();
  assert.deepEqual((await of(host)).slice(0, 2), ['running', 2]);
});
