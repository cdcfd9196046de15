/** A machine without an IOMMU: no groups, no vfio-pci, and DMA that goes to memory as it is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, D2, type Host } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';

const app = useApp();
const machine = () => app.host({ iommus: [], devices: [{ bdf: D1 }, { bdf: D2, driver: 'nvme' }] });

/** The physical address of the first page of a process's memory. */
async function physical(host: Host, pid: number): Promise<number> {
  const { items } = (await host.request('get', `/processes/${pid}/memory-map?address=0x10000000&length=0x1000`)) as {
    items: { physical: string }[];
  };
  return Number(items[0]!.physical);
}

test('its functions have neither group nor unit; kernel drivers take them, vfio-pci does not', async () => {
  const host = await machine();
  const device = await host.device(D1);
  assert.deepEqual([device.group, device.iommu, device.iommuKind], [null, null, null]);
  assert.deepEqual(device.domain, { kind: 'none', id: null, restored: false });
  assert.equal((await host.device(D2)).driver, 'nvme');
  assert.deepEqual(await host.request('get', '/groups'), { items: [], nextPageToken: null });
  await expectErrno('EINVAL', host.bindDriver(D1, 'vfio-pci'));
  assert.equal((await host.device(D1)).driver, null);
  assert.equal((await host.bindDriver(D1, 'nvme')).driver, 'nvme');
  await host.unbindDriver(D1);
  const plugged = (await host.request('post', '/devices', { bdf: '0000:09:00.0', driver: 'nvme' })) as { group: null };
  assert.equal(plugged.group, null);
  await host.unbindDriver('0000:09:00.0');
  await host.request('delete', '/devices/0000:09:00.0');
});

test('there is an iommufd, but no device to bind', async () => {
  const host = await machine();
  const vmm = await host.process();
  const iommufd = await vmm.open('/dev/iommu');
  assert.ok((await vmm.allocIoas(iommufd)) > 0);
  await expectErrno('ENOENT', vmm.open('/dev/vfio/devices/vfio0'));
  await expectErrno('ENOENT', vmm.open('/dev/vfio/0'));
});

test('DMA goes to physical memory, and through a live update it goes on to do so', async () => {
  const host = await machine();
  const vmm = await host.process();
  const memfd = await vmm.sealedMemfd(0x2000);
  await vmm.write(memfd, 0, 'what the guest has');
  await vmm.call('mmap', { addr: '0x10000000', length: 0x1000, fd: memfd, shared: true });
  const address = await physical(host, vmm.pid);
  assert.equal((await host.dmaRead(D1, address, 18)).toString(), 'what the guest has');
  await host.dmaWrite(D1, address, 'what the drive');
  assert.equal(await vmm.read(memfd, 0, 18), 'what the drive has');
  const translation = (await host.request('get', `/devices/${D1}/translation?iova=${address}&length=0x1000`)) as {
    items: { address: string; physical: string; length: string }[];
  };
  assert.deepEqual(
    translation.items.map((run) => [Number(run.address), Number(run.physical), Number(run.length)]),
    [[address, address, 0x1000]],
  );
  await host.dmaFaults(D1, 0x400000000);

  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm');
  await vmm.preserve(session, memfd, 1);
  assert.equal((await host.kexec()).kernel, 2);
  const next = await host.process();
  const incoming = await next.retrieveSession(await next.openLiveupdate(), 'vm');
  const ram = await next.retrieve(incoming, 1);
  assert.equal(await next.read(ram, 0, 18), 'what the drive has');
  assert.equal((await host.dmaRead(D2, address, 18)).toString(), 'what the drive has');
  const cursor = await host.cursor();
  await host.dmaWrite(D2, address + 0x100000000, 'stray');
  assert.equal((await host.hazards(cursor)).length, 1);
  await host.crash();
  await host.powerCycle();
  assert.equal((await host.device(D1)).group, null);
});
