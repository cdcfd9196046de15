/** Named snapshots: a host is brought back to what it was, in place, as often as anybody likes, and whatever has happened since. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HistoryView, SnapshotView } from '../../src/host/past-views.ts';
import { useApp } from '../support/app.ts';
import { D1, Host, MIB } from '../support/client.ts';
import { serveDirectory } from '../support/directory-app.ts';
import { temporaryDirectory } from '../support/service.ts';
import { adopt, IOVA, prepare, retrieveAll, TEXT } from '../support/setups.ts';

const app = useApp();

const digestOf = async (host: Host): Promise<string> => ((await host.view()) as unknown as { digest: string }).digest;
const take = async (host: Host, name: string): Promise<SnapshotView> =>
  (await host.request('put', `/snapshots/${name}`)) as SnapshotView;
const restore = (host: Host, name: string): Promise<unknown> => host.request('post', `/snapshots/${name}/restore`);
const processesOf = async (host: Host): Promise<unknown[]> =>
  ((await host.request('get', '/processes')) as { items: unknown[] }).items;
const namesOf = async (host: Host): Promise<string[]> =>
  ((await host.request('get', '/snapshots')) as { items: SnapshotView[] }).items.map(({ name }) => name);

test('a prepared host is updated again and again, each time from where it was', async () => {
  const { host, watch, vmm, memfd } = await prepare(app);
  const { kernel, sequence } = await take(host, 'ready');
  assert.equal(kernel, 1);
  const digest = await digestOf(host);
  for (let round = 0; round < 3; round++) {
    await host.kexec();
    const q = await retrieveAll(host, watch);
    await q.vmm.bind(q.cdev, q.iommufd);
    assert.equal((await host.device(D1)).state, 'A');
    assert.deepEqual(await restore(host, 'ready'), { name: 'ready', sequence });
    assert.equal(await digestOf(host), digest);
    assert.equal((await host.device(D1)).state, 'N');
    assert.equal(await vmm.read(memfd, 0, TEXT.length), TEXT);
  }
  const told = (await host.events()).filter(({ kind }) => kind === 'restored');
  assert.deepEqual(told[0]!.data, { name: 'ready', sequence, state: 'running' });
  assert.equal(told.length, 3);
  const { items } = (await host.request('get', '/history?limit=1000&answers=true')) as HistoryView;
  assert.equal(items.filter(({ op }) => op === 'restore').length, 3);
  assert.deepEqual(
    items.map((item) => item.sequence),
    items.map((_, index) => index + 1),
    'what happened has happened',
  );
});

test('a host has the snapshots that it has now; one of the same name is another one', async () => {
  const host = await app.host();
  await take(host, 'first');
  await host.process({ name: 'one' });
  await take(host, 'second');
  await restore(host, 'first');
  assert.deepEqual(await processesOf(host), []);
  assert.deepEqual(await namesOf(host), ['first', 'second']);
  await restore(host, 'second');
  assert.equal((await processesOf(host)).length, 1);
  await host.process({ name: 'two' });
  await take(host, 'first');
  await host.request('delete', '/snapshots/second');
  await restore(host, 'first');
  assert.equal((await processesOf(host)).length, 2);
  assert.deepEqual(await namesOf(host), ['first']);
});

test('it is the same after a crash, a panic and a reset, and a copy of it goes on by itself', async () => {
  const { host } = await adopt(app);
  await take(host, 'adopted');
  const digest = await digestOf(host);
  await host.request('post', '/crash');
  await restore(host, 'adopted');
  assert.equal(await digestOf(host), digest);
  await host.request('post', '/reset');
  await restore(host, 'adopted');
  const body = { from: host.id };
  const copy = new Host(app, ((await new Host(app, '').ask('post', '/v1/hosts', body)) as { id: string }).id);
  assert.equal(await digestOf(copy), digest);
  await host.request('post', '/reset');
  assert.equal(String(await copy.dmaRead(D1, IOVA, TEXT.length)), TEXT);
  // What it was before it was made is not its own.
  await assert.rejects(restore(copy, 'adopted'), /404 .*no longer kept/);
});

test('what there is not is refused by name, and so is one too many', async () => {
  const host = await app.host();
  await assert.rejects(restore(host, 'nothing'), /404 .*snapshot nothing/);
  await assert.rejects(host.request('delete', '/snapshots/nothing'), /404 .*snapshot nothing/);
  await assert.rejects(take(host, 'a b'), /400 .*\/snapshot/);
  for (let count = 0; count < 64; count++) await take(host, `number-${count}`);
  await assert.rejects(take(host, 'one-too-many'), /ENOSPC/);
  await take(host, 'number-7');
  const digest = await digestOf(host);
  const requests = [{ method: 'POST', path: '/snapshots/number-7/restore' }];
  await assert.rejects(
    host.request('post', '/sweep', { requests }),
    /400 .*\/requests\/0.*no command that could be repeated/,
  );
  assert.equal(await digestOf(host), digest, 'a sweep does nothing to the host');
});

test('after a restart of the service it is what it was, and can be brought back', async (t) => {
  const directory = temporaryDirectory(t);
  let own = await serveDirectory(directory, 'key-of-mine');
  const { host } = await prepare(own, { memory: 256 * MIB });
  await take(host, 'ready');
  const digest = await digestOf(host);
  await host.kexec();
  await restore(host, 'ready');
  await host.process({ name: 'later' });
  const later = await digestOf(host);
  await own.stop();
  own = await serveDirectory(directory, 'key-of-mine');
  t.after(() => own.stop());
  const again = new Host(own, host.id);
  assert.equal(await digestOf(again), later);
  await again.kexec();
  await restore(again, 'ready');
  assert.equal(await digestOf(again), digest);
  assert.deepEqual(own.log, []);
});
