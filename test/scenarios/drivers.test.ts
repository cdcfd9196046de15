/** Drivers of functions as sysfs has them: binding, what a probe refuses, unbinding, and plugging out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, D2, E1, type Host, type HostBody } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';
import { adopt, IOVA, prepare, setUpVmm, TEXT } from '../support/setups.ts';

const app = useApp();

const GPU = { bdf: D1, vendor: '10de', device: '1c03', class: '0300' };
const NIC = { bdf: D2, vendor: '8086', device: '1572', class: '0200' };

const without =
  (bdf: string, method: 'get' | 'delete' | 'put', path = '', body?: object) =>
  async (host: Host) => {
    const pending = app.agent[method](`/v1/hosts/${host.id}/devices/${bdf}${path}`).set(
      'authorization',
      `Bearer ${app.key}`,
    );
    const { status, body: answer } = await (body === undefined ? pending : pending.send(body));
    return { status, body: answer as Record<string, unknown> };
  };
const remove = (bdf: string) => without(bdf, 'delete');
const look = (bdf: string) => without(bdf, 'get');

/** What making a host answers. */
async function make(body: HostBody) {
  const answer = await app.agent.post('/v1/hosts').set('authorization', `Bearer ${app.key}`).send(body);
  return { status: answer.status, body: answer.body };
}

test('any name is a driver, and uses the DMA API', async () => {
  const host = await app.host({
    devices: [
      { ...GPU, group: 1 },
      { ...GPU, bdf: '0000:01:00.1', group: 1 },
    ],
  });
  for (const driver of ['nouveau', 'nvidia', 'somebodys-own', 'constructor']) {
    assert.equal((await host.bindDriver(D1, driver)).driver, driver);
    assert.equal((await host.device(D1)).owner, 'kernel', driver);
    await host.unbindDriver(D1);
    assert.equal((await host.device(D1)).owner, null, driver);
  }
  await host.bindDriver('0000:01:00.1', 'vfio-pci');
  const vmm = await host.process();
  await vmm.bind(await vmm.openCdev('0000:01:00.1'), await vmm.open('/dev/iommu'));
  for (const driver of ['nouveau', 'somebodys-own']) {
    const { rule } = await expectErrno('EBUSY', host.bindDriver(D1, driver));
    assert.equal(rule, 'R5');
  }
});

test('a driver that is known answers ENODEV for a function that it is not for, and leaves its DMA alone', async () => {
  const host = await app.host({ devices: [GPU, NIC, { bdf: E1 }] });
  for (const [bdf, driver] of [
    [D1, 'nvme'],
    [D1, 'amdgpu'],
    [D1, 'pcieport'],
    [D2, 'mlx5_core'],
    [D2, 'nouveau'],
    [D2, 'virtio-pci'],
  ] as const) {
    const cursor = await host.cursor();
    await expectErrno('ENODEV', host.bindDriver(bdf, driver));
    const device = await host.device(bdf);
    assert.deepEqual([device.driver, device.owner], [null, null], driver);
    const probe = (await host.events(cursor)).find(({ kind }) => kind === 'driver.probe');
    assert.deepEqual(probe?.data, { bdf, driver, errno: 'ENODEV' });
  }
  await host.bindDriver(E1, 'nvme');
  await host.bindDriver(D2, 'i40e');
  // That it has a driver is seen before the new one looks at it (__driver_probe_device).
  await expectErrno('EBUSY', host.bindDriver(D2, 'nvme'));
});

test('drivers made of the core of vfio-pci give a function its cdev, which cannot be preserved', async () => {
  const host = await app.host();
  for (const driver of ['mlx5_vfio_pci', 'hisi-acc-vfio-pci', 'nvgrace_gpu_vfio_pci']) {
    await host.unbindDriver(D1);
    const { cdev, owner } = await host.bindDriver(D1, driver);
    assert.deepEqual([cdev, owner], ['/dev/vfio/devices/vfio0', null], driver);
  }
  const vmm = await host.process();
  const cdev = await vmm.openCdev(D1);
  await vmm.bind(cdev, await vmm.open('/dev/iommu'));
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm1');
  const { message } = await expectErrno('ENOENT', vmm.preserve(session, cdev, 1));
  assert.match(message, /0000:01:00\.0 is on driver nvgrace_gpu_vfio_pci/);
  await host.unbindDriver(D1);
  await vmm.close(cdev);
  assert.equal((await host.device(D1)).driver, null);
});

