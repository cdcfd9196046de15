/** Eventfds, as fs/eventfd.c has them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { countOf } from '../support/interrupting.ts';
import { expectErrno } from '../support/kernel-error.ts';
import { Process } from '../support/process.ts';

const app = useApp();
const SEMAPHORE = 1;
const NONBLOCK = 0x800;
const CLOEXEC = 0x80000;

const make = async (process: Process, initval: number, flags: number): Promise<number> =>
  (await process.call('eventfd', { initval, flags })).ret as number;

const bytesOf = (value: bigint): string => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes.toString('base64');
};
const add = (process: Process, fd: number, value: bigint) => process.call('write', { fd, data: bytesOf(value) });

test('a read takes the whole counter, and one of a semaphore 1', async () => {
  const process = await (await app.host()).process();
  const fd = await make(process, 0xffffffff, NONBLOCK);
  assert.equal((await add(process, fd, 5n)).ret, 8);
  assert.equal(await countOf(process, fd), 0x1_0000_0004n);
  await expectErrno('EAGAIN', process.call('read', { fd, length: 8 }));
  const semaphore = await make(process, 2, SEMAPHORE | CLOEXEC);
  const longer = await process.call('read', { fd: semaphore, length: 4096 });
  assert.deepEqual(longer, { ret: 8, data: bytesOf(1n) });
  assert.equal(await countOf(process, semaphore), 1n);
  await expectErrno('EAGAIN', process.call('read', { fd: semaphore, length: 8 }));
});

test('a counter overflows at 2^64 - 1, which nobody can add', async () => {
  const process = await (await app.host()).process();
  const fd = await make(process, 0, NONBLOCK);
  const most = 2n ** 64n - 2n;
  await expectErrno('EINVAL', add(process, fd, most + 1n));
  await add(process, fd, most);
  await add(process, fd, 0n);
  await expectErrno('EAGAIN', add(process, fd, 1n));
  assert.equal(await countOf(process, fd), most);
});

test('poll tells whether it can be read, and written', async () => {
  const process = await (await app.host()).process();
  const fd = await make(process, 0, NONBLOCK);
  const ready = async () => (await process.call('poll', { fds: [{ fd, events: 0x3ff }] })).revents;
  const [IN, OUT] = [1, 4];
  assert.deepEqual(await ready(), [OUT]);
  await add(process, fd, 1n);
  assert.deepEqual(await ready(), [IN | OUT]);
  await add(process, fd, 2n ** 64n - 3n);
  assert.deepEqual(await ready(), [IN]);
  await countOf(process, fd);
  assert.deepEqual(await ready(), [OUT]);
});

test('what is no counter of 8 bytes is refused', async () => {
  const process = await (await app.host()).process();
  const fd = await make(process, 1, 0);
  await expectErrno('EINVAL', process.call('read', { fd, length: 7 }));
  await expectErrno('EINVAL', process.call('write', { fd, length: 7, data: bytesOf(1n) }));
  await expectErrno('EINVAL', process.call('write', { fd, length: 16, data: bytesOf(1n) }));
  await expectErrno('EINVAL', process.call('eventfd', { initval: 0, flags: 2 }));
  assert.equal(await countOf(process, fd), 1n);
});

test('it has no offsets, no memory and nothing to open again', async () => {
  const process = await (await app.host()).process();
  const fd = await make(process, 1, 0);
  await expectErrno('ESPIPE', process.call('pread', { fd, offset: 0, length: 8 }));
  await expectErrno('ESPIPE', process.call('pwrite', { fd, offset: 0, data: bytesOf(1n) }));
  assert.equal((await process.call('lseek', { fd, offset: 5, whence: 0 })).ret, 0);
  await expectErrno('EINVAL', process.call('lseek', { fd, offset: 0, whence: 5 }));
  await expectErrno('ENODEV', process.call('mmap', { addr: '0x10000000', length: 4096, fd, offset: 0, shared: true }));
  await expectErrno('ENXIO', process.call('open', { path: `/proc/self/fd/${fd}` }));
  await expectErrno('ENOTTY', process.call('ioctl', { fd, request: '0x3b6d' }));
  const { descriptors } = await process.view();
  assert.deepEqual(descriptors, [{ fd, kind: 'eventfd', link: 'anon_inode:[eventfd]', preservedIn: null }]);
});

test('descriptors of one eventfd share its counter, in any process', async () => {
  const host = await app.host();
  const [one, other] = [await host.process(), await host.process()];
  const fd = await make(one, 0, NONBLOCK);
  const there = await one.sendFd(fd, other);
  const copy = await one.dup(fd);
  await one.close(fd);
  await add(other, there, 3n);
  assert.equal(await countOf(one, copy), 3n);
  assert.equal(await countOf(other, there), 0n);
  const child = new Process(host, (await one.call('fork', {})).ret as number);
  await add(child, copy, 2n);
  assert.equal(await countOf(other, there), 2n);
});
