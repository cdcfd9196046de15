/** Memory of processes: what is private and what is shared, after a fork and under the DMA of a device. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, type Host } from '../support/client.ts';
import { expectErrno, hex } from '../support/kernel-error.ts';
import { Process } from '../support/process.ts';

const app = useApp();

const A = 0x200000000000;
const PAGE = 4096;
const TIB = 2 ** 40;
const IOVA = 0x100000;
const [READ, WRITE] = [1, 2];

const text = (data = ''): string => Buffer.from(data, 'base64').toString();
const base64 = (data: string): string => Buffer.from(data).toString('base64');

const peek = async (process: Process, addr: number, length = 4): Promise<string> =>
  text((await process.call('peek', { addr: hex(addr), length })).data);
const poke = (process: Process, addr: number, data: string) =>
  process.call('poke', { addr: hex(addr), data: base64(data) });
const mapMemfd = (process: Process, addr: number, fd: number, length: number, more: Record<string, unknown> = {}) =>
  process.call('mmap', { addr: hex(addr), length, fd, offset: 0, shared: false, prot: READ | WRITE, ...more });

async function fork(parent: Process): Promise<Process> {
  const { ret } = await parent.call('fork', {});
  return new Process(parent.host, ret as number);
}

/** A process, and a device of it on an IOAS. */
async function withDevice(): Promise<{ host: Host; vmm: Process; iommufd: number; ioas: number }> {
  const host = await app.host();
  const vmm = await host.process();
  const iommufd = await vmm.open('/dev/iommu');
  const cdev = await vmm.openCdev(D1);
  await vmm.bind(cdev, iommufd);
  const ioas = await vmm.allocIoas(iommufd);
  await vmm.attach(cdev, ioas);
  return { host, vmm, iommufd, ioas };
}

test('a child has the bytes of its parent, and what either stores afterwards is its own', async () => {
  const host = await app.host();
  const parent = await host.process({ name: 'parent' });
  await parent.mmap(A, 2 * PAGE);
  await poke(parent, A, 'once');
  const child = await fork(parent);
  assert.equal((await child.view()).name, 'parent');
  assert.equal(await peek(child, A), 'once');
  assert.equal(await peek(child, A + PAGE, 1), '\u0001', 'as the first touch left it');
  await poke(child, A, 'kid!');
  await poke(parent, A + PAGE, 'mama');
  assert.deepEqual([await peek(parent, A), await peek(child, A + PAGE, 1)], ['once', '\u0001']);
  await parent.kill();
  assert.equal(await peek(child, A), 'kid!');
});

test('shared memory is one after a fork, with a memfd and without', async () => {
  const host = await app.host();
  const parent = await host.process();
  const memfd = await parent.memfd(PAGE);
  await mapMemfd(parent, A, memfd, PAGE, { shared: true });
  await parent.call('mmap', { addr: hex(A + PAGE), length: PAGE, shared: true });
  await mapMemfd(parent, A + 2 * PAGE, memfd, PAGE);
  await poke(parent, A + 2 * PAGE, 'mine');
  const child = await fork(parent);
  await poke(child, A, 'file');
  await poke(child, A + PAGE, 'anon');
  assert.deepEqual([await peek(parent, A), await peek(parent, A + PAGE)], ['file', 'anon']);
  assert.deepEqual([await peek(parent, A + 2 * PAGE), await peek(child, A + 2 * PAGE)], ['mine', 'mine']);
  await parent.truncate(memfd, 0);
  for (const process of [parent, child]) await expectErrno('EFAULT', peek(process, A + 2 * PAGE));
});

test('a child has the same open files: a position is moved for both, and a close is its own', async () => {
  const host = await app.host();
  const parent = await host.process();
  const memfd = await parent.memfd(PAGE);
  const child = await fork(parent);
  await parent.seek(memfd, 100);
  assert.equal(await child.seek(memfd), 100);
  await parent.close(memfd);
  assert.equal(await child.size(memfd), PAGE);
  assert.equal(await child.memfd(0), memfd + 1);
  assert.equal(await parent.memfd(0), memfd);
});

test('pages that a device has pinned stay the parent’s, and the child gets copies', async () => {
  const { host, vmm, iommufd, ioas } = await withDevice();
  await vmm.mmap(A, PAGE);
  await vmm.map(iommufd, ioas, IOVA, A, PAGE);
  const child = await fork(vmm);
  await host.dmaWrite(D1, IOVA, 'DMA!');
  assert.deepEqual([await peek(vmm, A), await peek(child, A, 1)], ['DMA!', '\u0001']);
});