test('vfio-pci refuses bridges, and functions behind a unit without coherency', async () => {
  const bridges = ['0604', '0607'].map((code, index) => ({ bdf: `0000:00:0${index}.0`, class: code }));
  const host = await app.host({ devices: bridges });
  for (const { bdf } of bridges) await expectErrno('EINVAL', host.bindDriver(bdf, 'vfio-pci'));

  const incoherent = await app.host({
    iommus: [{ kind: 'arm-smmuv3', cacheCoherency: false }],
    devices: [{ bdf: D1 }],
  });
  await expectErrno('EINVAL', incoherent.bindDriver(D1, 'vfio-pci'));
  await expectErrno('EINVAL', incoherent.bindDriver(D1, 'mlx5_vfio_pci'));
  assert.equal((await incoherent.bindDriver(D1, 'pci-stub')).cdev, null);
});

test('vfio-pci refuses a physical function as long as its virtual functions exist', async () => {
  const pf = (bdf: string) => ({ ...NIC, bdf, sriov: 'pf' });
  const vf = (bdf: string) => ({ ...NIC, bdf, device: '154c', sriov: 'vf' });
  const [first, second, another] = ['0000:3b:00.0', '0000:3b:00.1', '0000:5e:00.0'];
  const host = await app.host({
    devices: [pf(first!), pf(second!), pf(another!), vf('0000:3b:02.0'), vf('0000:3c:02.1'), vf('0001:5e:02.0')],
    iommus: [{ kind: 'intel-vtd' }, { kind: 'intel-vtd' }],
  });
  const { message } = await expectErrno('EBUSY', host.bindDriver(first!, 'vfio-pci'));
  assert.match(message, /virtual functions exist, such as 0000:3b:02\.0/);
  for (const bdf of [second!, another!, '0000:3b:02.0', '0000:3c:02.1']) await host.bindDriver(bdf, 'vfio-pci');
  await remove('0000:3b:02.0')(host);
  await expectErrno('EBUSY', host.bindDriver(first!, 'vfio-pci'));
  await remove('0000:3c:02.1')(host);
  assert.equal((await host.bindDriver(first!, 'vfio-pci')).driver, 'vfio-pci');
});

test('a host whose drivers cannot be bound is not made, and the answer points to each', async () => {
  const { status, body } = await make({
    name: 'never-made',
    devices: [
      { ...GPU, driver: 'nouveau' },
      { ...NIC, driver: 'nvme' },
      { bdf: '0:1c.0', class: '0604', driver: 'vfio-pci' },
    ],
  });
  assert.equal(status, 422);
  assert.deepEqual(
    [body.type, body.errno, body.where],
    ['/problems/kernel-refusal', 'EINVAL', 'vfio_pci_core_register_device'],
  );
  assert.deepEqual(
    body.errors.map(({ pointer }: { pointer: string }) => pointer),
    ['/devices/2/driver', '/devices/1/driver'],
  );
  assert.match(body.errors[1].reason, /the driver of 0000:02:00\.0 cannot be bound: ENODEV, nvme/);
  assert.match(body.detail, /^body \/devices\/2\/driver: .*and 1 more/);

  const preset = await make({ preset: 'vmm-lab', iommus: [{ kind: 'intel-vtd', cacheCoherency: false }] });
  assert.deepEqual([preset.status, preset.body.errno], [422, 'EINVAL']);
  assert.deepEqual(
    new Set(preset.body.errors.map(({ pointer }: { pointer: string }) => pointer)),
    new Set(['/preset']),
  );

  const hosts = await app.agent.get('/v1/hosts').set('authorization', `Bearer ${app.key}`);
  assert.ok(!hosts.text.includes('never-made'));
});

