/** S26 to S33: the domain is back, who gets the device, and how it moves on to a new HWPT. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, D2, E1, MIB } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';
import {
  adopt,
  buildSuccessor,
  HALF,
  IOVA,
  prepare,
  RAM,
  retrieveAll,
  TEXT,
  TEXT_ABOVE,
  TOKEN,
  update,
} from '../support/setups.ts';

const app = useApp();
const UNMAPPED = 0x2000_0000;

test('S26 the happy path', async () => {
  const { host, watch, ...old } = await prepare(app);
  const domain = (await host.device(D1)).domain;
  assert.ok(domain.id !== null && old.hwpt > 0);
  await host.kexec();

  const before = await host.device(D1);
  assert.equal(before.state, 'L');
  assert.equal(before.owner, 'luo');
  assert.deepEqual(before.domain, { kind: 'paging', id: domain.id, restored: true });
  await watch.noGap();
  await host.dmaFaults(D1, UNMAPPED);

  const q = await retrieveAll(host, watch);
  const { vmm, session, memfd, iommufd, cdev } = q;
  await watch.noGap();
  q.device = await vmm.bind(cdev, iommufd);
  const bound = await host.device(D1);
  assert.equal(bound.state, 'A');
  assert.equal(bound.owner, 'iommufd');
  assert.equal(bound.resets, before.resets, 'no reset');
  assert.deepEqual(bound.domain, before.domain);
  await watch.noGap();

  const restored = await vmm.restore(iommufd, TOKEN);
  const { ioas, hwpt } = await buildSuccessor(q);
  await watch.noGap();
  assert.equal(await vmm.attach(cdev, hwpt), hwpt);
  assert.equal((await host.device(D1)).state, 'S');
  await watch.noGap();
  await host.dmaWrite(D1, IOVA + MIB, 'from the device');
  assert.equal(await vmm.read(memfd, MIB, 15), 'from the device');

  await vmm.destroy(iommufd, restored);
  assert.equal(await host.domain(domain.id), undefined, 'its id is free');
  await expectErrno('ENOENT', vmm.restore(iommufd, TOKEN));
  await vmm.finish(session);
  await vmm.close(session);
  await watch.noGap();
  assert.deepEqual(await host.hazards('0'), [], 'nothing dangerous happened');
  await vmm.unmap(iommufd, ioas, IOVA, RAM);
  await host.dmaFaults(D1, IOVA);
});

test('S27 domain outlives finish and close', async () => {
  const q = await adopt(app);
  const { host, vmm, session, iommufd, cdev, watch } = q;
  await vmm.finish(session);
  await vmm.close(session);
  assert.equal((await host.device(D1)).state, 'A');
  await watch.noGap();
  const restored = await vmm.restore(iommufd, TOKEN);
  assert.equal(await vmm.restore(iommufd, TOKEN), restored);
  await host.advanceClock('10800000000000');
  await watch.noGap();
  assert.equal((await host.device(D1)).state, 'A');
  const { hwpt } = await buildSuccessor(q);
  await vmm.attach(cdev, hwpt);
  await watch.noGap();
  assert.equal((await host.device(D1)).state, 'S');
  await vmm.destroy(iommufd, restored);
  await watch.noGap();
});

test('S28 kernel drivers are kept out', async () => {
  const { host, watch } = await prepare(app);
  await host.kexec({ kernel: { boot: { builtinDrivers: ['nvme'] } } });
  const probes = (await host.events()).filter((e) => e.kernel === 2 && e.kind === 'driver.probe' && e.data.bdf === D1);
  assert.deepEqual(
    probes.map((e) => [e.data.driver, e.data.errno]),
    [['nvme', 'EBUSY']],
    'the built-in driver probed, and failed',
  );
  assert.equal((await host.device(D1)).driver, null);

  await expectErrno('EBUSY', host.bindDriver(D1, 'nvme'));
  await host.bindDriver(D1, 'pci-stub');
  assert.equal((await host.device(D1)).state, 'L');
  await host.unbindDriver(D1);
  await expectErrno('EPERM', host.groupType((await host.device(D1)).group!, 'identity'));
  await host.bindDriver(D1, 'vfio-pci');
  await expectErrno('EBUSY', host.bindDriver(D1, 'nvme'));
  assert.equal((await host.device(D1)).state, 'L');
  await watch.noGap();
  if ((await host.device(E1)).driver === null) await host.bindDriver(E1, 'nvme');
  assert.equal((await host.device(E1)).driver, 'nvme');
});

test('S29 foreign VFIO is kept out', async () => {
  const { host, vmm, iommufd, cdev, watch } = await update(app);
  const stranger = await host.process({ name: 'stranger' });
  const x = await stranger.openCdev(D1);
  const g = await stranger.open('/dev/iommu');
  const refused = await expectErrno('EPERM', stranger.bind(x, g));
  assert.ok(['R6', 'R7'].includes(refused.rule ?? ''), `rule ${refused.rule}`);
  assert.equal((await host.device(D1)).state, 'L');
  await watch.noGap();

  const group = await stranger.open(`/dev/vfio/${(await host.device(D1)).group}`);
  await stranger.ioctl(group, 'VFIO_GROUP_SET_CONTAINER', { container: g });
  await expectErrno('EPERM', stranger.ioctl(group, 'VFIO_GROUP_GET_DEVICE_FD', { name: D1 }));
  await stranger.close(group);
  assert.equal((await host.device(D1)).state, 'L');
  await watch.noGap();

  await expectErrno('EPERM', vmm.bind(cdev, await vmm.open('/dev/iommu')));
  assert.equal((await host.device(D1)).state, 'L');
  await vmm.bind(cdev, iommufd);
  await expectErrno('EINVAL', stranger.bind(x, g));
  assert.equal((await host.device(D1)).state, 'A');
  await watch.noGap();
});

test('S29 foreign VFIO is kept out: policy gate=open', async () => {
  const { host, vmm, iommufd, cdev, watch } = await update(app, { policies: { gate: 'open' } });
  const stranger = await host.process();
  await expectErrno('EBUSY', stranger.openCdev(D1));
  assert.equal((await host.device(D1)).state, 'L');
  await vmm.bind(cdev, iommufd);
  await watch.noGap();
});

test('S30 restore token errors', async () => {
  const { host, vmm, iommufd, cdev, watch } = await update(app);
  await expectErrno('ENODEV', vmm.restore(iommufd, TOKEN));
  await expectErrno('ENOENT', vmm.restore(iommufd, 8));
  await expectErrno('ENOTTY', vmm.restore(await vmm.open('/dev/iommu'), TOKEN));
  await vmm.bind(cdev, iommufd);
  const restored = await vmm.restore(iommufd, TOKEN);
  await expectErrno('EBUSY', vmm.destroy(iommufd, restored));
  assert.equal(await vmm.attach(cdev, restored), restored);
  assert.equal((await host.device(D1)).state, 'A');
  await watch.noGap();
});

test('S31 restored HWPT is only a handle', async () => {
  const q = await adopt(app);
  const { host, vmm, iommufd, cdev, device, watch } = q;
  const restored = await vmm.restore(iommufd, TOKEN);
  // 24 bytes of kind VT-d stage 1. That the parent is no nesting parent is judged before they are.
  const stage1 = { data_type: 1, data_len: 24, data: Buffer.alloc(24).toString('base64') };
  await expectErrno('EINVAL', vmm.allocHwpt(iommufd, device, restored, stage1));
  const tracking = { flags: 1, hwpt_id: restored };
  await expectErrno('EINVAL', vmm.ioctl(iommufd, 'IOMMU_HWPT_SET_DIRTY_TRACKING', tracking));
  const bitmap = { hwpt_id: restored, iova: IOVA, length: MIB, page_size: 4096 };
  await expectErrno('EINVAL', vmm.ioctl(iommufd, 'IOMMU_HWPT_GET_DIRTY_BITMAP', bitmap));
  await expectErrno('EINVAL', vmm.mark(iommufd, restored, 9));

  const { hwpt } = await buildSuccessor(q);
  await vmm.attach(cdev, hwpt);
  await expectErrno('EINVAL', vmm.attach(cdev, restored));
  assert.equal((await host.device(D1)).state, 'S');
  assert.deepEqual((await vmm.hwpt(iommufd, hwpt)).devices, [D1], 'still on the new one');
  await watch.noGap();

  await host.bindDriver(D2, 'vfio-pci');
  const second = await vmm.openCdev(D2);
  await vmm.bind(second, iommufd);
  await expectErrno('EINVAL', vmm.attach(second, restored));
  await host.dmaFaults(D2, IOVA);
  await vmm.destroy(iommufd, restored);
});

test('S32 failed hot-swap changes nothing', async () => {
  const q = await adopt(app);
  const { host, vmm, iommufd, cdev, device, memfd, watch } = q;
  const restored = await vmm.restore(iommufd, TOKEN);
  async function unchanged(): Promise<void> {
    assert.equal((await host.device(D1)).state, 'A');
    assert.deepEqual((await vmm.hwpt(iommufd, restored)).devices, [D1]);
    await watch.noGap();
  }

  await expectErrno('ENOENT', vmm.attach(cdev, 4711));
  await unchanged();

  const reserved = await vmm.allocIoas(iommufd);
  await vmm.mapFile(iommufd, reserved, 0xfee0_0000, memfd, MIB);
  await expectErrno('EADDRINUSE', vmm.attach(cdev, await vmm.allocHwpt(iommufd, device, reserved)));
  await unchanged();

  const { hwpt } = await buildSuccessor(q);
  await host.armFault('iommu.replace', { errno: 'ENOMEM' });
  await expectErrno('ENOMEM', vmm.attach(cdev, hwpt));
  await unchanged();
  await vmm.attach(cdev, hwpt);
  assert.equal((await host.device(D1)).state, 'S');
  await watch.noGap();
});

test('S33 hot-swap to incomplete mappings', async () => {
  const half = await adopt(app);
  const { host, vmm, cdev } = half;
  assert.equal((await host.dmaRead(D1, IOVA + HALF, TEXT_ABOVE.length)).toString(), TEXT_ABOVE);
  const { hwpt } = await buildSuccessor(half, HALF);
  let cursor = await host.cursor();
  await vmm.attach(cdev, hwpt);
  assert.equal((await host.dmaRead(D1, IOVA, TEXT.length)).toString(), TEXT);
  await host.dmaFaults(D1, IOVA + HALF);
  assert.equal((await host.hazards(cursor)).filter((event) => event.data.bdf === D1).length >= 1, true);

  const empty = await adopt(app);
  cursor = await empty.host.cursor();
  const auto = await empty.vmm.attach(empty.cdev, await empty.vmm.allocIoas(empty.iommufd));
  assert.equal((await empty.vmm.hwpt(empty.iommufd, auto)).auto, true);
  assert.equal((await empty.host.device(D1)).state, 'S');
  for (const iova of [IOVA, IOVA + HALF, UNMAPPED]) await empty.host.dmaFaults(D1, iova);
  assert.ok((await empty.host.hazards(cursor)).length >= 1);
});
