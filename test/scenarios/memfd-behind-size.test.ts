/** Pages of a memfd behind its size, as fallocate() with FALLOC_FL_KEEP_SIZE makes them: they are of no file but this one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import type { Host } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';
import { ALLOW_SEALING, type Process } from '../support/process.ts';

const app = useApp();
const PAGE = 4096;
const BEHIND = 16 * PAGE;
const KEEP_SIZE = 1;
const SEAL_WRITE = 8;
const AT = '0x7f0000000000';

/** A memfd of `size` bytes that begins with a text, with pages behind its end, in a session. */
async function preserved(host: Host, size: number): Promise<{ process: Process; memfd: number; session: number }> {
  const process = await host.process();
  const session = await process.createSession(await process.openLiveupdate(), 's');
  const memfd = await process.memfd(size, ALLOW_SEALING);
  if (size > 0) await process.write(memfd, 0, 'kept');
  await process.allocate(memfd, size, BEHIND, KEEP_SIZE);
  await process.preserve(session, memfd, 1);
  return { process, memfd, session };
}

/** The session of the previous kernel. */
async function retrieved(host: Host): Promise<{ process: Process; session: number }> {
  const process = await host.process();
  return { process, session: await process.retrieveSession(await process.openLiveupdate(), 's') };
}

for (const size of [0, PAGE])
  test(`a live update hands a memfd of ${size} bytes over up to its size`, async () => {
    const host = await app.host();
    await preserved(host, size);
    assert.equal(await host.ownedBytes('memfd'), size + BEHIND);
    await host.kexec();
    const { process, session } = await retrieved(host);
    assert.equal(await host.reservedBytes(), size);

    // Whatever is free is somebody else's by now.
    const other = await host.process();
    const free = await host.freeBytes();
    await other.call('mmap', { addr: AT, length: free });
    await other.call('poke', { addr: AT, data: Buffer.from('theirs').toString('base64') });
    const memfd = await process.retrieve(session, 1);
    assert.equal(await process.size(memfd), size);
    assert.equal(await process.read(memfd, 0, 4), size > 0 ? 'kept' : '');
    await process.truncate(memfd, size + BEHIND);
    await expectErrno('ENOSPC', process.write(memfd, size, 'ours'));
    await process.finish(session);
    await process.close(memfd);
    await process.kill();
    assert.equal(await host.ownedBytes('memfd'), 0);
    assert.equal(await host.ownedBytes('anonymous'), free);
    const { data } = await other.call('peek', { addr: AT, length: 6 });
    assert.equal(Buffer.from(data!, 'base64').toString(), 'theirs');
  });

test('a memfd that nobody retrieved is freed with FINISH, as far as it was handed over', async () => {
  const host = await app.host();
  await preserved(host, PAGE);
  await host.kexec();
  const { process, session } = await retrieved(host);
  await process.finish(session);
  await process.close(session);
  await process.kill();
  assert.equal(await host.reservedBytes(), 0);
  assert.equal(await host.ownedBytes('memfd'), 0);
});

test('while it is preserved, truncation to the same size takes the pages behind it away', async () => {
  const host = await app.host();
  const { process, memfd, session } = await preserved(host, PAGE);
  await expectErrno('EPERM', process.allocate(memfd, PAGE, PAGE, KEEP_SIZE));
  await expectErrno('EPERM', process.truncate(memfd, PAGE + BEHIND));
  assert.equal(await host.ownedBytes('memfd'), PAGE + BEHIND);
  await process.truncate(memfd, PAGE);
  assert.equal(await host.ownedBytes('memfd'), PAGE);
  assert.equal(await process.read(memfd, 0, 4), 'kept');
  await process.close(session);
  await process.allocate(memfd, PAGE, PAGE, KEEP_SIZE);
  await process.truncate(memfd, PAGE);
  assert.equal(await host.ownedBytes('memfd'), PAGE);
});

test('pages behind the size are not pinned: F_SEAL_WRITE waits only for those before it', async () => {
  const host = await app.host();
  const empty = await preserved(host, 0);
  await empty.process.addSeals(empty.memfd, SEAL_WRITE);
  const full = await preserved(await app.host(), PAGE);
  await expectErrno('EBUSY', full.process.addSeals(full.memfd, SEAL_WRITE));
});

test('a mapping shows nothing behind the end of its file', async () => {
  const host = await app.host();
  const process = await host.process();
  const memfd = await process.memfd(PAGE);
  await process.allocate(memfd, 0, BEHIND, KEEP_SIZE);
  await process.call('mmap', { addr: AT, length: BEHIND, fd: memfd, shared: true });
  const path = `/processes/${process.pid}/memory-map?address=${AT}&length=0x10000`;
  const { items } = (await host.request('get', path)) as { items: { length: string }[] };
  assert.deepEqual(
    items.map(({ length }) => length),
    ['0x1000'],
  );
  await expectErrno('EFAULT', process.call('peek', { addr: '0x7f0000001000', length: 1 }));
});
