/** BARs of a device: their regions, by descriptor and mapped; what keeps and what clears what is stored in them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, D2, type Host, type HostBody } from '../support/client.ts';
import { expectErrno, hex } from '../support/kernel-error.ts';
import type { Process } from '../support/process.ts';
import { prepare, retrieveAll } from '../support/setups.ts';

const app = useApp();

const SHIFT = 2 ** 40;
const PAGE = 0x1000;
const AT = 0x6000_0000_0000;
const TABLE = 0x2000;

/** A drive with its table of MSI-X in BAR 0, ports in 2, less than a page in 3, 4 and 5, and a ROM. */
const BARS = [
  { index: 0, kind: 'mem64', address: '0xfe400000', size: '0x4000' },
  { index: 2, kind: 'io', address: '0xe000', size: '0x100' },
  { index: 3, kind: 'mem32', address: '0xfe404000', size: '0x100' },
  { index: 4, kind: 'mem32', address: '0xfe405000', size: '0x100' },
  { index: 5, kind: 'mem32', address: '0xfe405800', size: '0x100' },
  { index: 6, kind: 'rom', address: '0xfe410000', size: '0x800' },
];
const MSIX = { offset: 64, id: 17, msixVectors: 65, tableBar: 0, tableOffset: TABLE, pbaBar: 0, pbaOffset: 0x3000 };
const DRIVE = { bdf: D1, class: '0108', driver: 'vfio-pci', config: { bars: BARS, capabilities: [MSIX] } };
const MACHINE: HostBody = { devices: [DRIVE, { bdf: D2, class: '0108', driver: 'vfio-pci' }] };

interface Opened {
  host: Host;
  vmm: Process;
  iommufd: number;
  cdev: number;
}

async function opened(body: HostBody = {}): Promise<Opened> {
  const host = await app.host({ ...MACHINE, ...body });
  return open(host, await host.process());
}

async function open(host: Host, vmm: Process): Promise<Opened> {
  const iommufd = await vmm.open('/dev/iommu');
  const cdev = await vmm.openCdev(D1);
  await vmm.bind(cdev, iommufd);
  return { host, vmm, iommufd, cdev };
}

const base64 = (...bytes: number[]) => Buffer.from(bytes).toString('base64');
const inRegion = (region: number, offset = 0) => hex(region * SHIFT + offset);

async function pread(vmm: Process, fd: number, offset: string, length: number): Promise<number[]> {
  const { ret, data } = await vmm.call('pread', { fd, offset, length });
  const bytes = [...Buffer.from(data!, 'base64')];
  assert.equal(bytes.length, ret);
  return bytes;
}

const pwrite = async (vmm: Process, fd: number, offset: string, ...bytes: number[]) =>
  (await vmm.call('pwrite', { fd, offset, data: base64(...bytes) })).ret;

async function mmap(vmm: Process, fd: number, offset: string, length = PAGE, addr = AT, more: object = {}) {
  await vmm.call('mmap', { fd, offset, length, addr: hex(addr), shared: true, prot: 3, ...more });
}
const munmap = (vmm: Process, addr = AT, length = PAGE) => vmm.call('munmap', { addr: hex(addr), length });

async function peek(vmm: Process, addr: number, length: number): Promise<number[]> {
  return [...Buffer.from((await vmm.call('peek', { addr: hex(addr), length })).data!, 'base64')];
}
const poke = (vmm: Process, addr: number, ...bytes: number[]) =>
  vmm.call('poke', { addr: hex(addr), data: base64(...bytes) });

/** What is behind a BAR of D1, by the device's own side. */
async function bar(host: Host, index: number, offset: number, length: number): Promise<number[]> {
  const path = `/devices/${D1}/bars/${index}?offset=${offset}&length=${length}`;
  const { data, count } = (await host.request('get', path)) as { data: string; count: number };
  const bytes = [...Buffer.from(data, 'base64')];
  assert.equal(bytes.length, count);
  return bytes;
}
const setBar = (host: Host, index: number, offset: number, ...bytes: number[]) =>
  host.request('put', `/devices/${D1}/bars/${index}?offset=${offset}`, { data: base64(...bytes) });

