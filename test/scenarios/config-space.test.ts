/** The configuration space of a device: what a program reads and writes, when it is put back, and a live update. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, type Host } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';
import type { Process } from '../support/process.ts';
import { prepare, retrieveAll, TEXT } from '../support/setups.ts';

const app = useApp();

const REGION = 7n << 40n;
const COMMAND = 0x04;
const BAR0 = 0x10;
const LINE = 0x3c;
/** Of what functions of class 0108 have: power management at 0x40, MSI at 0x50, PCI Express at 0x70, MSI-X at 0xb0. */
const PM_CONTROL = 0x44;
const MSI_FLAGS = 0x52;
const MSIX_FLAGS = 0xb2;
const EXPRESS_CONTROL = 0x78;

const at = (pos: number): string => `0x${(REGION + BigInt(pos)).toString(16)}`;

async function read(vmm: Process, cdev: number, pos: number, length: number): Promise<string> {
  const { data } = await vmm.call('pread', { fd: cdev, offset: at(pos), length });
  return Buffer.from(data!, 'base64').toString('hex');
}

async function write(vmm: Process, cdev: number, pos: number, bytes: string): Promise<void> {
  const data = Buffer.from(bytes, 'hex').toString('base64');
  assert.equal((await vmm.call('pwrite', { fd: cdev, offset: at(pos), data })).ret, bytes.length / 2);
}

async function open(host: Host, bdf = D1): Promise<{ vmm: Process; cdev: number }> {
  const vmm = await host.process();
  const cdev = await vmm.openCdev(bdf);
  await vmm.bind(cdev, await vmm.open('/dev/iommu'));
  return { vmm, cdev };
}

async function hardware(host: Host, pos: number, length: number, bdf = D1): Promise<string> {
  const { data, size } = (await host.request('get', `/devices/${bdf}/config`)) as { data: string; size: number };
  const bytes = Buffer.from(data, 'base64');
  assert.equal(bytes.length, size);
  return bytes.subarray(pos, pos + length).toString('hex');
}

test('a function has what functions of its class have', async () => {
  const host = await app.host();
  const { vmm, cdev } = await open(host);
  assert.equal(await read(vmm, cdev, 0, 0x10), '4d1408a8030110000002080100000000');
  // A BAR of 64 bits and 64 KiB is sized by writing ones.
  await write(vmm, cdev, BAR0, 'ffffffffffffffff');
  assert.equal(await read(vmm, cdev, BAR0, 8), '0400ffffffffffff');
  assert.equal(await read(vmm, cdev, 0x34, 1), '40');
  // 33 vectors of MSI-X: the table in BAR 0 at 0x3000, pending bits at 0x2000.
  assert.equal(await read(vmm, cdev, 0xb0, 12), '110020000030000000200000');
  assert.equal(await read(vmm, cdev, 0x100, 4), '01000215');
  await expectErrno('EFAULT', vmm.call('pread', { fd: cdev, offset: at(0xffe), length: 4 }));
});

test('what a program leaves in the registers is gone at the next open, but for bytes that belong to none', async () => {
  const host = await app.host();
  const { vmm, cdev } = await open(host);
  const address = await read(vmm, cdev, BAR0, 4);
  await write(vmm, cdev, COMMAND, '0604');
  await write(vmm, cdev, BAR0, '04000030');
  await write(vmm, cdev, LINE, '44');
  await write(vmm, cdev, 0xf0, '12345678');
  await write(vmm, cdev, 0x800, '9a');
  assert.equal(await hardware(host, COMMAND, 2), '0600', 'INTx is masked by Linux, not by the bit');
  await vmm.resetDevice(cdev);
  assert.deepEqual(
    [await read(vmm, cdev, COMMAND, 2), await read(vmm, cdev, BAR0, 4), await read(vmm, cdev, LINE, 1)],
    ['0604', '04000030', '44'],
    'a reset leaves what the program has written',
  );
  await vmm.close(cdev);
  assert.equal(await hardware(host, COMMAND, 2), '0301');
  const again = await open(host);
  assert.deepEqual(
    [await read(again.vmm, again.cdev, COMMAND, 2), await read(again.vmm, again.cdev, BAR0, 4)],
    ['0301', address],
  );
  assert.equal(await read(again.vmm, again.cdev, LINE, 1), '00');
  assert.equal(await read(again.vmm, again.cdev, 0xf0, 4), '12345678');
  assert.equal(await read(again.vmm, again.cdev, 0x800, 1), '9a');
  await host.request('post', '/reset');
  assert.equal(await hardware(host, 0xf0, 4), '00000000', 'a power cycle');
});