test('a fork that has no memory for its copies changes nothing', async () => {
  const host = await app.host({ memory: '0x10000000' });
  const parent = await host.process();
  const free = await host.freeBytes();
  const length = Math.floor((free * 0.6) / PAGE) * PAGE;
  await parent.mmap(A, length);
  await expectErrno('ENOMEM', fork(parent));
  assert.equal(await host.freeBytes(), free - length);
  await parent.call('munmap', { addr: hex(A), length });
  assert.equal((await fork(parent)).pid, parent.pid + 1);
});

test('a private mapping costs what is stored, however long it is', async () => {
  const host = await app.host({ memory: '0x10000000' });
  const vmm = await host.process();
  const memfd = await vmm.memfd(hex(4 * TIB));
  const free = await host.freeBytes();
  await mapMemfd(vmm, A, memfd, 4 * TIB);
  await vmm.call('mmap', { addr: hex(A + 4 * TIB), length: 4 * TIB, prot: 0 });
  assert.equal(await host.freeBytes(), free);
  await poke(vmm, A + 2 * TIB, 'here');
  assert.equal(await host.freeBytes(), free - 2 * PAGE, 'the page of the file, and the copy');
  assert.equal(await peek(vmm, A + 2 * TIB), 'here');
  assert.equal(await vmm.read(memfd, 2 * TIB, 4), '\0\0\0\0');
  await expectErrno('EFAULT', poke(vmm, A + 5 * TIB, 'none'));
  await vmm.call('mprotect', { addr: hex(A + 5 * TIB), length: PAGE, prot: READ | WRITE });
  await poke(vmm, A + 5 * TIB, 'some');
  assert.equal(await host.freeBytes(), free - 3 * PAGE);
});

test('a private page of a file becomes the process’s own when it is pinned, to be read, too', async () => {
  const { host, vmm, iommufd, ioas } = await withDevice();
  const memfd = await vmm.memfd(2 * PAGE);
  await vmm.write(memfd, 0, 'file');
  await mapMemfd(vmm, A, memfd, 2 * PAGE);
  const read = { flags: 1 | 4, ioas_id: ioas, user_va: hex(A), length: PAGE, iova: hex(IOVA) };
  await vmm.ioctl(iommufd, 'IOMMU_IOAS_MAP', read);
  await vmm.map(iommufd, ioas, IOVA + PAGE, A + PAGE, PAGE);
  await vmm.write(memfd, 0, 'late');
  assert.equal((await host.dmaRead(D1, IOVA, 4)).toString(), 'file');
  assert.equal(await peek(vmm, A), 'file', 'the process sees what its device sees');
  await host.dmaWrite(D1, IOVA + PAGE, 'DMA!');
  assert.equal(await peek(vmm, A + PAGE), 'DMA!');
  assert.equal(await vmm.read(memfd, PAGE, 4), '\0\0\0\0');
});

test('memory that may not be read cannot be pinned to be read, nor what reaches behind its file', async () => {
  const { vmm, iommufd, ioas } = await withDevice();
  const memfd = await vmm.memfd(PAGE);
  for (const prot of [0, WRITE]) {
    await vmm.call('mmap', { addr: hex(A), length: PAGE, prot, fixed: true });
    const read = { flags: 1 | 4, ioas_id: ioas, user_va: hex(A), length: PAGE, iova: hex(IOVA) };
    await expectErrno('EFAULT', vmm.ioctl(iommufd, 'IOMMU_IOAS_MAP', read));
  }
  for (const shared of [true, false]) {
    await mapMemfd(vmm, A, memfd, 2 * PAGE, { shared, fixed: true });
    await expectErrno('EFAULT', vmm.map(iommufd, ioas, IOVA, A, 2 * PAGE));
  }
});

