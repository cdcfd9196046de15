/** S1 to S9: the device, sessions, and what may be put into them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { KIB } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';
import { HUGETLB } from '../support/process.ts';

const app = useApp();

test('S1 simple round trip', async () => {
  const host = await app.host();
  const before = await host.process();
  const lu = await before.openLiveupdate();
  const session = await before.createSession(lu, 'a');
  const memfd = await before.memfd(8 * KIB);
  await before.write(memfd, 0, 'hello');
  await before.seek(memfd, 5);
  await before.preserve(session, memfd, 0x1a);
  await before.close(lu);
  assert.equal(await before.sessionName(session), 'a', 'the session still works');
  await host.kexec();

  const next = await host.process();
  const luNext = await next.openLiveupdate();
  const retrieved = await next.retrieveSession(luNext, 'a');
  const file = await next.retrieve(retrieved, 0x1a);
  assert.equal(await next.size(file), 8 * KIB);
  assert.equal(await next.seek(file), 5);
  assert.equal(await next.read(file, 0, 5), 'hello');
  await next.finish(retrieved);
  await next.close(retrieved);
  await expectErrno('ENOENT', next.retrieveSession(luNext, 'a'));
  assert.equal(await next.read(file, 0, 5), 'hello');
  assert.equal(await next.write(file, 5, ' again'), 6, 'O_RDWR');
  assert.equal(await next.read(file, 0, 11), 'hello again');
});

test('S2 exclusive device', async () => {
  const host = await app.host();
  const first = await host.process();
  const second = await host.process();
  const lu = await first.openLiveupdate();
  await expectErrno('EBUSY', second.openLiveupdate());
  await first.dup(lu);
  await first.close(lu);
  await expectErrno('EBUSY', second.openLiveupdate());
  await first.kill();
  await second.openLiveupdate();

  const without = await app.host({ boot: { liveupdate: false } });
  await expectErrno('ENOENT', (await without.process()).openLiveupdate());
});

test('S3 names', async () => {
  const host = await app.host();
  const agent = await host.process();
  const lu = await agent.openLiveupdate();
  await expectErrno('EINVAL', agent.createSession(lu, ''));
  await expectErrno('EINVAL', agent.createSession(lu, 'x'.repeat(64)));
  const longest = 'y'.repeat(63);
  const session = await agent.createSession(lu, longest);
  assert.equal(await agent.sessionName(session), longest);
  await expectErrno('EEXIST', agent.createSession(lu, longest));
  await agent.close(session);
  const again = await agent.createSession(lu, longest);
  await expectErrno('EINVAL', agent.ioctl(again, 'LIVEUPDATE_SESSION_GET_NAME', { reserved: 1 }));
});

test('S4 preserve errors in order', async () => {
  const host = await app.host();
  const vmm = await host.process();
  const lu = await vmm.openLiveupdate();
  const session = await vmm.createSession(lu, 's');
  const memfd = await vmm.memfd(4 * KIB);
  await vmm.preserve(session, memfd, 1);

  await expectErrno('EEXIST', vmm.preserve(session, 9999, 1));
  await expectErrno('EBADF', vmm.preserve(session, 9999, 2));
  await expectErrno('ENOENT', vmm.preserve(session, await vmm.open('/dev/null'), 2));
  await expectErrno('ENOENT', vmm.preserve(session, await vmm.memfd(2048 * KIB, HUGETLB), 2));
  await expectErrno('EBUSY', vmm.preserve(session, memfd, 2));
  await expectErrno('EBUSY', vmm.preserve(session, await vmm.dup(memfd), 2));
  await expectErrno('EBUSY', vmm.preserve(session, await vmm.open(`/proc/self/fd/${memfd}`), 2));
  const other = await vmm.createSession(lu, 't');
  await expectErrno('EBUSY', vmm.preserve(other, memfd, 1));
  await vmm.preserve(other, await vmm.memfd(4 * KIB), 1);
  await vmm.preserve(session, await vmm.memfd(4 * KIB), 0);
  await vmm.preserve(session, await vmm.memfd(4 * KIB), '0xffffffffffffffff');
});

test('S5 wrong side', async () => {
  const host = await app.host();
  const before = await host.process();
  const outgoing = await before.createSession(await before.openLiveupdate(), 'a');
  await expectErrno('EINVAL', before.finish(outgoing));
  await expectErrno('EINVAL', before.retrieve(outgoing, 1));
  await host.kexec();

  const next = await host.process();
  const session = await next.retrieveSession(await next.openLiveupdate(), 'a');
  await expectErrno('EINVAL', next.preserve(session, await next.memfd(4 * KIB), 1));
  await next.finish(session);

  await expectErrno('EINVAL', next.ioctl(session, 'LIVEUPDATE_IOCTL_CREATE_SESSION', { name: 'b' }));
  await expectErrno('ENOTTY', next.ioctl(session, '0x3b42'));
  await expectErrno('EINVAL', next.ioctl(session, 'LIVEUPDATE_SESSION_FINISH', { size: 4 }));
  await expectErrno('E2BIG', next.ioctl(session, 'LIVEUPDATE_SESSION_FINISH', { size: 16, tail: 1 }));
  await next.ioctl(session, 'LIVEUPDATE_SESSION_FINISH', { size: 16, tail: 0 });
});

test('S6 closing an outgoing session aborts', async () => {
  const host = await app.host();
  const vmm = await host.process();
  const lu = await vmm.openLiveupdate();
  const session = await vmm.createSession(lu, 'a');
  const memfd = await vmm.memfd(8 * KIB);
  await vmm.write(memfd, 0, 'first');
  await vmm.preserve(session, memfd, 1);
  await expectErrno('EPERM', vmm.truncate(memfd, 4 * KIB));
  await expectErrno('EPERM', vmm.truncate(memfd, 12 * KIB));
  await expectErrno('EPERM', vmm.allocate(memfd, 0, 4 * KIB));
  await expectErrno('EPERM', vmm.write(memfd, 8 * KIB - 2, 'past the end'));
  assert.equal(await vmm.write(memfd, 0, 'second'), 6);
  await vmm.truncate(memfd, 8 * KIB);
  await vmm.close(session);
  await vmm.truncate(memfd, 12 * KIB);
  await vmm.truncate(memfd, 8 * KIB);
  await vmm.preserve(await vmm.createSession(lu, 'a'), memfd, 1);
  await host.kexec();

  const next = await host.process();
  const retrieved = await next.retrieveSession(await next.openLiveupdate(), 'a');
  assert.equal(await next.read(await next.retrieve(retrieved, 1), 0, 6), 'second');
});

test('S7 agent dies before the kexec', async () => {
  const host = await app.host();
  const agent = await host.process();
  const memfd = await agent.memfd(1024 * KIB);
  await agent.preserve(await agent.createSession(await agent.openLiveupdate(), 'a'), memfd, 1);
  assert.ok(Number((await host.view()).memory.preserved) >= 1024 * KIB);
  await agent.kill();
  assert.ok(Number((await host.view()).memory.preserved) < 1024 * KIB);
  await host.kexec();

  const next = await host.process();
  await expectErrno('ENOENT', next.retrieveSession(await next.openLiveupdate(), 'a'));
  assert.equal(await host.ownedBytes('memfd'), 0);
  assert.ok((await host.reservedBytes()) < 1024 * KIB, 'the memory is gone');
});

test('S8 retrieve is idempotent, failure is sticky', async () => {
  const host = await app.host();
  const before = await host.process();
  const outgoing = await before.createSession(await before.openLiveupdate(), 'a');
  for (const token of [1, 2]) {
    const memfd = await before.memfd(4 * KIB);
    await before.write(memfd, 0, `memory ${token}`);
    await before.preserve(outgoing, memfd, token);
  }
  await host.kexec();

  const next = await host.process();
  const session = await next.retrieveSession(await next.openLiveupdate(), 'a');
  const fileA = await next.retrieve(session, 1);
  const fileB = await next.retrieve(session, 1);
  assert.notEqual(fileA, fileB);
  await next.seek(fileA, 3);
  assert.equal(await next.seek(fileB), 3, 'one file, two descriptors');
  await next.close(fileA);
  await next.close(fileB);
  assert.equal(await next.read(await next.retrieve(session, 1), 0, 8), 'memory 1');
  await expectErrno('ENOENT', next.retrieve(session, 99));

  await host.armFault('memfd.retrieve', { errno: 'EIO' });
  await expectErrno('EIO', next.retrieve(session, 2));
  await expectErrno('EIO', next.retrieve(session, 2));
  await next.finish(session);
});

test('S9 session retrieved once', async () => {
  const host = await app.host();
  const before = await host.process();
  const outgoing = await before.createSession(await before.openLiveupdate(), 'a');
  await before.preserve(outgoing, await before.memfd(4 * KIB), 1);
  await host.kexec();

  const next = await host.process();
  const lu = await next.openLiveupdate();
  const session = await next.retrieveSession(lu, 'a');
  await expectErrno('EINVAL', next.retrieveSession(lu, 'a'));
  await next.finish(session);
  await expectErrno('EINVAL', next.retrieveSession(lu, 'a'));
  await next.finish(session);
  await expectErrno('ENOENT', next.retrieve(session, 1));
  await next.close(session);
  await expectErrno('ENOENT', next.retrieveSession(lu, 'a'));
});
