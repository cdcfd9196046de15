/** SET_IRQS beyond what the golden traces ask: pending interrupts, masks, and what ends when. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../../support/app.ts';
import {
  BOOL,
  countOf,
  ERR,
  EVENTFD,
  INTX,
  Interrupting,
  MASK,
  MSI,
  MSI_FLAGS,
  MSIX,
  masked,
  NONE,
  PM_CONTROL,
  REQ,
  TOLD,
  TRIGGER,
  UNMASK,
  unheard,
} from '../../support/interrupting.ts';
import { expectErrno } from '../../support/kernel-error.ts';

const app = useApp();
/** VFIO_DEVICE_FEATURE_SET of VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY and _EXIT. */
const LOW_POWER_ENTRY = 0x20003;
const LOW_POWER_EXIT = 0x20005;
const ONE = Buffer.from([1]).toString('base64');

test('argsz counts what is given behind the struct, unless the caller says it', async () => {
  const device = await Interrupting.open(app);
  const eventfds = [await device.eventfd(), -1, await device.eventfd()];
  await expectErrno('EINVAL', device.setIrqs(MSIX, EVENTFD | TRIGGER, 0, 3, { eventfds, argsz: 31 }));
  await expectErrno('EINVAL', device.setIrqs(MSIX, EVENTFD | TRIGGER, 0, 4, { eventfds }));
  await device.setIrqs(MSIX, EVENTFD | TRIGGER, 0, 3, { eventfds });
  await expectErrno('EINVAL', device.setIrqs(MSIX, BOOL | TRIGGER, 0, 2, { data: ONE }));
  await device.setIrqs(MSIX, BOOL | TRIGGER, 2, 1, { data: ONE });
  assert.deepEqual(await Promise.all([device.count(eventfds[0]!), device.count(eventfds[2]!)]), [0n, 1n]);
});

test('behind the end of what is given is descriptor 0, which is no eventfd', async () => {
  const device = await Interrupting.open(app);
  const eventfds = [await device.eventfd()];
  await expectErrno('EINVAL', device.setIrqs(MSIX, EVENTFD | TRIGGER, 0, 2, { eventfds, argsz: 64 }));
  assert.equal(await device.isEnabled(), false);
});

test('the struct as bytes says the same, with what stands behind it', async () => {
  const device = await Interrupting.open(app);
  const [first, second] = [await device.eventfd(), await device.eventfd()];
  const request = 'VFIO_DEVICE_SET_IRQS';
  const set = (argsz: number, ...words: number[]) =>
    device.vmm.call('ioctl', {
      fd: device.cdev,
      request,
      bytes: Buffer.from(Int32Array.from([argsz, ...words]).buffer).toString('base64'),
    });
  await expectErrno('EINVAL', set(27, EVENTFD | TRIGGER, MSIX, 1, 2, first, second));
  await set(28, EVENTFD | TRIGGER, MSIX, 1, 2, first, second);
  await set(22, BOOL | TRIGGER, MSIX, 1, 2, 0x0100);
  await set(20, NONE | TRIGGER, MSIX, 2, 1);
  assert.deepEqual([await device.count(first), await device.count(second)], [0n, 2n]);
  await set(20, NONE | TRIGGER, MSIX, 0, 0);
  assert.equal(await device.isEnabled(), false);
});

test('INTx masks itself, and what comes meanwhile is signalled once it is unmasked', async () => {
  const device = await Interrupting.open(app);
  const [trigger, unmask] = [await device.eventfd(), await device.eventfd()];
  assert.deepEqual(await device.raise('intx'), unheard('not-enabled'));
  await device.setTriggers(INTX, 0, [trigger]);
  assert.deepEqual(await device.raise('intx'), TOLD);
  assert.deepEqual(await device.raise('intx'), masked);
  assert.deepEqual(await device.raise('intx'), masked);
  assert.equal(await device.count(trigger), 1n);
  await device.setIrqs(INTX, NONE | UNMASK, 0, 1);
  assert.equal(await device.count(trigger), 1n);
  // It was signalled in place of being unmasked.
  assert.deepEqual(await device.raise('intx'), masked);
  await device.setIrqs(INTX, EVENTFD | UNMASK, 0, 1, { eventfds: [unmask] });
  await device.vmm.call('write', { fd: unmask, data: 'AQAAAAAAAAA=' });
  assert.equal(await device.count(unmask), 0n);
  assert.equal(await device.count(trigger), 1n);
  await device.vmm.call('write', { fd: unmask, data: 'AAAAAAAAAAA=' });
  assert.deepEqual(await device.raise('intx'), TOLD);
});

