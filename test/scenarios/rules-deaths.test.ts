/** R19, row by row of its table, and what R22 to R24 say of kernels that end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, type Host } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';
import type { Process } from '../support/process.ts';
import {
  adopt,
  buildSuccessor,
  IOVA,
  type Prepared,
  prepare,
  RAM,
  retrieveAll,
  setUpVmm,
  TOKEN,
} from '../support/setups.ts';

const app = useApp();

/** Everything of the device's first life is gone: reset, default domain, no domain of a user's, no memory. */
async function assertFreed(host: Host, resets: number): Promise<void> {
  const device = await host.device(D1);
  assert.deepEqual([device.state, device.resets, device.domain.kind], ['N', resets + 1, 'default']);
  assert.deepEqual(await host.domains(), []);
  assert.equal(await host.ownedBytes('memfd'), 0);
  assert.equal((await host.view()).memory.preserved, '0x0');
  await host.dmaFaults(D1, IOVA);
}

/** Setup P with an agent that holds /dev/liveupdate and the session; the VMM has no copy of them. */
async function prepareForAgent(): Promise<Prepared & { agent: Process; held: number }> {
  const prepared = await prepare(app);
  const { host, vmm, lu, session } = prepared;
  const agent = await host.process({ name: 'agent' });
  await vmm.sendFd(lu, agent);
  const held = await vmm.sendFd(session, agent);
  await vmm.close(lu);
  await vmm.close(session);
  return { ...prepared, agent, held };
}

test('R19 marked, nothing preserved: the VMM dies', async () => {
  const { host, vmm, iommufd, hwpt } = await setUpVmm(app);
  await vmm.mark(iommufd, hwpt, TOKEN);
  const { resets } = await host.device(D1);
  await vmm.kill();
  await assertFreed(host, resets);
});

test('R19 preserved, session in the VMM only: it dies', async () => {
  const { host, vmm } = await prepare(app);
  const { resets } = await host.device(D1);
  await vmm.kill();
  await assertFreed(host, resets);
  await host.kexec();
  assert.equal((await host.device(D1)).state, 'N');
});

test('R19 preserved, session held by an agent: the VMM dies, the update goes on', async () => {
  const { host, vmm, watch } = await prepareForAgent();
  await vmm.kill();
  await watch.noGap();
  await host.kexec();
  await watch.noGap();
  const q = await retrieveAll(host, watch);
  await q.vmm.bind(q.cdev, q.iommufd);
  assert.equal((await host.device(D1)).state, 'A');
  await watch.noGap();
});

test('R19 preserved: the agent dies, the only holder', async () => {
  const { host, agent, vmm, iommufd, cdev, ioas, watch } = await prepareForAgent();
  await expectErrno('EBUSY', vmm.detach(cdev));
  await agent.kill();
  await watch.noGap();
  await vmm.unmap(iommufd, ioas, IOVA, RAM);
  await vmm.detach(cdev);
  await host.kexec();
  assert.equal((await host.device(D1)).state, 'N');
});

test('R19 new kernel, before the session is retrieved: anyone dies', async () => {
  const { host, watch } = await prepare(app);
  await host.kexec();
  const first = await host.process();
  await first.openLiveupdate();
  await first.kill();
  const { vmm, iommufd, cdev } = await retrieveAll(host, watch);
  await vmm.bind(cdev, iommufd);
  await watch.noGap();
});

test('R19 luo mode: the holder of the session dies', async () => {
  const { host, watch } = await prepare(app);
  await host.kexec();
  const q = await retrieveAll(host, watch);
  await q.vmm.kill();
  assert.equal((await host.device(D1)).state, 'L');
  await watch.noGap();
  const next = await host.process();
  await expectErrno('EINVAL', next.retrieveSession(await next.openLiveupdate(), 'vm1'));
  assert.equal((await host.sessions()).find((session) => session.name === 'vm1')?.state, 'stuck');
  await host.kexec();
  assert.equal((await host.device(D1)).state, 'N');
});

test('R19 iommufd retrieved, cdev not: the VMM dies, an agent keeps the session', async () => {
  const { host, watch } = await prepare(app);
  await host.kexec();
  await host.bindDriver(D1, 'vfio-pci');
  const agent = await host.process({ name: 'agent' });
  const held = await agent.retrieveSession(await agent.openLiveupdate(), 'vm1');
  const first = await host.process();
  await first.retrieve(await agent.sendFd(held, first), 2);
  await first.kill();
  const second = await host.process();
  const session = await agent.sendFd(held, second);
  const iommufd = await second.retrieve(session, 2);
  await second.bind(await second.retrieve(session, 3), iommufd);
  assert.equal((await host.device(D1)).state, 'A');
  await watch.noGap();
});

test('R19 swapped and finished, old HWPT not destroyed: the VMM dies', async () => {
  const q = await adopt(app);
  const { hwpt } = await buildSuccessor(q);
  await q.vmm.attach(q.cdev, hwpt);
  await q.vmm.finish(q.session);
  const { resets } = await q.host.device(D1);
  assert.equal((await q.host.domains()).length, 2);
  await q.vmm.kill();
  await assertFreed(q.host, resets);
});

test('R23 another ABI of the IOMMU or PCI record stops the new kernel', async () => {
  for (const kernel of [{ iommuAbi: 'iommu-v0' }, { pciAbi: 'pci-v0' }]) {
    const { host } = await prepare(app);
    await host.kexec({ kernel });
    const { state, panic } = await host.view();
    assert.equal(state, 'panic');
    assert.ok(panic !== null && panic !== '');
    await host.powerCycle();
    assert.equal((await host.device(D1)).state, 'N');
    assert.equal(await host.reservedBytes(), 0);
    await host.dmaFaults(D1, IOVA);
  }
});

test('R24 the third kernel knows nothing of a device that nobody adopted', async () => {
  const { host, watch } = await prepare(app);
  await host.kexec();
  const { vmm } = await retrieveAll(host, watch);
  await watch.noGap();
  await vmm.kill();
  await host.kexec();
  const device = await host.device(D1);
  assert.deepEqual([device.state, device.owner, device.domain.kind], ['N', null, 'default']);
  await host.dmaFaults(D1, IOVA);
  assert.equal(await host.reservedBytes(), 0);
});
