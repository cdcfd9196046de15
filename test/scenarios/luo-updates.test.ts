/** S10 to S18: files at FINISH, one update after another, freeze and its failures, kernels that do not fit. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, type Host, MIB } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';
import { ALLOW_SEALING, GROW, type Process, SHRINK } from '../support/process.ts';
import { prepare } from '../support/setups.ts';

const app = useApp();
const SIZE = MIB;

/** A session with a memfd of 1 MiB for each token, which begins with `NAME TOKEN`. */
async function createWithMemfds(process: Process, lu: number, name: string, tokens: number[]): Promise<number> {
  const session = await process.createSession(lu, name);
  for (const token of tokens) {
    const memfd = await process.memfd(SIZE);
    await process.write(memfd, 0, `${name} ${token}`);
    await process.preserve(session, memfd, token);
  }
  return session;
}

/** A host in its second kernel, with these incoming sessions of one memfd each, token 1. */
async function updatedHost(...names: string[]): Promise<{ host: Host; process: Process; lu: number }> {
  const host = await app.host();
  const before = await host.process();
  const lu = await before.openLiveupdate();
  for (const name of names) await createWithMemfds(before, lu, name, [1]);
  await host.kexec();
  const process = await host.process();
  return { host, process, lu: await process.openLiveupdate() };
}

const freezes = (events: Awaited<ReturnType<Host['events']>>): string[] =>
  events
    .filter((event) => event.kind === 'luo.freeze' || event.kind === 'luo.unfreeze')
    .map((event) => `${event.kind.slice(4)} ${event.data.session} ${Number(event.data.token)}`);

test('S10 un-retrieved memfd at finish', async () => {
  const host = await app.host();
  const before = await host.process();
  await createWithMemfds(before, await before.openLiveupdate(), 'a', [1, 2]);
  await host.kexec();

  const next = await host.process();
  const session = await next.retrieveSession(await next.openLiveupdate(), 'a');
  const file = await next.retrieve(session, 1);
  const reserved = await host.reservedBytes();
  const free = await host.freeBytes();
  assert.ok(reserved >= SIZE, 'the second file waits');
  await next.finish(session);
  assert.equal(await next.read(file, 0, 3), 'a 1');
  await expectErrno('ENOENT', next.retrieve(session, 2));
  assert.ok((await host.reservedBytes()) <= reserved - SIZE);
  assert.ok((await host.freeBytes()) >= free + SIZE);
});

test('S11 un-retrieved session', async () => {
  const { process, lu } = await updatedHost('a', 'b');
  const session = await process.retrieveSession(lu, 'a');
  await process.finish(session);
  await process.close(session);
  const outgoing = await process.createSession(lu, 'b');
  const incoming = await process.retrieveSession(lu, 'b');
  assert.notEqual(outgoing, incoming);
  assert.equal(await process.sessionName(outgoing), 'b');
  assert.equal(await process.sessionName(incoming), 'b');
  assert.equal(await process.read(await process.retrieve(incoming, 1), 0, 3), 'b 1');
});

test('S12 second update before finish', async () => {
  const { host, process, lu } = await updatedHost('a');
  const memfd = await process.retrieve(await process.retrieveSession(lu, 'a'), 1);
  const outgoing = await process.createSession(lu, 't');
  await expectErrno('EBUSY', process.preserve(outgoing, memfd, 1));
  await host.kexec();

  const third = await host.process();
  const luThird = await third.openLiveupdate();
  await expectErrno('ENOENT', third.retrieveSession(luThird, 'a'));
  const empty = await third.retrieveSession(luThird, 't');
  await expectErrno('ENOENT', third.retrieve(empty, 1));
  await third.finish(empty);
  assert.ok((await host.reservedBytes()) < SIZE, 'nothing of "a" is reserved');
  assert.equal(await host.ownedBytes('memfd'), 0);
});

test('S13 re-preserving the right way', async () => {
  const { host, process, lu } = await updatedHost('a');
  assert.equal((await host.view()).liveupdateNumber, 1);
  const session = await process.retrieveSession(lu, 'a');
  const memfd = await process.retrieve(session, 1);
  const outgoing = await process.createSession(lu, 't');
  await process.finish(session);
  await process.preserve(outgoing, memfd, 1);
  await host.kexec();

  assert.equal((await host.view()).liveupdateNumber, 2);
  const third = await host.process();
  const retrieved = await third.retrieveSession(await third.openLiveupdate(), 't');
  assert.equal(await third.read(await third.retrieve(retrieved, 1), 0, 3), 'a 1');
});

test('S14 freeze failure and rollback', async () => {
  const host = await app.host();
  const agent = await host.process();
  const lu = await agent.openLiveupdate();
  const s1 = await createWithMemfds(agent, lu, 's1', [1, 2]);
  const s2 = await createWithMemfds(agent, lu, 's2', [3, 4]);
  await host.armFault('memfd.freeze', { nth: 4, errno: 'EIO' });
  const cursor = await host.cursor();
  await expectErrno('EIO', host.kexec());
  assert.deepEqual(freezes(await host.events(cursor)), [
    'freeze s1 1',
    'freeze s1 2',
    'freeze s2 3',
    'freeze s2 4',
    'unfreeze s2 3',
    'unfreeze s1 1',
    'unfreeze s1 2',
  ]);
  assert.equal((await host.view()).kernel, 1);
  for (const session of [s1, s2]) await agent.preserve(session, await agent.memfd(SIZE), 5);
  await host.kexec();

  const next = await host.process();
  const luNext = await next.openLiveupdate();
  for (const [name, tokens] of [['s1', [1, 2]] as const, ['s2', [3, 4]] as const]) {
    const session = await next.retrieveSession(luNext, name);
    for (const token of tokens) {
      assert.equal(await next.read(await next.retrieve(session, token), 0, 4), `${name} ${token}`);
    }
  }
});