test('pins follow memory that is moved, and outlive what is unmapped', async () => {
  const { host, vmm, iommufd, ioas } = await withDevice();
  await vmm.mmap(A, 4 * PAGE);
  await vmm.map(iommufd, ioas, IOVA, A, 4 * PAGE);
  const move = { addr: hex(A + PAGE), old_length: 2 * PAGE, new_length: 2 * PAGE };
  await vmm.call('mremap', { ...move, flags: ['MREMAP_MAYMOVE', 'MREMAP_FIXED'], new_addr: hex(A + 0x100000) });
  await host.dmaWrite(D1, IOVA + 2 * PAGE, 'DMA!');
  assert.equal(await peek(vmm, A + 0x101000), 'DMA!');
  await expectErrno('EFAULT', peek(vmm, A + PAGE));
  const { signal } = (await vmm.host.runCalls(vmm.pid, [{ call: 'peek', addr: hex(A + PAGE), length: 1 }]))[0]!;
  assert.equal(signal, 'SIGSEGV');
  await vmm.call('munmap', { addr: hex(A + 0x100000), length: 2 * PAGE });
  assert.equal((await host.dmaRead(D1, IOVA + 2 * PAGE, 4)).toString(), 'DMA!');
});

test('F_SEAL_WRITE is EBUSY while a device has pages pinned, whichever way it came to them', async () => {
  const { vmm, iommufd, ioas } = await withDevice();
  const memfd = await vmm.memfd(2 * PAGE);
  await mapMemfd(vmm, A, memfd, PAGE, { shared: true });
  await vmm.map(iommufd, ioas, IOVA, A, PAGE);
  await vmm.call('munmap', { addr: hex(A), length: PAGE });
  await expectErrno('EBUSY', vmm.addSeals(memfd, 8));
  await vmm.truncate(memfd, 0);
  await vmm.addSeals(memfd, 8);
  const other = await vmm.memfd(PAGE);
  await vmm.mapFile(iommufd, ioas, IOVA + PAGE, other, PAGE);
  await expectErrno('EBUSY', vmm.addSeals(other, 8));
  await vmm.unmap(iommufd, ioas, IOVA + PAGE, PAGE);
  await vmm.addSeals(other, 8);
});

test('MAP_FILE pins pages of fallocate as they are: holes until something touches them', async () => {
  const { host, vmm, iommufd, ioas } = await withDevice();
  const memfd = await vmm.memfd(2 * PAGE);
  await vmm.allocate(memfd, 0, PAGE);
  await vmm.mapFile(iommufd, ioas, IOVA, memfd, 2 * PAGE);
  const data = { fd: memfd, offset: 0, whence: 3 };
  assert.equal((await vmm.call('lseek', data)).ret, PAGE, 'a page that was not there is made, and up to date');
  await host.dmaWrite(D1, IOVA, 'DMA!');
  assert.equal(await vmm.read(memfd, 0, 4), '\0\0\0\0');
});

test('what a signal would be is told with EFAULT of peek and poke, and with no other call', async () => {
  const host = await app.host();
  const vmm = await host.process();
  const memfd = await vmm.memfd(PAGE);
  await mapMemfd(vmm, A, memfd, 2 * PAGE, { shared: true, prot: READ });
  const calls = [
    { call: 'peek', addr: hex(A + PAGE), length: 1 },
    { call: 'poke', addr: hex(A), data: 'AA==' },
    { call: 'peek', addr: hex(A + 2 * PAGE), length: 1 },
    { call: 'mremap', addr: hex(A + 2 * PAGE), old_length: PAGE, new_length: PAGE, flags: 1 },
  ];
  const results = await host.runCalls(vmm.pid, [...calls, { call: 'peek', addr: hex(A + PAGE - 1), length: 2 }]);
  assert.deepEqual(
    results.map(({ errno, signal }) => [errno, signal]),
    [
      ['EFAULT', 'SIGBUS'],
      ['EFAULT', 'SIGSEGV'],
      ['EFAULT', 'SIGSEGV'],
      ['EFAULT', undefined],
      ['EFAULT', 'SIGBUS'],
    ],
  );
});

test('where Linux chooses the address of memory that grows, it is the highest that is free', async () => {
  const host = await app.host();
  const vmm = await host.process();
  await vmm.mmap(A, PAGE);
  await vmm.mmap(A + PAGE, PAGE);
  await vmm.call('mprotect', { addr: hex(A + PAGE), length: PAGE, prot: READ });
  await poke(vmm, A, 'moved');
  const grow = { addr: hex(A), old_length: PAGE, new_length: 3 * PAGE };
  await expectErrno('ENOMEM', vmm.call('mremap', { ...grow, flags: 0 }));
  const { ret } = await vmm.call('mremap', { ...grow, flags: 1 });
  assert.equal(ret, '0x7ffff7ffc000');
  assert.equal(await peek(vmm, Number(ret), 5), 'moved');
  assert.equal(await peek(vmm, Number(ret) + PAGE, 1), '\0', 'what is added was never touched');
});
