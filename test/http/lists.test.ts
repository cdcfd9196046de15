/** Lists come in pages, whatever they are of, and no answer has a list in it that is longer than a page. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CallInput } from '../../src/host/command.ts';
import { MAX_CALLS, MAX_LISTED } from '../../src/limits.ts';
import { useApp } from '../support/app.ts';

const app = useApp();

interface Page {
  items: Record<string, unknown>[];
  nextPageToken: string | null;
}

async function ask(method: 'get' | 'post' | 'delete', path: string, body?: object) {
  const asked = app.agent[method](path).set('authorization', `Bearer ${app.key}`);
  const answer = await (body === undefined ? asked : asked.send(body));
  assert.ok(answer.status < 300, `${method} ${path}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

async function pages(path: string, limit?: number): Promise<Record<string, unknown>[][]> {
  const found: Record<string, unknown>[][] = [];
  for (let after: string | null = ''; after !== null; ) {
    const query = new URLSearchParams({ ...(limit && { limit: String(limit) }), ...(after && { after }) });
    const page: Page = await ask('get', `${path}?${query}`);
    found.push(page.items);
    after = page.nextPageToken;
    assert.ok(found.length < 100, 'it comes to an end');
  }
  return found;
}

/** All items, one or two at a time, are those that come at once, in that order. */
async function samePagewise(path: string): Promise<Record<string, unknown>[]> {
  const whole = await pages(path);
  assert.equal(whole.length, 1);
  for (const limit of [1, 2]) {
    const found = await pages(path, limit);
    assert.ok(found.slice(0, -1).every(({ length }) => length === limit));
    assert.deepEqual(found.flat(), whole[0]);
  }
  return whole[0]!;
}

async function run(path: string, calls: CallInput[]): Promise<void> {
  for (let at = 0; at < calls.length; at += MAX_CALLS) {
    const { results } = await ask('post', `${path}/calls`, { calls: calls.slice(at, at + MAX_CALLS) });
    for (const { errno, why } of results) assert.equal(errno, undefined, why);
  }
}

const repeat = (count: number, call: (index: number) => CallInput): CallInput[] =>
  Array.from({ length: count }, (_, index) => call(index));

test('devices, groups, domains, processes and sessions come page by page', async () => {
  const { id } = await ask('post', '/v1/hosts', { preset: 'vmm-lab' });
  const host = `/v1/hosts/${id}`;
  for (let pid = 1; pid <= 3; pid += 1) await ask('post', `${host}/processes`, { name: `p${pid}` });
  const session = (name: string) => ({
    call: 'ioctl',
    fd: 3,
    request: 'LIVEUPDATE_IOCTL_CREATE_SESSION',
    arg: { name },
  });
  await run(`${host}/processes/1`, [{ call: 'open', path: '/dev/liveupdate' }, ...['c', 'a', 'b'].map(session)]);
  const ioctl = (fd: number, request: string, arg: object) => ({ call: 'ioctl', fd, request, arg: { ...arg } });
  await run(`${host}/processes/2`, [
    { call: 'open', path: '/dev/iommu' },
    { call: 'open', path: '/dev/vfio/devices/vfio0' },
    ioctl(4, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd: 3 }),
    ioctl(3, 'IOMMU_IOAS_ALLOC', {}),
    ...repeat(3, () => ioctl(3, 'IOMMU_HWPT_ALLOC', { dev_id: 1, pt_id: 2 })),
  ]);
  assert.equal((await samePagewise(`${host}/devices`)).length, 5);
  assert.equal((await samePagewise(`${host}/groups`)).length, 4);
  assert.ok((await samePagewise(`${host}/domains`)).length > 2);
  assert.deepEqual(
    (await samePagewise(`${host}/processes`)).map(({ pid }) => pid),
    [1, 2, 3],
  );
  assert.deepEqual(
    (await samePagewise(`${host}/sessions`)).map(({ name }) => name),
    ['a', 'b', 'c'],
  );
});

test('what goes away between two pages takes nothing else along', async () => {
  const { id } = await ask('post', '/v1/hosts', { preset: 'vmm-lab' });
  const host = `/v1/hosts/${id}`;
  for (let pid = 1; pid <= 4; pid += 1) await ask('post', `${host}/processes`);
  const first: Page = await ask('get', `${host}/processes?limit=2`);
  for (const pid of [1, 2]) await ask('delete', `${host}/processes/${pid}`);
  const second: Page = await ask('get', `${host}/processes?after=${first.nextPageToken}`);
  assert.deepEqual(
    second.items.map(({ pid }) => pid),
    [3, 4],
  );
});