test('the last close of an eventfd that unmasks ends that, another descriptor does not', async () => {
  const device = await Interrupting.open(app);
  const [trigger, unmask] = [await device.eventfd(), await device.eventfd()];
  await device.setTriggers(INTX, 0, [trigger]);
  await device.setIrqs(INTX, EVENTFD | UNMASK, 0, 1, { eventfds: [unmask] });
  const copy = await device.vmm.dup(unmask);
  await device.vmm.close(unmask);
  const other = await device.eventfd(1);
  await expectErrno('EBUSY', device.setIrqs(INTX, EVENTFD | UNMASK, 0, 1, { eventfds: [other] }));
  await device.raise('intx');
  await device.vmm.close(copy);
  // What it holds already unmasks at once, and stays in it.
  await device.setIrqs(INTX, EVENTFD | UNMASK, 0, 1, { eventfds: [other] });
  assert.deepEqual(await device.raise('intx'), TOLD);
  assert.equal(await device.count(other), 1n);
});

test('the INTx disable bit masks INTx, and no trigger by hand gets through', async () => {
  const device = await Interrupting.open(app);
  const trigger = await device.eventfd();
  await device.setTriggers(INTX, 0, [trigger]);
  await device.command(0x0506);
  assert.deepEqual(await device.raise('intx'), masked);
  await device.setIrqs(INTX, NONE | TRIGGER, 0, 1);
  await device.setIrqs(INTX, NONE | UNMASK, 0, 1);
  assert.equal(await device.count(trigger), 0n);
  await device.command(0x0106);
  assert.equal(await device.count(trigger), 1n);
  await device.disable(INTX);
  await device.command(0x0506);
  await device.setTriggers(INTX, 0, [trigger]);
  assert.deepEqual(await device.raise('intx'), masked);
});

test('MSI is enabled with a number of vectors, and the others are not', async () => {
  const device = await Interrupting.open(app);
  const fds = await Promise.all([1, 2, 3].map(() => device.eventfd()));
  // Vectors below the first are allocated, too.
  await device.setTriggers(MSI, 3, fds);
  for (const vector of [0, 1, 2]) assert.deepEqual(await device.raise('msi', vector), unheard('no-eventfd'));
  for (const vector of [3, 4, 5]) assert.deepEqual(await device.raise('msi', vector), TOLD);
  for (const vector of [6, 7]) assert.deepEqual(await device.raise('msi', vector), unheard('not-enabled'));
  assert.deepEqual(await device.raise('msi', 8), unheard('no-such-vector'));
  assert.deepEqual(await device.raise('msix'), unheard('not-enabled'));
  for (const fd of fds) assert.equal(await device.count(fd), 1n);
  await device.setTriggers(MSI, 0, [fds[0]!]);
  await expectErrno('EINVAL', device.setTriggers(MSI, 5, [fds[0]!, fds[1]!]));
  await device.setIrqs(MSI, NONE | TRIGGER, 0, 8);
  assert.deepEqual(await Promise.all(fds.map((fd) => device.count(fd))), [2n, 1n, 0n]);
});

test("the enable bit of MSI, and how many vectors are used, are the program's to take back", async () => {
  const device = await Interrupting.open(app);
  const fds = await Promise.all([1, 2, 3].map(() => device.eventfd()));
  await device.setTriggers(MSI, 0, fds);
  await device.writeConfig(MSI_FLAGS, 0x11);
  assert.deepEqual(await device.raise('msi', 1), TOLD);
  assert.deepEqual(await device.raise('msi', 2), unheard('not-enabled'));
  await device.writeConfig(MSI_FLAGS, 0x20);
  assert.deepEqual(await device.raise('msi', 0), unheard('not-enabled'));
  await device.writeConfig(MSI_FLAGS, 0x71);
  assert.deepEqual(await device.raise('msi', 2), TOLD);
});

test('count 0 on MSI that is not enabled: ERANGE from vector 0 on, else vectors without eventfds', async () => {
  const device = await Interrupting.open(app);
  await expectErrno('ERANGE', device.setTriggers(MSI, 0, []));
  assert.equal(await device.isEnabled(), false);
  await device.setTriggers(MSI, 2, []);
  assert.equal(await device.isEnabled(), true);
  assert.deepEqual(await device.raise('msi', 1), unheard('no-eventfd'));
  assert.deepEqual(await device.raise('msi', 2), unheard('not-enabled'));
});

