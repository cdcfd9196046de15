/** ETags: where a host is, who may change it only there, and who need not be sent again what they have. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type request from 'supertest';
import { useApp } from '../support/app.ts';
import { D1, E1, type Host } from '../support/client.ts';

const app = useApp(2);

type Method = 'get' | 'head' | 'post' | 'put' | 'patch' | 'delete';
type Conditions = Record<'if-match' | 'if-none-match', string>;

function ask(
  { id }: Host,
  method: Method,
  path: string,
  body?: object,
  conditions: Partial<Conditions> = {},
): request.Test {
  const pending = app.agent[method](`/v1/hosts/${id}${path}`).set('authorization', `Bearer ${app.key}`).set(conditions);
  return body === undefined ? pending : pending.send(body);
}

const tagOf = async (host: Host): Promise<string> => (await ask(host, 'get', '/faults')).headers.etag!;
const after = (tag: string, commands: number): string => `"${Number(tag.slice(1, -1)) + commands}"`;

test('a host, and what is under it, has the same ETag until a command is done', async () => {
  const host = await app.host();
  const tag = await tagOf(host);
  assert.match(tag, /^"\d+"$/);
  const paths = ['', '/devices', `/devices/${D1}`, '/groups', '/domains', '/sessions', '/processes', '/preflight'];
  for (const path of [...paths, `/devices/${D1}/config`, `/devices/${D1}/engines`, '/snapshots'])
    for (const method of ['get', 'head'] as const)
      assert.equal((await ask(host, method, path)).headers.etag, tag, `${method} ${path}`);
  const made = await ask(host, 'post', '/processes', {});
  assert.deepEqual([made.status, made.headers.etag], [201, after(tag, 1)]);
  for (const path of paths) assert.equal((await ask(host, 'get', path)).headers.etag, after(tag, 1), path);
});

test('what depends on more than the commands has none', async () => {
  const host = await app.host();
  for (const path of ['/events', '/history', '/diff?from=0', '/export'])
    assert.equal((await ask(host, 'get', path)).headers.etag, undefined, path);
  const list = await app.agent.get('/v1/hosts').set('authorization', `Bearer ${app.key}`);
  assert.equal(list.headers.etag, undefined);
});

test('what a client has it is not sent again', async () => {
  const host = await app.host();
  const tag = await tagOf(host);
  for (const known of [tag, `W/${tag}`, `"1000", ${tag}`, '*'])
    for (const method of ['get', 'head'] as const) {
      const answer = await ask(host, method, '/devices', undefined, { 'if-none-match': known });
      assert.deepEqual([answer.status, answer.text ?? '', answer.headers.etag], [304, '', tag], known);
      assert.ok(answer.headers['x-request-id']);
    }
  for (const other of ['"1000"', '"of-another"'])
    assert.equal((await ask(host, 'get', '/devices', undefined, { 'if-none-match': other })).status, 200);
  await ask(host, 'post', '/clock', { advance: 1 });
  assert.equal((await ask(host, 'get', '/devices', undefined, { 'if-none-match': tag })).status, 200);
});

test('a change is made only where the host is still what the client has seen', async () => {
  const host = await app.host();
  const tag = await tagOf(host);
  const advance = (given: string): request.Test => ask(host, 'post', '/clock', { advance: 1 }, { 'if-match': given });
  const first = await advance(tag);
  assert.deepEqual([first.status, first.headers.etag], [200, after(tag, 1)]);
  const second = await advance(tag);
  assert.deepEqual([second.status, second.headers.etag], [412, after(tag, 1)]);
  assert.equal(second.body.type, '/problems/host-changed');
  assert.ok(second.body.detail.includes(after(tag, 1)), second.body.detail);
  assert.equal(await tagOf(host), after(tag, 1));
  for (const given of [second.headers.etag!, `W/${after(tag, 2)}`, `"7000", ${after(tag, 3)}`, '*'])
    assert.equal((await advance(given)).status, 200, given);
  assert.equal((await advance('"of-another"')).status, 412);
  for (const given of ['12', '', '"12', 'W/12', '"1" "2"']) {
    const wrong = await advance(given);
    assert.deepEqual([wrong.status, wrong.body.type], [400, '/problems/invalid-request'], given);
    assert.match(wrong.body.detail, /If-Match/);
  }
});

test('of many who have seen the same host one changes it', async () => {
  const host = await app.host();
  for (let round = 0; round < 5; round += 1) {
    const tag = await tagOf(host);
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        ask(host, 'post', '/processes', { name: `p${index}` }, { 'if-match': tag }),
      ),
    );
    const codes = answers.map(({ status }) => status).sort();
    assert.deepEqual(codes, [201, ...Array(11).fill(412)]);
    assert.equal(await tagOf(host), after(tag, 1));
  }
});

test('whatever changes a host asks for it, and does nothing where it is elsewhere', async () => {
  const host = await app.host();
  await ask(host, 'put', '/snapshots/ready');
  await ask(host, 'post', '/processes', {});
  const P = '/processes/1';
  await ask(host, 'post', `${P}/iommufds`, {});
  await ask(host, 'post', `${P}/iommufds/3/ioases`, {});
  const tag = await tagOf(host);
  const batch = { operations: [{ op: 'map', iova: '0x100000000', length: 4096, userVa: '0x7f0000000000' }] };
  const changes: [Method, string, object?][] = [
    ['post', P.slice(0, -2), {}],
    ['delete', P],
    ['post', `${P}/calls`, { calls: [{ call: 'open', path: '/dev/iommu' }] }],
    ['post', `${P}/iommufds`, {}],
    ['get', `${P}/iommufds/3/ioases/1/iova-ranges`],
    ['post', `${P}/iommufds/3/ioases/1/batch`, batch],
    ['post', '/devices', { bdf: '0000:05:00.0' }],
    ['delete', `/devices/${E1}`],
    ['put', `/devices/${D1}/driver`, { driver: 'nvme' }],
    ['post', `/devices/${D1}/dma`, { accesses: [{ op: 'read', iova: '0x0', length: 1 }] }],
    ['post', '/kexec', { mode: 'plain' }],
    ['post', '/crash'],
    ['post', '/reset'],
    ['post', '/faults', { point: 'memfd.freeze' }],
    ['put', '/snapshots/other'],
    ['delete', '/snapshots/ready'],
    ['post', '/snapshots/ready/restore'],
    ['delete', ''],
  ];
  for (const [method, path, body] of changes) {
    const answer = await ask(host, method, path, body, { 'if-match': '"1000000"' });
    assert.deepEqual([answer.status, answer.headers.etag], [412, tag], `${method} ${path}: ${answer.text}`);
  }
  assert.equal(await tagOf(host), tag);
  const lines = await ask(host, 'post', `${P}/iommufds/3/ioases/1/batch`, undefined, { 'if-match': '"1000000"' })
    .type('application/x-ndjson')
    .send(`${JSON.stringify(batch.operations[0])}\n`);
  assert.equal(lines.status, 412, lines.text);
  const kexec = await ask(host, 'post', '/kexec', { mode: 'plain' }, { 'if-match': tag });
  // The freeze is a command, and so is the boot.
  assert.deepEqual([kexec.status, kexec.headers.etag], [200, after(tag, 2)]);
  const restored = await ask(host, 'post', '/snapshots/ready/restore', undefined, { 'if-match': after(tag, 2) });
  assert.deepEqual([restored.status, restored.headers.etag], [200, after(tag, 3)]);
  assert.equal((await ask(host, 'delete', '', undefined, { 'if-match': after(tag, 3) })).status, 204);
  assert.equal((await ask(host, 'get', '')).status, 404);
});

test('what the kernel refuses is a command as well, and its answer tells where the host is', async () => {
  const host = await app.host();
  const tag = await tagOf(host);
  const refused = await ask(host, 'put', `/devices/${D1}/driver`, { driver: 'nvme' }, { 'if-match': tag });
  assert.deepEqual([refused.status, refused.headers.etag], [409, await tagOf(host)], refused.text);
});

test('pages of a list are read of one and the same host', async () => {
  const host = await app.host();
  const first = await ask(host, 'get', '/devices?limit=2');
  const next = (): request.Test =>
    ask(host, 'get', `/devices?limit=2&after=${first.body.nextPageToken}`, undefined, {
      'if-match': first.headers.etag!,
    });
  assert.equal((await next()).status, 200);
  await ask(host, 'post', '/clock', { advance: 1 });
  assert.equal((await next()).status, 412);
});