test('regions tell what is there: sizes, what can be mapped, and where the table of MSI-X is', async () => {
  const { vmm, cdev } = await opened();
  const info = (index: number, more: object = {}) => vmm.ioctl(cdev, 'VFIO_DEVICE_GET_REGION_INFO', { index, ...more });
  const found = await Promise.all([0, 1, 2, 3, 4, 5, 6].map((index) => info(index)));
  assert.deepEqual(
    found.map(({ flags, size }) => [flags, size]),
    [
      [15, '0x4000'],
      [0, '0x0'],
      [3, '0x100'],
      [7, '0x100'],
      // Something else is in its page.
      [3, '0x100'],
      // It does not begin on a page.
      [3, '0x100'],
      [1, '0x800'],
    ],
  );
  assert.deepEqual([found[0]!.argsz, found[0]!.cap_offset, found[3]!.offset], [40, 0, '0x30000000000']);
  const { argsz, cap_offset, data } = await info(0, { argsz: 40 });
  assert.deepEqual([argsz, cap_offset, data], [undefined, 32, base64(3, 0, 1, 0, 0, 0, 0, 0)]);
  await expectErrno('EINVAL', info(0, { argsz: 31 }));
  for (const index of [8, 9, 0xffffffff]) await expectErrno('EINVAL', info(index));
  const { cap_offset: none } = await vmm.ioctl(cdev, 'VFIO_DEVICE_GET_INFO', { argsz: 24 });
  assert.equal(none, 0);
  assert.equal('cap_offset' in (await vmm.ioctl(cdev, 'VFIO_DEVICE_GET_INFO', { argsz: 19 })), false);
});

test('reads and writes through the descriptor reach BARs, but for the table of MSI-X, and end with them', async () => {
  const { host, vmm, cdev } = await opened();
  assert.equal(await pwrite(vmm, cdev, inRegion(0, 0x1ffe), 1, 2, 3, 4), 4);
  assert.deepEqual(await pread(vmm, cdev, inRegion(0, 0x1ffd), 5), [0, 1, 2, 0xff, 0xff]);
  assert.deepEqual(await bar(host, 0, TABLE, 2), [0, 0]);
  assert.deepEqual(await pread(vmm, cdev, inRegion(0, TABLE + 0x40e), 4), [0xff, 0xff, 0, 0]);
  assert.equal(await pwrite(vmm, cdev, inRegion(2, 0xff), 7, 8), 1);
  assert.deepEqual(await pread(vmm, cdev, inRegion(2, 0xfe), 8), [0, 7]);
  await expectErrno('EINVAL', pread(vmm, cdev, inRegion(2, 0x100), 1));
  await expectErrno('EINVAL', pread(vmm, cdev, inRegion(1), 1));
  await expectErrno('EINVAL', pread(vmm, cdev, inRegion(8), 1));
  assert.deepEqual(await pread(vmm, cdev, inRegion(8), 0), []);
  assert.deepEqual((await pread(vmm, cdev, inRegion(6), 0x801)).slice(0, 2), [0x55, 0xaa]);
  await expectErrno('EINVAL', pwrite(vmm, cdev, inRegion(6), 1));
});

test('read and write go on at the position of the descriptor, in BAR 0 at first', async () => {
  const { vmm, cdev } = await opened();
  await pwrite(vmm, cdev, inRegion(0), 1, 2, 3, 4, 5, 6);
  const copy = await vmm.dup(cdev);
  const read = async (fd: number) => (await vmm.call('read', { fd, length: 2 })).data;
  assert.equal(await read(cdev), base64(1, 2));
  assert.equal((await vmm.call('write', { fd: cdev, length: 2, data: base64(9, 9) })).ret, 2);
  assert.equal(await read(copy), base64(5, 6));
  assert.deepEqual(await pread(vmm, cdev, inRegion(0), 4), [1, 2, 9, 9]);
  const rest = await vmm.call('read', { fd: cdev, length: 0x4000 });
  assert.equal(rest.ret, 0x4000 - 6);
  await expectErrno('EINVAL', vmm.call('read', { fd: cdev, length: 1 }));
});