test('messages need bus mastering, INTx does not', async () => {
  const device = await Interrupting.open(app);
  const fd = await device.eventfd();
  await device.command(0x0102);
  for (const [index, type] of [
    [MSI, 'msi'],
    [MSIX, 'msix'],
  ] as const) {
    await device.setTriggers(index, 0, [fd]);
    assert.deepEqual(await device.raise(type), unheard('bus-master-off'));
    await device.disable(index);
  }
  await device.setTriggers(INTX, 0, [fd]);
  assert.deepEqual(await device.raise('intx'), TOLD);
});

test('a device that sleeps raises nothing', async () => {
  const device = await Interrupting.open(app);
  const fd = await device.eventfd();
  await device.setTriggers(MSIX, 0, [fd]);
  await device.writeConfig(PM_CONTROL, 3);
  assert.deepEqual(await device.raise('msix'), unheard('asleep'));
  await device.writeConfig(PM_CONTROL, 0);
  const feature = (flags: number) => device.vmm.ioctl(device.cdev, 'VFIO_DEVICE_FEATURE', { flags });
  await feature(LOW_POWER_ENTRY);
  assert.deepEqual(await device.raise('msix'), unheard('asleep'));
  await feature(LOW_POWER_EXIT);
  assert.deepEqual(await device.raise('msix'), TOLD);
});

test('a vector of MSI-X without an eventfd is masked: what it raises waits for one', async () => {
  const device = await Interrupting.open(app);
  const [first, late] = [await device.eventfd(), await device.eventfd()];
  await device.setTriggers(MSIX, 0, [first]);
  assert.deepEqual(await device.raise('msix', 9), masked);
  assert.deepEqual(await device.raise('msix', 9), masked);
  assert.deepEqual(await device.raise('msix', 16), unheard('no-such-vector'));
  await device.setTriggers(MSIX, 9, [late]);
  assert.equal(await device.count(late), 1n);
  assert.deepEqual(await device.raise('msix', 9), TOLD);
  await device.setTriggers(MSIX, 9, [-1]);
  assert.deepEqual(await device.raise('msix', 9), masked);
  await device.setTriggers(MSIX, 9, [first]);
  assert.deepEqual(await Promise.all([device.count(first), device.count(late)]), [1n, 1n]);
});

test('errors and the request have eventfds beside the type that is enabled', async () => {
  const device = await Interrupting.open(app);
  const fd = await device.eventfd();
  for (const index of [ERR, REQ]) {
    await expectErrno('EINVAL', device.setIrqs(index, NONE | TRIGGER, 0, 1));
    await expectErrno('EINVAL', device.setTriggers(index, 0, []));
    await device.setTriggers(index, 0, [fd]);
    await expectErrno('ENOTTY', device.setIrqs(index, NONE | MASK, 0, 1));
    await device.setIrqs(index, BOOL | TRIGGER, 0, 1, { data: ONE });
    await device.disable(index);
    await expectErrno('EINVAL', device.disable(index));
  }
  assert.equal(await device.count(fd), 2n);
  assert.equal(await device.isEnabled(), false);
});

test('the last close ends interrupts, the eventfds keep what they have', async () => {
  const device = await Interrupting.open(app);
  const [trigger, unmask] = [await device.eventfd(), await device.eventfd()];
  await device.setTriggers(INTX, 0, [trigger]);
  await device.setIrqs(INTX, EVENTFD | UNMASK, 0, 1, { eventfds: [unmask] });
  await device.raise('intx');
  await device.vmm.close(device.cdev);
  assert.equal(await device.isEnabled(), false);
  assert.deepEqual(await device.raise('intx'), unheard('not-enabled'));
  assert.equal(await device.count(trigger), 1n);
  // Nobody takes it away any more.
  await device.vmm.call('write', { fd: unmask, data: 'AQAAAAAAAAA=' });
  assert.equal(await device.count(unmask), 1n);
  const again = await Interrupting.bind(device.host);
  await again.setTriggers(MSIX, 0, [await again.eventfd()]);
});

test('interrupts outlive a process that holds only their eventfds, and end with the one that has the device', async () => {
  const device = await Interrupting.open(app);
  const monitor = await device.host.process();
  const fd = (await monitor.call('eventfd', { initval: 0, flags: 0x800 })).ret as number;
  const here = await monitor.sendFd(fd, device.vmm);
  await device.setTriggers(MSIX, 0, [here]);
  await device.vmm.close(here);
  assert.deepEqual(await device.raise('msix'), TOLD);
  assert.equal(await countOf(monitor, fd), 1n);
  await monitor.kill();
  assert.deepEqual(await device.raise('msix'), TOLD);
  await device.vmm.kill();
  assert.equal(await device.isEnabled(), false);
  assert.deepEqual(await device.raise('msix'), unheard('not-enabled'));
});
