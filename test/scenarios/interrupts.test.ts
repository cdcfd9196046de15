/** Interrupts of a device up to its VMM, and what keeps, ends and refuses them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1 } from '../support/client.ts';
import {
  ERR,
  EVENTFD,
  INTX,
  Interrupting,
  MACHINE,
  MSI,
  MSIX,
  masked,
  NONE,
  PENDING,
  REQ,
  TABLE,
  TOLD,
  TRIGGER,
  UNMASK,
  unheard,
} from '../support/interrupting.ts';
import { expectErrno, hex } from '../support/kernel-error.ts';
import { prepare, retrieveAll } from '../support/setups.ts';

const app = useApp();
const AT = 0x6000_0000_0000;
const MESSAGE = 0xfee00000;

const EDU = {
  bdf: D1,
  vendor: '1234',
  device: '11e8',
  class: '00ff',
  driver: 'vfio-pci',
  config: {
    size: 256,
    interruptPin: 1,
    bars: [{ index: 0, kind: 'mem32', address: '0xfea00000', size: '0x100000' }],
    capabilities: [{ offset: 0x40, id: 5, msiVectors: 1, address64: true, maskable: false }],
  },
};

const word = (value: number): string => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes.toString('base64');
};

/** Maps BAR 0, with the table of MSI-X. */
const mapBar = ({ vmm, cdev }: Interrupting) =>
  vmm.call('mmap', { addr: hex(AT), length: 0x4000, fd: cdev, offset: 0, shared: true, prot: 3 });

async function words({ vmm }: Interrupting, at: number, length: number): Promise<number[]> {
  const { data } = await vmm.call('peek', { addr: hex(AT + at), length });
  const bytes = Buffer.from(data!, 'base64');
  return Array.from({ length: length / 4 }, (_, index) => bytes.readUInt32LE(4 * index));
}

const poke = ({ vmm }: Interrupting, at: number, value: number) =>
  vmm.call('poke', { addr: hex(AT + at), data: word(value) });

test('a VMM gives its vectors eventfds one after the other, as its guest enables them', async () => {
  const device = await Interrupting.open(app);
  const after = await device.host.cursor();
  const fds: number[] = [];
  for (let vector = 0; vector < 4; vector++) {
    fds.push(await device.eventfd());
    await device.setTriggers(MSIX, 0, fds);
  }
  assert.equal(await device.isEnabled(), true);
  const ready = async () => (await device.vmm.call('poll', { fds: fds.map((fd) => ({ fd, events: 1 })) })).revents;
  assert.deepEqual(await ready(), [0, 0, 0, 0]);
  for (const vector of [2, 0, 2]) assert.deepEqual(await device.raise('msix', vector), TOLD);
  assert.deepEqual(await ready(), [1, 0, 1, 0]);
  assert.deepEqual(await Promise.all(fds.map((fd) => device.count(fd))), [1n, 0n, 2n, 0n]);
  assert.deepEqual(await device.raise('intx'), unheard('not-enabled'));
  const told = (await device.host.events(after)).filter(({ kind }) => kind === 'vfio.interrupt');
  const event = (type: string, vector: number, delivered: boolean) => ({
    bdf: D1,
    type,
    vector,
    delivered,
    pending: false,
  });
  assert.deepEqual(
    told.map(({ data }) => data),
    [event('msix', 2, true), event('msix', 0, true), event('msix', 2, true), event('intx', 0, false)],
  );
  await device.disable(MSIX);
  assert.equal(await device.isEnabled(), false);
  assert.deepEqual(await device.raise('msix', 2), unheard('not-enabled'));
});