test('a BAR that is mapped is the same memory, its table of MSI-X too', async () => {
  const { host, vmm, cdev } = await opened();
  await mmap(vmm, cdev, inRegion(0, 0x1000), 0x2800);
  await poke(vmm, AT + PAGE - 1, 1, 2);
  assert.deepEqual(await bar(host, 0, 0x1fff, 2), [1, 2]);
  assert.deepEqual(await pread(vmm, cdev, inRegion(0, 0x1fff), 2), [1, 0xff]);
  await setBar(host, 0, 0x1000, 8);
  assert.deepEqual(await peek(vmm, AT, 1), [8]);
  // All vectors are masked in the beginning.
  assert.deepEqual(await peek(vmm, AT + PAGE + 12, 1), [1]);
  await poke(vmm, AT + PAGE + 12, 0);
  assert.deepEqual(await bar(host, 0, TABLE + 12, 17), [...new Array(16).fill(0), 1]);
  // A page of which a BAR fills only the beginning.
  await mmap(vmm, cdev, inRegion(3), PAGE, AT + 0x10000);
  await poke(vmm, AT + 0x100fe, 5, 6, 7);
  assert.deepEqual(await peek(vmm, AT + 0x100fe, 4), [5, 6, 0xff, 0xff]);
  const { memory } = await vmm.view();
  assert.deepEqual(memory[0], { address: hex(AT), length: '0x3000', backing: 'file' });
});

test('only as much of a BAR as there is can be mapped, shared, and with any protection', async () => {
  const { vmm, cdev } = await opened();
  for (const [offset, length] of [
    [inRegion(0), 0x5000],
    [inRegion(0, 0x4000), PAGE],
    [inRegion(0, 0x1000), 0x4000],
    [inRegion(1), PAGE],
    [inRegion(2), PAGE],
    [inRegion(3), 2 * PAGE],
    [inRegion(4), PAGE],
    [inRegion(5), PAGE],
    [inRegion(6), PAGE],
    [inRegion(7), PAGE],
    [inRegion(9), PAGE],
    [inRegion(0, 0x800), PAGE],
  ] as const)
    await expectErrno('EINVAL', mmap(vmm, cdev, offset, length));
  await expectErrno('EINVAL', mmap(vmm, cdev, inRegion(0), PAGE, AT, { shared: false }));
  for (const prot of [0, 1, 2, 4, 7]) {
    await mmap(vmm, cdev, inRegion(0), 0x800, AT, { prot });
    await munmap(vmm);
  }
  await mmap(vmm, cdev, inRegion(0), PAGE, AT, { prot: 1 });
  await expectErrno('EFAULT', poke(vmm, AT, 1));
});

test('what is opened through the legacy group is mapped, too, but not to be executed', async () => {
  const host = await app.host(MACHINE);
  const vmm = await host.process();
  const container = await vmm.open('/dev/iommu');
  const { group } = await host.device(D1);
  const fd = await vmm.open(`/dev/vfio/${group}`);
  await vmm.ioctl(fd, 'VFIO_GROUP_SET_CONTAINER', { container });
  const { ret } = await vmm.call('ioctl', { fd, request: 'VFIO_GROUP_GET_DEVICE_FD', arg: { name: D1 } });
  await expectErrno('EPERM', mmap(vmm, ret as number, inRegion(0), PAGE, AT, { prot: 5 }));
  await mmap(vmm, ret as number, inRegion(0));
  await expectErrno('EACCES', vmm.call('mprotect', { addr: hex(AT), length: PAGE, prot: 5 }));
  await poke(vmm, AT, 1);
  const arg = { flags: 3, vaddr: hex(AT), iova: '0x0', size: PAGE };
  await expectErrno('EFAULT', vmm.ioctl(container, 'VFIO_IOMMU_MAP_DMA', arg));
});

test('a mapping keeps the device open until the last of it is gone', async () => {
  const { host, vmm, iommufd, cdev } = await opened();
  await mmap(vmm, cdev, inRegion(0), 3 * PAGE);
  const { resets } = await host.device(D1);
  await vmm.close(cdev);
  await vmm.close(iommufd);
  const other = await host.process();
  const context = await other.open('/dev/iommu');
  const second = await other.openCdev(D1);
  const bind = () => other.bind(second, context);
  await expectErrno('EINVAL', bind());
  await poke(vmm, AT + PAGE, 3);
  await munmap(vmm, AT + PAGE, PAGE);
  await expectErrno('EINVAL', bind());
  await poke(vmm, AT, 3);
  await munmap(vmm, AT, PAGE);
  assert.equal((await host.device(D1)).owner, 'iommufd');
  assert.equal((await host.device(D1)).resets, resets);
  await munmap(vmm, AT + 2 * PAGE, PAGE);
  assert.deepEqual([(await host.device(D1)).owner, (await host.device(D1)).resets], [null, resets + 1]);
  assert.deepEqual(await bar(host, 0, 0, 1), [0]);
  await bind();
});