test('S15 no image, busy lock, wrong image', async () => {
  const host = await app.host();
  const agent = await host.process();
  await createWithMemfds(agent, await agent.openLiveupdate(), 'a', [1]);
  const user = await host.process({ capabilities: ['CAP_SYS_ADMIN'] });
  const cursor = await host.cursor();
  await expectErrno('EINVAL', host.kexec({ image: 'none' }));
  await expectErrno('EBUSY', host.kexec({ image: 'loading' }));
  await expectErrno('EPERM', host.kexec({ pid: user.pid }));
  await expectErrno('EPERM', host.kexec({ pid: user.pid, image: 'none' }));
  assert.deepEqual(freezes(await host.events(cursor)), []);
  assert.equal((await host.view()).kernel, 1);

  await host.kexec({ mode: 'plain' });
  assert.deepEqual(freezes(await host.events(cursor)), ['freeze a 1']);
  assert.equal((await host.view()).kernel, 2);
  assert.equal((await host.view()).liveupdateNumber, 0, 'a cold boot');
  const next = await host.process();
  await expectErrno('ENOENT', next.retrieveSession(await next.openLiveupdate(), 'a'));
  assert.equal(await host.reservedBytes(), 0);
});

test('S16 unfit kernels', async () => {
  async function preparedHost(): Promise<Host> {
    const host = await app.host();
    const agent = await host.process();
    await createWithMemfds(agent, await agent.openLiveupdate(), 'a', [1]);
    return host;
  }

  const cold = await preparedHost();
  await cold.kexec({ kernel: { khoAbi: 'kho-v3' } });
  assert.equal((await cold.view()).state, 'running');
  const stranger = await cold.process();
  await expectErrno('ENOENT', stranger.retrieveSession(await stranger.openLiveupdate(), 'a'));
  assert.equal(await cold.reservedBytes(), 0);

  const stopped = await preparedHost();
  await stopped.kexec({ kernel: { luoAbi: 'luo-v4' } });
  assert.equal((await stopped.view()).state, 'panic');
  await stopped.powerCycle();
  assert.equal((await stopped.view()).state, 'running');

  const lacking = await preparedHost();
  await lacking.kexec({ kernel: { handlers: ['iommufd-v1', 'vfio-pci-v1'] } });
  const process = await lacking.process();
  await expectErrno('EIO', process.openLiveupdate());
  await expectErrno('EIO', process.openLiveupdate());
  await lacking.kexec();
  await (await lacking.process()).openLiveupdate();
});

test('S17 memfd properties', async () => {
  const host = await app.host();
  const before = await host.process();
  const memfd = await before.memfd(SIZE, ALLOW_SEALING, 'named');
  assert.equal(await host.ownedBytes('memfd'), 0, 'all holes');
  await before.seek(memfd, 10);
  await before.addSeals(memfd, GROW);
  await before.preserve(await before.createSession(await before.openLiveupdate(), 'a'), memfd, 1);
  await before.addSeals(memfd, SHRINK);
  await before.seek(memfd, 20);
  await before.write(memfd, 3, 'x');
  await host.kexec();

  const next = await host.process();
  const file = await next.retrieve(await next.retrieveSession(await next.openLiveupdate(), 'a'), 1);
  assert.equal(await next.read(file, 3, 1), 'x');
  assert.equal(await next.seek(file), 20, 'the position as at freeze');
  assert.equal(await next.seals(file), GROW, 'the seals as at PRESERVE_FD');
  // CLOEXEC is not part of any answer: no process of a simulated host calls exec.
  assert.equal(await host.ownedBytes('memfd'), SIZE, 'no holes');
  const link = (await next.view()).descriptors.find((descriptor) => descriptor.fd === file)?.link;
  assert.ok(link !== undefined && !link.includes('named'), `${link}: the name is lost`);
  await next.truncate(file, SIZE / 2);
  await expectErrno('EPERM', next.truncate(file, SIZE));
});

test('S18 finish is atomic and retryable', async () => {
  const { host } = await prepare(app);
  await host.kexec();
  await host.bindDriver(D1, 'vfio-pci');
  const vmm = await host.process();
  const session = await vmm.retrieveSession(await vmm.openLiveupdate(), 'vm1');
  const memfd = await vmm.retrieve(session, 1);
  await expectErrno('EBUSY', vmm.finish(session));
  const same = await vmm.retrieve(session, 1);
  await vmm.seek(memfd, 77);
  assert.equal(await vmm.seek(same), 77, 'nothing was finished: the same file');
  const iommufd = await vmm.retrieve(session, 2);
  const cdev = await vmm.retrieve(session, 3);
  await expectErrno('EBUSY', vmm.finish(session));
  await vmm.bind(cdev, iommufd);
  await vmm.finish(session);
  await expectErrno('ENOENT', vmm.retrieve(session, 1));
});