test('the driver that a function begins with goes before a built-in one', async () => {
  const host = await app.host({ preset: 'vmm-lab', boot: { builtinDrivers: ['nvme'] } });
  const drivers = await Promise.all([D1, E1].map(async (bdf) => (await host.device(bdf)).driver));
  assert.deepEqual(drivers, ['vfio-pci', 'nvme']);
  await host.powerCycle();
  assert.equal((await host.device(D1)).driver, 'nvme');
});

test('what cannot be plugged in with its driver is not plugged in', async () => {
  const host = await app.host({ devices: [GPU] });
  const device = { ...NIC, driver: 'nvme' };
  await expectErrno('ENODEV', host.request('post', '/devices', device));
  assert.equal((await look(D2)(host)).status, 404);
  await host.request('post', '/devices', { ...device, driver: 'i40e' });
  assert.equal((await host.device(D2)).driver, 'i40e');
});

test('unbinding says where the function is', async () => {
  const host = await app.host({ devices: [{ ...GPU, driver: 'nouveau' }, NIC] });
  const nowhere = await expectErrno('ENODEV', host.unbindDriver(D2));
  assert.match(nowhere.message, /0000:02:00\.0 is on no driver\)$/);
  const elsewhere = await expectErrno('ENODEV', host.request('delete', `/devices/${D1}/driver?driver=nvidia`));
  assert.match(elsewhere.message, /0000:01:00\.0 is on driver nouveau, not on nvidia\)$/);
});

test('a function without a way to be reset is not reset at open and close', async () => {
  const host = await app.host({ devices: [{ bdf: D1, driver: 'vfio-pci', reset: false }] });
  const vmm = await host.process();
  const cdev = await vmm.openCdev(D1);
  await vmm.bind(cdev, await vmm.open('/dev/iommu'));
  assert.equal((await vmm.ioctl(cdev, 'VFIO_DEVICE_GET_INFO')).flags, 2);
  await expectErrno('EINVAL', vmm.resetDevice(cdev));
  await expectErrno('ENOENT', host.reset(D1));
  await vmm.close(cdev);
  assert.equal((await host.device(D1)).resets, 0);
});

test('plugging a function out unbinds its driver', async () => {
  const host = await app.host();
  for (const bdf of [E1, D2]) {
    const cursor = await host.cursor();
    assert.equal((await remove(bdf)(host)).status, 204);
    const kinds = (await host.events(cursor)).map(({ kind }) => kind);
    assert.deepEqual(kinds, ['driver.unbind', 'pci.remove']);
    assert.equal((await look(bdf)(host)).status, 404);
  }
  assert.equal((await remove(E1)(host)).status, 404);
  // The node is free again.
  await host.request('post', '/devices', { ...NIC, bdf: D2, driver: 'vfio-pci' });
  assert.equal((await host.device(D2)).cdev, '/dev/vfio/devices/vfio1');
});

test('plugging a function out waits for its descriptors, and the last one takes it with it', async () => {
  const { host, vmm, cdev, watch } = await setUpVmm(app);
  const second = await vmm.dup(cdev);
  assert.deepEqual(await remove(D1)(host), { status: 202, body: { blocked: true } });
  const waiting = await host.device(D1);
  assert.deepEqual([waiting.driver, waiting.unbinding, waiting.cdev], ['vfio-pci', true, null]);
  await expectErrno('ENOENT', vmm.open('/dev/vfio/devices/vfio0'));
  assert.equal(await host.unbindDriver(D1), true);
  assert.deepEqual(await remove(D1)(host), { status: 202, body: { blocked: true } });
  // What is open works as before.
  await vmm.ioctl(cdev, 'VFIO_DEVICE_GET_INFO');
  assert.equal((await host.dmaRead(D1, IOVA, TEXT.length)).toString(), TEXT);
  await watch.noGap();
  await vmm.close(cdev);
  assert.equal((await look(D1)(host)).status, 200);
  await vmm.close(second);
  assert.equal((await look(D1)(host)).status, 404);
  assert.equal((await without(D1, 'put', '/driver', { driver: 'vfio-pci' })(host)).status, 404);
});