test('the message of a vector is in the table, and what the device writes there arrives', async () => {
  const device = await Interrupting.open(app);
  const { host } = device;
  await mapBar(device);
  const fds = [await device.eventfd(), await device.eventfd()];
  assert.deepEqual(await words(device, TABLE + 16, 16), [0, 0, 0, 1]);
  await device.setTriggers(MSIX, 0, fds);
  const [low, high, data, control] = await words(device, TABLE + 16, 16);
  assert.deepEqual([low, high, control], [MESSAGE, 0, 0]);
  await host.request('post', `/devices/${D1}/dma`, {
    accesses: [
      { op: 'write', iova: hex(low!), length: 4, data: word(data!) },
      { op: 'write', iova: hex(low!), length: 4, data: word(15) },
      { op: 'write', iova: hex(low! + 4), length: 4, data: word(data!) },
    ],
  });
  assert.deepEqual(await Promise.all(fds.map((fd) => device.count(fd))), [0n, 1n]);
  await device.disable(MSIX);
  assert.deepEqual(await words(device, TABLE + 16, 16), [0, 0, 0, 1]);
  await device.setTriggers(MSI, 0, fds);
  await host.request('post', `/devices/${D1}/dma`, {
    accesses: [{ op: 'write', iova: hex(MESSAGE), length: 4, data: word(1) }],
  });
  assert.deepEqual(await Promise.all(fds.map((fd) => device.count(fd))), [0n, 1n]);
});

test('a vector that is masked in the mapped table is pending, until it is not', async () => {
  const device = await Interrupting.open(app);
  await mapBar(device);
  const fd = await device.eventfd();
  await device.setTriggers(MSIX, 3, [fd]);
  await poke(device, TABLE + 3 * 16 + 12, 1);
  assert.deepEqual(await device.raise('msix', 3), masked);
  assert.deepEqual(await words(device, PENDING, 8), [1 << 3, 0]);
  // Only hardware sets and clears these.
  await poke(device, PENDING, 0);
  assert.equal(await device.count(fd), 0n);
  const after = await device.host.cursor();
  await poke(device, TABLE + 3 * 16 + 12, 0);
  assert.equal(await device.count(fd), 1n);
  assert.deepEqual(await words(device, PENDING, 8), [0, 0]);
  const [event] = (await device.host.events(after)).filter(({ kind }) => kind === 'vfio.interrupt');
  assert.deepEqual(event?.data, { bdf: D1, type: 'msix', vector: 3, delivered: true, pending: false });
  assert.deepEqual(await device.raise('msix', 3), TOLD);
});

test('a reset keeps interrupts enabled, with their eventfds, and loses what was pending', async () => {
  const device = await Interrupting.open(app);
  await mapBar(device);
  const fds = [await device.eventfd(), await device.eventfd()];
  await device.setTriggers(MSIX, 0, fds);
  const before = await words(device, TABLE, 64);
  await device.raise('msix', 5);
  await device.vmm.resetDevice(device.cdev);
  await device.command(0x0106);
  assert.deepEqual(await words(device, TABLE, 64), before);
  assert.deepEqual(await words(device, PENDING, 8), [0, 0]);
  assert.equal(await device.isEnabled(), true);
  assert.deepEqual(await device.raise('msix', 1), TOLD);
  assert.equal(await device.count(fds[1]!), 1n);
});

test('an eventfd stores into a BAR as soon as it is signalled', async () => {
  const device = await Interrupting.open(app);
  await mapBar(device);
  const fd = await device.eventfd();
  const register = (offset: number, data: number | string, flags: number, descriptor = fd) =>
    device.vmm.ioctl(device.cdev, 'VFIO_DEVICE_IOEVENTFD', { offset, data, flags, fd: descriptor });
  await register(0x10, '0x1122334455667788', 8);
  await register(0x12, '0xaabb', 1);
  await expectErrno('EINVAL', register(TABLE + 0xfc, 1, 4));
  await expectErrno('EINVAL', register(TABLE - 4, 1, 8));
  await register(TABLE - 4, 1, 4);
  await device.vmm.call('write', { fd, data: 'AQAAAAAAAAA=' });
  // The last one that was registered comes first.
  assert.deepEqual(await words(device, 0x10, 8), [0x55667788, 0x11223344]);
  assert.equal(await device.count(fd), 0n);
  await register(0x10, '0x1122334455667788', 8, -1);
  await device.vmm.call('write', { fd, data: 'AAAAAAAAAAA=' });
  assert.deepEqual(await words(device, 0x10, 8), [0x55bb7788, 0x11223344]);
  await device.command(0x0104);
  await register(0x20, 7, 4);
  await device.vmm.call('write', { fd, data: 'AQAAAAAAAAA=' });
  await device.command(0x0106);
  assert.deepEqual(await words(device, 0x20, 4), [0]);
  // Without its eventfd it stores nothing, and is in the way all the same.
  await device.vmm.close(fd);
  const other = await device.eventfd(1);
  await expectErrno('EEXIST', register(0x20, 7, 4, other));
  await register(0x20, 7, 4, -1);
  await register(0x20, 7, 4, other);
  assert.deepEqual(await words(device, 0x20, 4), [7]);
  assert.equal(await device.count(other), 1n);
});