test('the end of a process ends its mappings', async () => {
  const { host, vmm, cdev } = await opened();
  await mmap(vmm, cdev, inRegion(0));
  await vmm.kill();
  assert.equal((await host.device(D1)).owner, null);
});

test('a function that is mapped is plugged out when the last mapping of it goes', async () => {
  const { host, vmm, cdev } = await opened();
  await mmap(vmm, cdev, inRegion(0));
  await vmm.close(cdev);
  assert.deepEqual(await host.request('delete', `/devices/${D1}`), { blocked: true });
  assert.equal((await host.device(D1)).unbinding, true);
  await poke(vmm, AT, 1);
  assert.deepEqual(await peek(vmm, AT, 1), [1]);
  await munmap(vmm);
  await assert.rejects(host.device(D1), /404/);
});

test('a live update keeps what is stored in a device that is handed over', async () => {
  const { host, vmm, cdev, watch } = await prepare(app, MACHINE);
  await pwrite(vmm, cdev, inRegion(0, 0x10), 1, 2, 3);
  await host.kexec();
  assert.deepEqual(await bar(host, 0, 0x10, 3), [1, 2, 3]);
  const next = await retrieveAll(host, watch);
  await next.vmm.bind(next.cdev, next.iommufd);
  assert.deepEqual(await pread(next.vmm, next.cdev, inRegion(0, 0x10), 3), [1, 2, 3]);
});

test('a freeze that resets devices clears it, and nothing of them can be touched any more', async () => {
  const { host, vmm, cdev } = await prepare(app, { ...MACHINE, policies: { vfioFreezeResets: true } });
  await mmap(vmm, cdev, inRegion(0));
  await poke(vmm, AT, 1);
  await host.kexec();
  assert.deepEqual(await bar(host, 0, 0, 1), [0]);
});

test('every reset of the function, and a power cycle, clears what is stored, a crash does not', async () => {
  const { host, vmm, cdev } = await opened();
  const fill = () => setBar(host, 0, 0, 1);
  const cleared = async () => assert.deepEqual(await bar(host, 0, 0, 1), [0]);
  await fill();
  await vmm.ioctl(cdev, 'VFIO_DEVICE_RESET');
  await cleared();
  await fill();
  await host.reset(D1);
  await cleared();
  await fill();
  await vmm.close(cdev);
  await cleared();
  await fill();
  await host.crash();
  assert.deepEqual(await bar(host, 0, 0, 1), [1]);
  await host.powerCycle();
  await cleared();
});

test('a function that cannot be reset keeps what its last user has stored', async () => {
  const { host, vmm, cdev, iommufd } = await opened({ devices: [{ ...DRIVE, reset: false }] });
  await pwrite(vmm, cdev, inRegion(0), 1);
  await vmm.close(cdev);
  await vmm.close(iommufd);
  const next = await open(host, await host.process());
  assert.deepEqual(await pread(next.vmm, next.cdev, inRegion(0), 1), [1]);
});

test('the device changes its own registers', async () => {
  const { host, vmm, cdev } = await opened();
  assert.deepEqual(await setBar(host, 0, 0x3ffe, 1, 2, 3), { count: 2 });
  assert.deepEqual(await pread(vmm, cdev, inRegion(0, 0x3ffe), 4), [1, 2]);
  await setBar(host, 0, 0x3000, 4);
  assert.deepEqual(await pread(vmm, cdev, inRegion(0, 0x3000), 1), [4]);
  await expectErrno('EINVAL', setBar(host, 0, 0x4000, 1));
  await expectErrno('EINVAL', bar(host, 0, 0x4000, 1));
  await expectErrno('EINVAL', setBar(host, 6, 0, 1));
  await assert.rejects(bar(host, 1, 0, 1), /404 .*BAR 1 of 0000:01:00\.0/);
  await assert.rejects(setBar(host, 1, 0, 1), /404/);
  await assert.rejects(bar(host, 7, 0, 1), /400/);
  await assert.rejects(bar(host, 0, 0, 2 ** 20 + 1), /400 .*at most 1 MiB/);
});
