/** What a host has done, with its answers, and what has changed in between: as it was at the time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DiffView, HistoryView } from '../../src/host/past-views.ts';
import { useApp } from '../support/app.ts';
import { D1, type Host } from '../support/client.ts';
import { adopt, prepare } from '../support/setups.ts';

const app = useApp();

const historyOf = async (host: Host, query = ''): Promise<HistoryView> =>
  (await host.request('get', `/history?${query}`)) as HistoryView;
const sequenceOf = async (host: Host): Promise<number> => (await historyOf(host, 'limit=1000')).items.at(-1)!.sequence;

test('commands are told in their order, page by page, and by kind; the boot of a kexec stands behind it', async () => {
  const { host } = await adopt(app);
  const { items, nextPageToken } = await historyOf(host, 'limit=1000');
  assert.equal(nextPageToken, null);
  assert.deepEqual(
    items.map(({ sequence }) => sequence),
    items.map((_, index) => index + 1),
  );
  const paged = [];
  for (let after: string | null = '0'; after !== null; ) {
    const page = await historyOf(host, `limit=7&after=${after}`);
    assert.ok(page.items.length <= 7);
    paged.push(...page.items);
    after = page.nextPageToken;
  }
  assert.deepEqual(paged, items);
  const kexec = (await historyOf(host, 'op=kexec.freeze&op=kexec.boot&limit=1000')).items;
  assert.deepEqual(
    kexec.map(({ op }) => op),
    ['kexec.freeze', 'kexec.boot'],
  );
  const [freeze, boot] = kexec;
  assert.equal(boot!.sequence, freeze!.sequence + 1);
});

test('answers are those that were given, refusals among them, with how many events they caused', async () => {
  const { host } = await prepare(app);
  const asked: unknown[] = [];
  const before = await sequenceOf(host);
  const { pid } = await host.process();
  const calls = [{ call: 'open', path: '/dev/liveupdate' }];
  asked.push(await host.request('post', `/processes/${pid}/calls`, { calls }));
  await assert.rejects(host.bindDriver(D1, 'nvme'));
  await host.kexec();
  const { items } = await historyOf(host, `after=${before}&answers=true`);
  const answers = items.map(({ answer }) => answer as { kind: string; value?: unknown; errno?: string });
  assert.deepEqual(
    items.map(({ op }) => op),
    ['process.create', 'calls', 'driver.bind', 'kexec.freeze', 'kexec.boot'],
  );
  assert.deepEqual(answers[1], { kind: 'ok', value: asked[0] });
  assert.deepEqual([answers[2]!.kind, answers[2]!.errno], ['refused', 'EBUSY']);
  const events = await host.events();
  for (const { sequence, events: count } of items)
    assert.equal(count, events.filter((event) => event.sequence === sequence).length, String(sequence));
});

test('a batch is told without its bytes', async () => {
  const { host, vmm, iommufd, ioas } = await prepare(app);
  void ioas;
  const fresh = await vmm.allocIoas(iommufd);
  await vmm.mmap(0x7f0000000000, 1 << 20);
  const path = `/processes/${vmm.pid}/iommufds/${iommufd}/ioases/${fresh}/batch`;
  const map = { op: 'map', iova: '0x1000', length: 4096, userVa: '0x7f0000000000' };
  await host.request('post', path, { operations: [map] });
  const { items } = await historyOf(host, 'op=batch&answers=true');
  assert.equal(items.length, 1);
  assert.ok(items[0]!.payload > 0);
  assert.equal((items[0]!.answer as { value: { applied: number } }).value.applied, 1);
});

test('what has changed between two commands is told in the terms of the kernel', async () => {
  const { host, vmm } = await prepare(app);
  const from = await sequenceOf(host);
  await host.kexec();
  const diff = async (query: string): Promise<DiffView> => (await host.request('get', `/diff?${query}`)) as DiffView;
  const { changes, to } = await diff(`from=${from}`);
  assert.equal(to, from + 2);
  const at = (path: string) => changes.find((change) => change.path === path);
  assert.deepEqual(at(`/devices/${D1}/state`), {
    path: `/devices/${D1}/state`,
    change: 'changed',
    from: 'N',
    to: 'L',
  });
  assert.equal(at(`/processes/${vmm.pid}`)?.change, 'removed');
  assert.deepEqual(at('/sessions/vm1/side'), {
    path: '/sessions/vm1/side',
    change: 'changed',
    from: 'outgoing',
    to: 'incoming',
  });
  assert.deepEqual((await diff(`from=${to}`)).changes, []);
  const paged: DiffView['changes'][number][] = [];
  for (let token: string | null = '0'; token !== null; ) {
    const page: DiffView = await diff(`from=${from}&to=${to}&limit=7&after=${token}`);
    assert.ok(page.changes.length === 7 || page.nextPageToken === null);
    paged.push(...page.changes);
    token = page.nextPageToken;
  }
  assert.deepEqual(paged, changes);
  const back = await diff(`from=${to}&to=${from}`);
  assert.deepEqual(
    back.changes.find(({ path }) => path === `/devices/${D1}/state`),
    { path: `/devices/${D1}/state`, change: 'changed', from: 'L', to: 'N' },
  );
  const unmapped = await diff(`from=0&to=${from}`);
  assert.ok(unmapped.changes.some(({ path, change }) => path === `/processes/${vmm.pid}` && change === 'added'));
});

test('what cannot be told is refused', async () => {
  const host = await app.host();
  for (const [path, refusal] of [
    ['/diff?from=7', /404 .*command 7: the last one is 0/],
    ['/diff', /400 .*\/from/],
    ['/diff?from=-1', /400 .*\/from/],
    ['/history?limit=0', /400 .*\/limit/],
    ['/history?answers=maybe', /400 .*\/answers/],
  ] as const)
    await assert.rejects(host.request('get', path), refusal);
  const { items } = await historyOf(host);
  assert.deepEqual(items, []);
});
