/** What refusals of the live-update path advise can be done in that state; where nothing can any more, they say that. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1 } from '../support/client.ts';
import { KernelError } from '../support/kernel-error.ts';
import { adopt, IOVA, prepare, RAM, setUpVmm, TOKEN, update } from '../support/setups.ts';

const app = useApp();

/** Why it is refused. */
async function why(asked: Promise<unknown>): Promise<string> {
  const error = await asked.then(
    () => assert.fail('it is not refused'),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof KernelError, String(error));
  return error.message;
}

test('a cdev that is retrieved before vfio-pci: that was final, and nothing says otherwise later', async () => {
  const { host } = await prepare(app);
  await host.kexec();
  const vmm = await host.process({ name: 'vmm' });
  const session = await vmm.retrieveSession(await vmm.openLiveupdate(), 'vm1');
  assert.match(await why(vmm.retrieve(session, 3)), /ENODEV.*only attempt.*until the next reboot/);
  await host.bindDriver(D1, 'vfio-pci');
  assert.match(await why(vmm.retrieve(session, 3)), /ENODEV.*final.*until the next reboot/);
  const iommufd = await vmm.retrieve(session, 2);
  const finish = await why(vmm.finish(session));
  assert.match(finish, /EBUSY.*failed for good.*only a reboot helps/);
  assert.doesNotMatch(finish, /first|bind/);
  const restore = await why(vmm.restore(iommufd, TOKEN));
  assert.match(restore, /ENODEV.*only a reboot helps/);
  const bind = await why(vmm.bind(await vmm.openCdev(D1), iommufd));
  assert.match(bind, /EPERM.*only a reboot helps/);
  await host.kexec();
  assert.equal((await host.device(D1)).state, 'N', 'as was said');
});

test('a driver that wants a device whose session is stuck is told to reboot, before that to adopt it', async () => {
  const { host } = await prepare(app);
  await host.kexec();
  const { group } = await host.device(D1);
  const vmm = await host.process();
  const session = await vmm.retrieveSession(await vmm.openLiveupdate(), 'vm1');
  assert.match(await why(host.bindDriver(D1, 'nvme')), /EBUSY.*session "vm1": adopt it/);
  assert.match(await why(host.groupType(group!, 'identity')), /EPERM.*session "vm1": adopt it/);
  await vmm.close(session);
  assert.match(await why(host.bindDriver(D1, 'nvme')), /EBUSY.*session-stuck.*only a reboot helps/);
  assert.match(await why(host.groupType(group!, 'identity')), /EPERM.*only a reboot helps/);
});

test('what FINISH asks for is what makes it succeed', async () => {
  const q = await update(app);
  const { vmm, session, cdev, iommufd } = q;
  assert.match(await why(vmm.finish(session)), /not bound: bind it .*PUT .*\/iommufd, VFIO_DEVICE_BIND_IOMMUFD/);
  await vmm.bind(cdev, iommufd);
  await vmm.finish(session);
});

test('the way into a session: each refusal names the next step, in both faces', async () => {
  const { vmm, memfd, iommufd, cdev, hwpt, host } = await setUpVmm(app);
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm1');
  assert.match(
    await why(vmm.preserve(session, cdev, 3)),
    /mark it first \(PUT .*\/token, IOMMU_HWPT_LU_SET_PRESERVE\)/,
  );
  await vmm.mark(iommufd, hwpt, TOKEN);
  assert.match(
    await why(vmm.preserve(session, cdev, 3)),
    /iommufd .* preserve it first.*LIVEUPDATE_SESSION_PRESERVE_FD/,
  );
  assert.match(
    await why(vmm.preserve(session, iommufd, 2)),
    /memfd .* preserve it first.*LIVEUPDATE_SESSION_PRESERVE_FD/,
  );
  await vmm.preserve(session, memfd, 1);
  await vmm.preserve(session, iommufd, 2);
  await vmm.preserve(session, cdev, 3);
  await host.request('patch', `/devices/${D1}`, { interruptsEnabled: true });
  assert.match(await why(host.kexec()), /disable them .*PATCH/);
  await host.request('patch', `/devices/${D1}`, { interruptsEnabled: false });
  await host.kexec();
});

test('a HWPT that cannot be marked says which one can', async () => {
  const { vmm, iommufd, cdev, ioas } = await setUpVmm(app);
  const auto = await vmm.attach(cdev, ioas);
  assert.match(await why(vmm.mark(iommufd, auto, TOKEN)), /make one \(POST .*\/hwpts, IOMMU_HWPT_ALLOC\)/);
  const q = await adopt(app);
  const restored = await q.vmm.restore(q.iommufd, TOKEN);
  assert.match(await why(q.vmm.mark(q.iommufd, restored, 8)), /make a new one .*VFIO_DEVICE_ATTACH_IOMMUFD_PT/);
  const next = await q.vmm.allocIoas(q.iommufd);
  await q.vmm.mapFile(q.iommufd, next, IOVA, q.memfd, RAM);
  const hwpt = await q.vmm.allocHwpt(q.iommufd, q.device, next);
  await q.vmm.attach(q.cdev, hwpt);
  await q.vmm.mark(q.iommufd, hwpt, 8);
});