test('a process shows its first descriptors and areas, and lists have the others', async () => {
  const { id } = await ask('post', '/v1/hosts', { preset: 'vmm-lab' });
  const process = `/v1/hosts/${id}/processes/1`;
  await ask('post', `/v1/hosts/${id}/processes`);
  const few = await ask('get', process);
  assert.equal(few.more, undefined);
  await run(
    process,
    repeat(MAX_LISTED + 5, () => ({ call: 'open', path: '/dev/null' })),
  );
  const apart = (index: number): string => `0x${(0x7f00_0000_0000 + index * 0x2000).toString(16)}`;
  await run(
    process,
    repeat(MAX_LISTED + 7, (index) => ({ call: 'mmap', addr: apart(index), length: 4096, prot: 3 })),
  );
  const view = await ask('get', process);
  assert.equal(view.descriptors.length, MAX_LISTED);
  assert.equal(view.memory.length, MAX_LISTED);
  assert.deepEqual(view.more, { descriptors: 5, memory: 7 });
  const descriptors = await pages(`${process}/descriptors`);
  assert.deepEqual(
    descriptors.map(({ length }) => length),
    [MAX_LISTED, 5],
  );
  assert.deepEqual(descriptors[0], view.descriptors);
  const memory = await pages(`${process}/memory`);
  assert.deepEqual(
    memory.map(({ length }) => length),
    [MAX_LISTED, 7],
  );
  assert.deepEqual(memory[0], view.memory);
  assert.deepEqual(memory[1]?.at(-1), { address: apart(MAX_LISTED + 6), length: '0x1000', backing: 'anonymous' });
});

test('an iommufd shows its first objects, and a list has the others', async () => {
  const { id } = await ask('post', '/v1/hosts', { preset: 'vmm-lab' });
  await ask('post', `/v1/hosts/${id}/processes`);
  const process = `/v1/hosts/${id}/processes/1`;
  await run(process, [
    { call: 'open', path: '/dev/iommu' },
    ...repeat(MAX_LISTED + 2, () => ({ call: 'ioctl', fd: 3, request: 'IOMMU_IOAS_ALLOC', arg: {} })),
  ]);
  const view = await ask('get', `${process}/iommufds/3`);
  assert.deepEqual([view.objects.length, view.ioases.length], [MAX_LISTED, MAX_LISTED]);
  assert.deepEqual(view.more, { objects: 2, ioases: 2, hwpts: 0, devices: 0 });
  const objects = await pages(`${process}/iommufds/3/objects`);
  assert.deepEqual(
    objects.map(({ length }) => length),
    [MAX_LISTED, 2],
  );
  assert.deepEqual(
    objects[1]?.map((object) => object.id),
    [MAX_LISTED + 1, MAX_LISTED + 2],
  );
});

test('a page of large items is cut short, and no process is left out', async () => {
  const { id } = await ask('post', '/v1/hosts', { preset: 'vmm-lab' });
  const host = `/v1/hosts/${id}`;
  await ask('post', `${host}/processes`);
  await run(
    `${host}/processes/1`,
    repeat(MAX_LISTED, () => ({ call: 'open', path: '/dev/null' })),
  );
  await run(
    `${host}/processes/1`,
    repeat(29, () => ({ call: 'fork' })),
  );
  const found = await pages(`${host}/processes`);
  assert.ok(found.length > 1, 'in one page they are more than a MiB');
  assert.deepEqual(
    found.flat().map(({ pid }) => pid),
    Array.from({ length: 30 }, (_, index) => index + 1),
  );
});

test('what was no page token is refused', async () => {
  const { id } = await ask('post', '/v1/hosts', { preset: 'vmm-lab' });
  for (const query of [
    'processes?after=x',
    'devices?after=x',
    'groups?after=-1',
    'processes?limit=0',
    'devices?limit=1001',
  ]) {
    const answer = await app.agent.get(`/v1/hosts/${id}/${query}`).set('authorization', `Bearer ${app.key}`);
    assert.equal(answer.status, 400, query);
  }
});