test('the end of a process takes a function with it that waited to be plugged out', async () => {
  const host = await app.host({ devices: [{ ...GPU, driver: 'vfio-pci', group: 5 }] });
  const vmm = await host.process();
  const group = await vmm.open('/dev/vfio/5');
  const iommufd = await vmm.open('/dev/iommu');
  await vmm.ioctl(group, 'VFIO_GROUP_SET_CONTAINER', { container: iommufd });
  await vmm.call('ioctl', { fd: group, request: 'VFIO_GROUP_GET_DEVICE_FD', arg: { name: D1 } });
  assert.equal((await remove(D1)(host)).status, 202);
  await vmm.kill();
  assert.equal((await look(D1)(host)).status, 404);
  await host.request('post', '/devices', { ...GPU, driver: 'vfio-pci', group: 5 });
  const next = await host.process();
  await next.open('/dev/vfio/5');
});

test('a function that a session holds is plugged out when the session is closed', async () => {
  const { host, vmm, cdev, session, watch } = await prepare(app);
  assert.equal((await remove(D1)(host)).status, 202);
  await vmm.close(cdev);
  await watch.noGap();
  assert.equal((await host.device(D1)).preserved, true);
  await vmm.close(session);
  assert.equal((await look(D1)(host)).status, 404);
});

test('a function whose restored cdev was closed is like any other when it is plugged in again', async () => {
  const { host, vmm, cdev, iommufd, session } = await adopt(app);
  await vmm.finish(session);
  const { vendor, device, class: code } = await host.device(D1);
  await vmm.close(cdev);
  await vmm.close(iommufd);
  assert.equal((await host.device(D1)).state, 'N');
  await remove(D1)(host);
  await host.request('post', '/devices', { bdf: D1, vendor, device, class: code, group: 0, driver: 'nvme' });
  const { state, owner, domain, driver } = await host.device(D1);
  assert.deepEqual([state, owner, domain.kind, driver], ['N', 'kernel', 'default', 'nvme']);
});

test('allow_unsafe_interrupts lets VFIO do without interrupt remapping', async () => {
  const machine = {
    iommus: [{ kind: 'intel-vtd', interruptRemapping: false }],
    devices: [{ bdf: D1, driver: 'vfio-pci' }],
  };
  const bind = async (host: Host) => {
    const vmm = await host.process();
    return await vmm.bind(await vmm.openCdev(D1), await vmm.open('/dev/iommu'));
  };
  const safe = await app.host(machine);
  await expectErrno('EPERM', bind(safe));
  assert.equal((await safe.view()).boot.allowUnsafeInterrupts, undefined);
  await safe.kexec({ kernel: { boot: { allowUnsafeInterrupts: true } } });
  await safe.bindDriver(D1, 'vfio-pci');
  await bind(safe);

  const unsafe = await app.host({ ...machine, boot: { allowUnsafeInterrupts: true } });
  await bind(unsafe);
  // Where people look for it first.
  const [unit] = machine.iommus;
  const beside = await app.host({ ...machine, iommus: [{ ...unit, allowUnsafeInterrupts: true }] });
  await bind(beside);
  assert.equal((await beside.view()).boot.allowUnsafeInterrupts, true);
  // A kernel begins with the options of the one before, unless it is told others.
  assert.equal((await unsafe.kexec({})).boot.allowUnsafeInterrupts, true);
  const next = await unsafe.kexec({ kernel: { boot: { allowUnsafeInterrupts: false } } });
  assert.equal(next.boot.allowUnsafeInterrupts, false);
  await unsafe.bindDriver(D1, 'vfio-pci');
  await expectErrno('EPERM', bind(unsafe));
});