test('D3hot sticks until D0 or a reset, and D1 is not there', async () => {
  const host = await app.host();
  const { vmm, cdev } = await open(host);
  await write(vmm, cdev, PM_CONTROL, '01');
  assert.equal(await read(vmm, cdev, PM_CONTROL, 2), '0800');
  await write(vmm, cdev, PM_CONTROL, '0300');
  assert.equal(await read(vmm, cdev, PM_CONTROL, 2), '0b00');
  await write(vmm, cdev, PM_CONTROL, '02');
  assert.equal(await read(vmm, cdev, PM_CONTROL, 2), '0b00');
  await vmm.resetDevice(cdev);
  assert.equal(await read(vmm, cdev, PM_CONTROL, 2), '0800');
  await write(vmm, cdev, PM_CONTROL, '0300');
  await vmm.close(cdev);
  assert.equal(await hardware(host, PM_CONTROL, 2), '0800');
});

test('a function level reset is a bit of the device control register', async () => {
  const host = await app.host();
  const { vmm, cdev } = await open(host);
  const { resets } = await host.device(D1);
  await write(vmm, cdev, PM_CONTROL, '0300');
  await write(vmm, cdev, EXPRESS_CONTROL, '10a8');
  assert.equal((await host.device(D1)).resets, resets + 1);
  assert.equal(await read(vmm, cdev, EXPRESS_CONTROL, 2), '0020');
  assert.equal(await read(vmm, cdev, PM_CONTROL, 2), '0800');
});

test('a function that cannot be reset is not by that bit either', async () => {
  const host = await app.host({ devices: [{ bdf: D1, class: '0108', driver: 'vfio-pci', reset: false }] });
  const { vmm, cdev } = await open(host);
  await write(vmm, cdev, EXPRESS_CONTROL, '00a0');
  assert.equal((await host.device(D1)).resets, 0);
  assert.equal(await read(vmm, cdev, EXPRESS_CONTROL, 2), '0020');
});

test('MSI and MSI-X are enabled by SET_IRQS, and the register of MSI-X shows it', async () => {
  const host = await app.host();
  const { vmm, cdev } = await open(host);
  const setIrqs = (index: number, eventfds: number[]) =>
    vmm.ioctl(cdev, 'VFIO_DEVICE_SET_IRQS', { flags: 0x24, index, start: 0, count: eventfds.length, eventfds });
  const disable = (index: number) =>
    vmm.ioctl(cdev, 'VFIO_DEVICE_SET_IRQS', { flags: 0x21, index, start: 0, count: 0 });
  await write(vmm, cdev, MSIX_FLAGS, '00c0');
  assert.equal(await read(vmm, cdev, MSIX_FLAGS, 2), '2000');
  await setIrqs(2, [-1, -1]);
  assert.equal(await read(vmm, cdev, MSIX_FLAGS, 2), '2080');
  await vmm.resetDevice(cdev);
  assert.equal(await read(vmm, cdev, MSIX_FLAGS, 2), '2080', 'a reset keeps what is enabled');
  await disable(2);
  assert.equal(await read(vmm, cdev, MSIX_FLAGS, 2), '2000');
  await write(vmm, cdev, MSI_FLAGS, '31');
  assert.equal(await read(vmm, cdev, MSI_FLAGS, 2), '0000', 'no vector was ever enabled');
  await setIrqs(1, [-1, -1, -1, -1, -1]);
  await write(vmm, cdev, MSI_FLAGS, '71');
  assert.equal(await read(vmm, cdev, MSI_FLAGS, 2), '3100', 'eight at the most');
  assert.equal(await hardware(host, MSI_FLAGS, 2), 'bb00');
  assert.equal(await hardware(host, COMMAND, 2), '0305', 'INTx is off meanwhile');
  // The kernel after a crash switches them off, as a device must not interrupt it.
  await host.request('post', '/crash');
  assert.equal(await hardware(host, MSI_FLAGS, 2), '8a00');
  assert.equal(await hardware(host, COMMAND, 2), '0301');
});