test('an interrupt can be the signal that stores', async () => {
  const device = await Interrupting.open(app);
  await mapBar(device);
  const fd = await device.eventfd();
  await device.setTriggers(MSIX, 0, [fd]);
  await device.vmm.ioctl(device.cdev, 'VFIO_DEVICE_IOEVENTFD', { offset: 0, data: 9, flags: 4, fd });
  assert.deepEqual(await device.raise('msix'), TOLD);
  assert.deepEqual(await words(device, 0, 4), [9]);
  assert.equal(await device.count(fd), 0n);
});

test('the request is signalled once by an unbind that waits', async () => {
  const device = await Interrupting.open(app);
  const { host } = device;
  const fd = await device.eventfd();
  await device.setTriggers(REQ, 0, [fd]);
  assert.equal(await host.unbindDriver(D1), true);
  assert.equal(await host.unbindDriver(D1), true);
  assert.equal(await device.count(fd), 1n);
  await device.setIrqs(REQ, NONE | TRIGGER, 0, 1);
  assert.equal(await device.count(fd), 1n);
  await device.vmm.close(device.cdev);
  assert.equal((await host.device(D1)).driver, null);
  assert.equal(await device.count(fd), 0n);
});

test('R22 enabled interrupts refuse a live update, eventfds of errors and of the request do not', async () => {
  const { host, vmm, iommufd, cdev, watch } = await prepare(app, MACHINE);
  const device = new Interrupting(host, vmm, iommufd, cdev);
  const [fd, other] = [await device.eventfd(), await device.eventfd()];
  await device.setTriggers(ERR, 0, [fd]);
  await device.setTriggers(REQ, 0, [fd]);
  for (const index of [INTX, MSI, MSIX]) {
    // Without an eventfd it is enabled, too.
    await device.setTriggers(index, 0, [-1]);
    assert.equal(await device.isEnabled(), true);
    const { rule } = await expectErrno('EINVAL', host.kexec());
    assert.equal(rule, 'R22');
    await device.setTriggers(index, 0, [other]);
    if (index === INTX) await device.setIrqs(INTX, EVENTFD | UNMASK, 0, 1, { eventfds: [fd] });
    await expectErrno('EINVAL', host.kexec());
    await watch.noGap();
    await device.disable(index);
    assert.equal(await device.isEnabled(), false);
  }
  await host.kexec();
  assert.equal((await host.device(D1)).state, 'L');
  await watch.noGap();
});

test('nothing is enabled in the next kernel, and a VMM starts over', async () => {
  const { host, vmm, iommufd, cdev, watch } = await prepare(app, MACHINE);
  const old = new Interrupting(host, vmm, iommufd, cdev);
  await old.setTriggers(MSIX, 0, [await old.eventfd()]);
  await old.disable(MSIX);
  await host.kexec();
  assert.equal((await host.device(D1)).interruptsEnabled, false);
  const restored = await retrieveAll(host, watch);
  assert.deepEqual(await old.raise('msix'), unheard('not-enabled'));
  await restored.vmm.bind(restored.cdev, restored.iommufd);
  const device = new Interrupting(host, restored.vmm, restored.iommufd, restored.cdev);
  await device.command(0x0106);
  await expectErrno('EINVAL', device.disable(MSIX));
  const fd = await device.eventfd();
  await device.setTriggers(MSIX, 1, [fd]);
  assert.deepEqual(await device.raise('msix', 1), TOLD);
  assert.equal(await device.count(fd), 1n);
});

