/** S19 to S25: iommufd and cdev are put into a session, and what may not be. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, D2, D3, type HostBody, MIB } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';
import { ALLOW_SEALING, GROW, SEAL, SHRINK, SIZE_SEALS } from '../support/process.ts';
import { IOVA, prepare, RAM, setUpVmm, TEXT } from '../support/setups.ts';

const app = useApp();
const ADDRESS = 0x7f00_0000_0000;
/** An IOVA outside the memory that the setups map. */
const ELSEWHERE = 0x2000_0000;

test('S19 order', async () => {
  const { vmm, memfd, iommufd, cdev, hwpt } = await setUpVmm(app);
  const lu = await vmm.openLiveupdate();
  const session = await vmm.createSession(lu, 'vm1');
  await vmm.mark(iommufd, hwpt, 7);
  await expectErrno('ENOENT', vmm.preserve(session, cdev, 3));
  await expectErrno('ENOENT', vmm.preserve(session, iommufd, 2));
  await vmm.preserve(session, memfd, 1);
  await vmm.preserve(session, iommufd, 2);
  await vmm.preserve(session, cdev, 3);

  await vmm.close(session);
  const withMemory = await vmm.createSession(lu, 'memory');
  await vmm.preserve(withMemory, memfd, 1);
  const without = await vmm.createSession(lu, 'devices');
  await expectErrno('ENOENT', vmm.preserve(without, iommufd, 2));
});

test('S20 mappings must be sealed file mappings', async () => {
  const { vmm, memfd, iommufd, ioas, hwpt } = await setUpVmm(app);
  const lu = await vmm.openLiveupdate();
  await vmm.mark(iommufd, hwpt, 7);

  let session = await vmm.createSession(lu, 'by-address');
  await vmm.preserve(session, memfd, 1);
  await vmm.mmap(ADDRESS, MIB);
  await vmm.map(iommufd, ioas, ELSEWHERE, ADDRESS, MIB);
  await expectErrno('EINVAL', vmm.preserve(session, iommufd, 2));
  await vmm.unmap(iommufd, ioas, ELSEWHERE, MIB);
  await vmm.preserve(session, iommufd, 2);
  await vmm.close(session);

  session = await vmm.createSession(lu, 'sealed-late');
  await vmm.preserve(session, memfd, 1);
  const late = await vmm.memfd(MIB);
  await vmm.mapFile(iommufd, ioas, ELSEWHERE, late, MIB);
  await vmm.addSeals(late, SIZE_SEALS);
  await vmm.preserve(session, late, 4);
  await expectErrno('EINVAL', vmm.preserve(session, iommufd, 2));
  await vmm.unmap(iommufd, ioas, ELSEWHERE, MIB);
  await vmm.mapFile(iommufd, ioas, ELSEWHERE, late, MIB);
  await vmm.preserve(session, iommufd, 2);
  await vmm.close(session);

  session = await vmm.createSession(lu, 'unsealed');
  await vmm.preserve(session, memfd, 1);
  await vmm.preserve(session, late, 4);
  const open = await vmm.memfd(MIB, ALLOW_SEALING);
  await vmm.addSeals(open, GROW | SHRINK);
  assert.equal((await vmm.seals(open)) & SEAL, 0);
  await vmm.mapFile(iommufd, ioas, ELSEWHERE + MIB, open, MIB);
  await vmm.preserve(session, open, 5);
  await expectErrno('EINVAL', vmm.preserve(session, iommufd, 2));
});

/** A function behind a unit that has nested page tables. */
const GENERIC: HostBody = {
  iommus: [{ id: 'generic0', kind: 'generic' }],
  devices: [{ bdf: D1, iommu: 'generic0', driver: 'vfio-pci' }],
};
const NEST_PARENT = 1;
const NESTED = { data_type: 0xdead, data_len: 4, data: 'AAAAAA==' };

test('S21 tokens of HWPTs', async () => {
  const { vmm, iommufd, device, ioas, hwpt: h1 } = await setUpVmm(app);
  const h2 = await vmm.allocHwpt(iommufd, device, ioas);
  await vmm.mark(iommufd, h1, 7);
  await expectErrno('EADDRINUSE', vmm.mark(iommufd, h2, 7));

  const other = await vmm.open('/dev/iommu');
  const otherDevice = await vmm.bind(await vmm.openCdev(D2), other);
  const otherHwpt = await vmm.allocHwpt(other, otherDevice, await vmm.allocIoas(other));
  await vmm.mark(other, otherHwpt, 7);

  await vmm.mark(iommufd, h1, 8);
  assert.equal((await vmm.hwpt(iommufd, h1)).token, '0x8');
  await vmm.mark(iommufd, h2, 7);
  await expectErrno('ENOENT', vmm.mark(iommufd, ioas, 9));
  await expectErrno('ENOENT', vmm.mark(iommufd, 4711, 9));

  await vmm.destroy(iommufd, h2);
  await vmm.mark(iommufd, h1, 7);
});