test('a virtual function has ids, and memory that is always on', async () => {
  const [pf, vf] = ['0000:3b:00.0', '0000:3b:02.0'];
  const ids = { vendor: '8086', device: '1520', class: '0200', driver: 'vfio-pci' };
  const host = await app.host({ devices: [{ bdf: pf }, { bdf: vf, physicalFunction: pf, ...ids }] });
  assert.equal(await hardware(host, 0, 4, vf), 'ffffffff');
  const { vmm, cdev } = await open(host, vf);
  assert.equal(await read(vmm, cdev, 0, 6), '868020150200');
  await write(vmm, cdev, COMMAND, 'ffff');
  assert.equal(await read(vmm, cdev, COMMAND, 2), '0604');
  assert.equal(await read(vmm, cdev, 0x3d, 1), '00');
  // The address is that of the physical function; size and kind are there.
  assert.equal(await read(vmm, cdev, BAR0, 4), '00000000');
  await write(vmm, cdev, BAR0, 'ffffffff');
  assert.equal(await read(vmm, cdev, BAR0, 4), '0000feff');
});

test('an extended capability that Linux does not know is taken out of the chain', async () => {
  const config = {
    bars: [{ index: 0, kind: 'mem64', size: '0x4000' }],
    capabilities: [
      { offset: 0x40, id: 16 },
      { offset: 0x80, id: 13 },
      { offset: 0x90, id: 1 },
    ],
    extendedCapabilities: [
      { offset: 0x100, id: 0x19, version: 1 },
      { offset: 0x140, id: 3, version: 1 },
      { offset: 0x150, id: 0x1e, version: 1 },
      { offset: 0x160, id: 0xf, version: 1 },
    ],
  };
  const host = await app.host({ devices: [{ bdf: D1, driver: 'vfio-pci', config }] });
  assert.equal(await hardware(host, 0x40, 2), '1080');
  const { vmm, cdev } = await open(host);
  // The name of the board's maker (0x80) is hidden, and its bytes are nobody's.
  assert.equal(await read(vmm, cdev, 0x40, 2), '1090');
  assert.equal(await read(vmm, cdev, 0x100, 4), '00000014', 'the first loses its id');
  assert.equal(await read(vmm, cdev, 0x140, 4), '03000116', 'the next but one is next');
  assert.equal(await hardware(host, 0x140, 4), '03000115');
});

test('a live update leaves the configuration space as the program has it', async () => {
  const { host, watch, vmm, cdev } = await prepare(app);
  await write(vmm, cdev, COMMAND, '0604');
  await write(vmm, cdev, BAR0, '04000030');
  await write(vmm, cdev, LINE, '44');
  await write(vmm, cdev, EXPRESS_CONTROL, '0050');
  await write(vmm, cdev, 0xf0, '12345678');
  await write(vmm, cdev, PM_CONTROL, '03');
  const before = await read(vmm, cdev, 0, 0x200);
  await host.kexec();
  assert.equal(await hardware(host, COMMAND, 2), '0600');
  const next = await retrieveAll(host, watch);
  await next.vmm.bind(next.cdev, next.iommufd);
  assert.equal(await read(next.vmm, next.cdev, 0, 0x200), before);
  await watch.noGap();
  assert.equal((await host.dmaRead(D1, 0x1_0000_0000, TEXT.length)).toString(), TEXT);
  await next.vmm.finish(next.session);
  await next.vmm.close(next.session);
  await next.vmm.close(next.cdev);
  assert.equal(await hardware(host, COMMAND, 2), '0301', 'the last close puts it back');
  assert.equal(await hardware(host, PM_CONTROL, 2), '0800');
});

test('a live update that resets devices puts their configuration space back', async () => {
  const { host, watch, vmm, cdev } = await prepare(app, { policies: { vfioFreezeResets: true } });
  const at0 = await read(vmm, cdev, 0, 0x200);
  await write(vmm, cdev, BAR0, '04000030');
  await write(vmm, cdev, LINE, '44');
  await write(vmm, cdev, COMMAND, '0604');
  await write(vmm, cdev, PM_CONTROL, '03');
  await host.kexec();
  const next = await retrieveAll(host, watch);
  await next.vmm.bind(next.cdev, next.iommufd);
  assert.equal(await read(next.vmm, next.cdev, 0, 0x200), at0);
});