test('a kernel that crashes, or boots without a live update, leaves nothing enabled', async () => {
  for (const end of ['crash', 'plain kexec'] as const) {
    const device = await Interrupting.open(app);
    const { host } = device;
    await device.setTriggers(MSIX, 0, [await device.eventfd()]);
    if (end === 'crash') await host.crash();
    else await host.request('post', '/kexec', { mode: 'plain' });
    assert.equal(await device.isEnabled(), false);
    assert.deepEqual(await device.raise('msix'), unheard('not-enabled'));
  }
});

test('the switch of the device stands beside SET_IRQS', async () => {
  const device = await Interrupting.open(app);
  const { host } = device;
  await host.request('patch', `/devices/${D1}`, { interruptsEnabled: true });
  assert.equal(await device.isEnabled(), true);
  await device.setTriggers(MSI, 0, [await device.eventfd()]);
  await host.request('patch', `/devices/${D1}`, { interruptsEnabled: false });
  assert.equal(await device.isEnabled(), true);
  await device.disable(MSI);
  assert.equal(await device.isEnabled(), false);
});

test('edu raises what is written to it, as messages or by holding INTx', async () => {
  const device = await Interrupting.open(app, { devices: [EDU] });
  const [fd, unmask] = [await device.eventfd(), await device.eventfd()];
  const write = (offset: number, value: number) =>
    device.vmm.call('pwrite', { fd: device.cdev, offset, data: word(value) });
  const read = async (offset: number) =>
    Buffer.from(
      (await device.vmm.call('pread', { fd: device.cdev, offset, length: 4 })).data!,
      'base64',
    ).readUInt32LE();
  await write(0, 5);
  await write(4, 0x12345678);
  assert.deepEqual([await read(0), await read(4)], [0x010000ed, 0xedcba987]);
  await device.setTriggers(INTX, 0, [fd]);
  await write(0x60, 4);
  await write(0x60, 2);
  assert.equal(await read(0x24), 6);
  assert.equal(await device.count(fd), 1n);
  await write(0x64, 4);
  // It still holds INTx.
  await device.setIrqs(INTX, EVENTFD | UNMASK, 0, 1, { eventfds: [unmask] });
  await device.vmm.call('write', { fd: unmask, data: 'AQAAAAAAAAA=' });
  assert.equal(await device.count(fd), 1n);
  await write(0x64, 2);
  await device.vmm.call('write', { fd: unmask, data: 'AQAAAAAAAAA=' });
  assert.equal(await device.count(fd), 0n);
  await write(0x60, 1);
  assert.equal(await device.count(fd), 1n);
  await device.disable(INTX);
  await device.setTriggers(INTX, 0, [fd]);
  assert.equal(await device.count(fd), 1n);
  await device.disable(INTX);
  await device.setTriggers(MSI, 0, [fd]);
  await write(0x60, 1);
  await write(0x60, 0);
  assert.equal(await device.count(fd), 2n);
  await device.command(0x0102);
  await write(0x60, 1);
  assert.equal(await device.count(fd), 0n);
});

test('an eventfd that makes the device signal it again does not go on for ever', async () => {
  const device = await Interrupting.open(app, { devices: [EDU] });
  const fd = await device.eventfd();
  await device.setTriggers(MSI, 0, [fd]);
  await device.vmm.ioctl(device.cdev, 'VFIO_DEVICE_IOEVENTFD', { offset: 0x60, data: 1, flags: 4, fd });
  await device.vmm.call('write', { fd, data: 'BQAAAAAAAAA=' });
  assert.equal(await device.count(fd), 1n);
});