test('S21 tokens of HWPTs: nested', async () => {
  const host = await app.host(GENERIC);
  const vmm = await host.process();
  const iommufd = await vmm.open('/dev/iommu');
  const device = await vmm.bind(await vmm.openCdev(D1), iommufd);
  const parent = await vmm.allocHwpt(iommufd, device, await vmm.allocIoas(iommufd), { flags: NEST_PARENT });
  const nested = await vmm.allocHwpt(iommufd, device, parent, NESTED);
  await expectErrno('ENOENT', vmm.mark(iommufd, nested, 9));
  await vmm.mark(iommufd, parent, 9);
});

test('S22 unmarked and auto HWPTs', async () => {
  const { vmm, memfd, iommufd, cdev, device, ioas } = await setUpVmm(app);
  await vmm.detach(cdev);
  const auto = await vmm.attach(cdev, ioas);
  await expectErrno('EINVAL', vmm.mark(iommufd, auto, 7));
  const lu = await vmm.openLiveupdate();
  let session = await vmm.createSession(lu, 'vm1');
  await vmm.preserve(session, iommufd, 2);
  await expectErrno('EINVAL', vmm.preserve(session, cdev, 3));
  const manual = await vmm.allocHwpt(iommufd, device, ioas);
  await expectErrno('EBUSY', vmm.mark(iommufd, manual, 7));
  await vmm.close(session);
  await vmm.mark(iommufd, manual, 7);
  assert.equal(await vmm.attach(cdev, manual), manual);
  session = await vmm.createSession(lu, 'vm1');
  await vmm.preserve(session, memfd, 1);
  await vmm.preserve(session, iommufd, 2);
  await vmm.preserve(session, cdev, 3);
});

test('S22 unmarked and auto HWPTs: policy markAutoHwpt=allow', async () => {
  const { vmm, memfd, iommufd, cdev, ioas } = await setUpVmm(app, { policies: { markAutoHwpt: 'allow' } });
  await vmm.detach(cdev);
  const auto = await vmm.attach(cdev, ioas);
  await vmm.mark(iommufd, auto, 7);
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm1');
  await vmm.preserve(session, memfd, 1);
  await vmm.preserve(session, iommufd, 2);
  await vmm.preserve(session, cdev, 3);
});

test('S22 an auto HWPT in a session outlives its last device, as IOMMU_DESTROY cannot take it either', async () => {
  const { vmm, memfd, iommufd, cdev, ioas } = await setUpVmm(app, { policies: { markAutoHwpt: 'allow' } });
  await vmm.detach(cdev);
  const auto = await vmm.attach(cdev, ioas);
  await vmm.mark(iommufd, auto, 7);
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm1');
  await vmm.preserve(session, memfd, 1);
  await vmm.preserve(session, iommufd, 2);
  await vmm.detach(cdev);
  const hasAuto = async (): Promise<boolean> => (await vmm.iommufd(iommufd)).hwpts.includes(auto);
  assert.ok(await hasAuto());
  await expectErrno('EBUSY', vmm.destroy(iommufd, auto));
  await expectErrno('EBUSY', vmm.unmap(iommufd, ioas, IOVA, RAM));
  await vmm.close(session);
  assert.ok(!(await hasAuto()));
  await vmm.unmap(iommufd, ioas, IOVA, RAM);
});

test('S23 immutable while preserved', async () => {
  const { host, vmm, memfd, iommufd, cdev, device, ioas, hwpt, session, watch } = await prepare(app);
  const other = await vmm.allocIoas(iommufd);
  const otherHwpt = await vmm.allocHwpt(iommufd, device, other);
  await vmm.mmap(ADDRESS, MIB);
  await expectErrno('EBUSY', vmm.map(iommufd, ioas, ELSEWHERE, ADDRESS, MIB));
  await expectErrno('EBUSY', vmm.mapFile(iommufd, ioas, ELSEWHERE, memfd, MIB));
  await vmm.map(iommufd, other, ELSEWHERE, ADDRESS, MIB);
  await expectErrno('EBUSY', vmm.copy(iommufd, ioas, ELSEWHERE, other, ELSEWHERE, MIB));
  await expectErrno('EBUSY', vmm.unmap(iommufd, ioas, IOVA, RAM));
  await expectErrno('EBUSY', vmm.destroy(iommufd, hwpt));
  await expectErrno('EBUSY', vmm.attach(cdev, otherHwpt));
  await expectErrno('EBUSY', vmm.detach(cdev));
  await watch.noGap();
  await host.dmaFaults(D1, ELSEWHERE);

  await vmm.close(session);
  await vmm.map(iommufd, ioas, ELSEWHERE, ADDRESS, MIB);
  assert.equal((await host.dmaRead(D1, ELSEWHERE, 1))[0], 1, 'anonymous pages begin with a 1');
  await vmm.unmap(iommufd, ioas, ELSEWHERE, MIB);
  await host.dmaFaults(D1, ELSEWHERE);
  await vmm.detach(cdev);
  await host.dmaFaults(D1, IOVA);
  await vmm.destroy(iommufd, hwpt);
});

