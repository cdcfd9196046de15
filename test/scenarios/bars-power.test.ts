/** BARs of a device that does not answer: memory or I/O off in its command register, or asleep. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1 } from '../support/client.ts';
import { expectErrno, hex } from '../support/kernel-error.ts';

const app = useApp();

const SHIFT = 2 ** 40;
const AT = 0x6000_0000_0000;
const [IO, MEMORY] = [1, 2];
const COMMAND = 4;
const PM = 0x40;
const TABLE = 0x2000;

const BARS = [
  { index: 0, kind: 'mem64', address: '0xfe400000', size: '0x4000' },
  { index: 2, kind: 'io', address: '0xe000', size: '0x100' },
  { index: 6, kind: 'rom', address: '0xfe410000', size: '0x800' },
];
const CAPABILITIES = [
  { offset: PM, id: 1 },
  { offset: 0x50, id: 17, msixVectors: 4, tableBar: 0, tableOffset: TABLE, pbaBar: 0, pbaOffset: 0x3000 },
];
const DRIVE = { bdf: D1, class: '0108', driver: 'vfio-pci', config: { bars: BARS, capabilities: CAPABILITIES } };

/** A bound device, and what a program does with it. */
async function opened() {
  const host = await app.host({ devices: [DRIVE] });
  const vmm = await host.process();
  const iommufd = await vmm.open('/dev/iommu');
  const fd = await vmm.openCdev(D1);
  await vmm.bind(fd, iommufd);
  const mmap = (offset: number) =>
    vmm.call('mmap', { fd, offset: hex(offset), length: 0x1000, addr: hex(AT + offset), shared: true, prot: 3 });
  return {
    host,
    vmm,
    iommufd,
    fd,
    mmap,
    async read(region: number, at: number, length: number): Promise<number[]> {
      const { data } = await vmm.call('pread', { fd, offset: hex(region * SHIFT + at), length });
      return [...Buffer.from(data!, 'base64')];
    },
    write: (region: number, at: number, ...bytes: number[]) =>
      vmm.call('pwrite', { fd, offset: hex(region * SHIFT + at), data: Buffer.from(bytes).toString('base64') }),
    /** The bytes that the program loads, or what it is sent. */
    async touch(at = AT): Promise<number[] | string | undefined> {
      const [result] = await host.runCalls(vmm.pid, [{ call: 'peek', addr: hex(at), length: 2 }]);
      return result!.signal ?? [...Buffer.from(result!.data!, 'base64')];
    },
    romFlags: async () => (await vmm.ioctl(fd, 'VFIO_DEVICE_GET_REGION_INFO', { index: 6 })).flags,
  };
}

test('with memory off a BAR is EIO and a touch of it SIGBUS, until memory is on again', async () => {
  const { read, write, touch, mmap, romFlags } = await opened();
  await mmap(0);
  await write(0, 0, 1, 2);
  await write(7, COMMAND, IO);
  await expectErrno('EIO', read(0, 0, 2));
  await expectErrno('EIO', write(0, 0, 9));
  // What is hidden of a BAR is not asked for.
  assert.deepEqual(await read(0, TABLE, 2), [0xff, 0xff]);
  await expectErrno('EIO', read(0, TABLE - 1, 2));
  await expectErrno('ENOMEM', read(6, 0, 2));
  await expectErrno('EINVAL', read(6, 0x800, 2));
  assert.equal(await romFlags(), 1);
  await mmap(0x1000);
  assert.deepEqual([await touch(), await touch(AT + 0x1000)], ['SIGBUS', 'SIGBUS']);
  await write(7, COMMAND, MEMORY);
  assert.deepEqual(
    [await touch(), await touch(AT + 0x1000)],
    [
      [1, 2],
      [0, 0],
    ],
  );
  assert.deepEqual(await read(0, 0, 2), [1, 2]);
});

test('ports are read and written even where nobody answers: as ones, and for nothing', async () => {
  const { read, write } = await opened();
  await write(2, 0, 1, 2);
  await write(7, COMMAND, MEMORY);
  await write(2, 0, 9);
  assert.deepEqual(await read(2, 0, 2), [0xff, 0xff]);
  await write(7, COMMAND, IO);
  assert.deepEqual(await read(2, 0, 2), [1, 2]);
});

test('a device in D3hot does not answer, and does again in D0', async () => {
  const { read, write, touch, mmap, romFlags } = await opened();
  await mmap(0);
  await write(0, 0, 1, 2);
  await write(7, PM + 4, 3);
  await expectErrno('EIO', read(0, 0, 2));
  await expectErrno('ENOMEM', read(6, 0, 2));
  assert.deepEqual(await read(2, 0, 1), [0xff]);
  assert.equal(await romFlags(), 0);
  await mmap(0x1000);
  assert.deepEqual([await touch(), await touch(AT + 0x1000)], ['SIGBUS', 'SIGBUS']);
  await write(7, PM + 4, 0);
  assert.equal(await romFlags(), 1);
  assert.deepEqual(
    [await touch(), await read(0, 0, 2)],
    [
      [1, 2],
      [1, 2],
    ],
  );
});

test('the other one of a fork keeps what is mapped, and the device', async () => {
  const { host, vmm, fd, mmap, touch } = await opened();
  await mmap(0);
  const child = (await vmm.call('fork', {})).ret as number;
  await vmm.close(fd);
  await vmm.kill();
  assert.equal((await host.device(D1)).owner, 'iommufd');
  const [result] = await host.runCalls(child, [{ call: 'poke', addr: hex(AT), data: 'AQI=' }]);
  assert.equal(result!.ret, 0);
  const [seen] = await host.runCalls(child, [{ call: 'peek', addr: hex(AT), length: 2 }]);
  assert.equal(seen!.data, 'AQI=');
  await host.request('delete', `/processes/${child}`);
  assert.equal((await host.device(D1)).owner, null);
  await assert.rejects(touch(), /404/);
});