test('S24 devices that cannot go', async () => {
  const { host, vmm, memfd, iommufd, hwpt } = await setUpVmm(app);
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm1');
  await vmm.mark(iommufd, hwpt, 7);
  await vmm.preserve(session, memfd, 1);
  await vmm.preserve(session, iommufd, 2);

  const ofTwo = await vmm.openCdev(D3);
  await vmm.bind(ofTwo, iommufd);
  await vmm.attach(ofTwo, hwpt);
  await expectErrno('EINVAL', vmm.preserve(session, ofTwo, 4));

  const unbound = await vmm.openCdev(D2);
  await expectErrno('ENOENT', vmm.preserve(session, unbound, 5));
  await vmm.bind(unbound, iommufd);
  await vmm.preserve(session, unbound, 5);
  await host.kexec();

  assert.equal((await host.device(D2)).state, 'N', 'it went without a domain');
  await host.bindDriver(D2, 'vfio-pci');
  const next = await host.process();
  const retrieved = await next.retrieveSession(await next.openLiveupdate(), 'vm1');
  await next.retrieve(retrieved, 5);
  await host.dmaFaults(D2, IOVA);
});

test('S24 devices that cannot go: an IOMMU driver without preserve', async () => {
  const amd = {
    iommus: [{ id: 'amd0', kind: 'amd-vi' }],
    devices: [{ bdf: D1, iommu: 'amd0', driver: 'vfio-pci' }],
  };
  const { vmm, memfd, iommufd, hwpt } = await setUpVmm(app, amd);
  await vmm.mark(iommufd, hwpt, 7);
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm1');
  await vmm.preserve(session, memfd, 1);
  await expectErrno('EOPNOTSUPP', vmm.preserve(session, iommufd, 2));
});

const VIRTUAL_FUNCTION = { devices: [{ bdf: D1, driver: 'vfio-pci', sriov: 'vf' }] };

test('S24 devices that cannot go: virtual functions', async () => {
  const { vmm, memfd, iommufd, cdev, hwpt } = await setUpVmm(app, VIRTUAL_FUNCTION);
  await vmm.mark(iommufd, hwpt, 7);
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm1');
  await vmm.preserve(session, memfd, 1);
  await vmm.preserve(session, iommufd, 2);
  await expectErrno('ENOENT', vmm.preserve(session, cdev, 3));

  const policies = { virtualFunctions: 'allow' };
  const { host, watch } = await prepare(app, { ...VIRTUAL_FUNCTION, policies });
  await host.kexec();
  assert.equal((await host.device(D1)).state, 'L');
  await watch.noGap();
});

test('S25 abort after full preparation', async () => {
  const { host, vmm, memfd, iommufd, cdev, ioas, hwpt, lu, session, watch } = await prepare(app);
  await vmm.close(session);
  await watch.noGap();
  await vmm.detach(cdev);
  await host.dmaFaults(D1, IOVA);
  await vmm.attach(cdev, hwpt);
  await vmm.unmap(iommufd, ioas, IOVA, RAM);
  await host.dmaFaults(D1, IOVA);
  await vmm.mapFile(iommufd, ioas, IOVA, memfd, RAM);
  assert.equal((await host.dmaRead(D1, IOVA, TEXT.length)).toString(), TEXT);

  const agent = await host.process({ name: 'agent' });
  const agentLu = await vmm.sendFd(lu, agent);
  const again = await vmm.createSession(lu, 'vm1');
  const held = await vmm.sendFd(again, agent);
  await vmm.preserve(again, memfd, 1);
  await vmm.preserve(again, iommufd, 2);
  await vmm.preserve(again, cdev, 3);
  await vmm.kill();
  assert.equal((await host.dmaRead(D1, IOVA, TEXT.length)).toString(), TEXT);
  const { resets } = await host.device(D1);
  const kinds = (await agent.view()).descriptors.map((descriptor) => descriptor.kind).sort();
  assert.deepEqual(kinds, ['liveupdate', 'session'], 'the agent has no descriptor of what is preserved');
  const another = await agent.createSession(agentLu, 'another');
  await expectErrno('EBADF', agent.preserve(another, 777, 1));

  await agent.close(held);
  const device = await host.device(D1);
  assert.equal(device.state, 'N');
  assert.equal(device.resets, resets + 1);
  assert.equal(device.domain.kind, 'default');
  await host.dmaFaults(D1, IOVA);
});
