/** /dev/vfio/vfio, which is an iommufd that counts locked memory for each process. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, D2 } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';
import type { Process } from '../support/process.ts';
import { IOVA, RAM, TOKEN } from '../support/setups.ts';

const app = useApp();

const NODE = '/dev/vfio/vfio';

const linkOf = async (process: Process, fd: number) =>
  (await process.view()).descriptors.find((descriptor) => descriptor.fd === fd)?.link;

async function limitMode(process: Process, fd: number): Promise<unknown> {
  return (await process.ioctl(fd, 'IOMMU_OPTION', { option_id: 0, op: 1 })).val64;
}

test('a node of its own, opened again as one', async () => {
  const host = await app.host();
  const vmm = await host.process();
  const container = await vmm.open(NODE);
  assert.equal(await linkOf(vmm, container), NODE);
  assert.equal(await limitMode(vmm, container), '0x1');
  await vmm.ioctl(container, 'IOMMU_OPTION', { option_id: 0, op: 0, val64: 0 });
  const again = await vmm.open(`/proc/self/fd/${container}`);
  assert.equal(await linkOf(vmm, again), NODE);
  assert.deepEqual([await limitMode(vmm, container), await limitMode(vmm, again)], ['0x0', '0x1']);
  await vmm.allocIoas(container);
  assert.equal((await vmm.iommufd(again)).objects.length, 0);
});

test('nodes are opened again through /proc as by their paths', async () => {
  const host = await app.host();
  const vmm = await host.process();
  const iommufd = await vmm.open('/dev/iommu');
  assert.equal(await linkOf(vmm, await vmm.open(`/proc/self/fd/${iommufd}`)), '/dev/iommu');
  const cdev = await vmm.openCdev(D1);
  const other = await vmm.open(`/proc/self/fd/${cdev}`);
  await vmm.bind(other, iommufd);
  await expectErrno('EINVAL', vmm.ioctl(cdev, 'VFIO_DEVICE_GET_INFO'));
  const group = await vmm.open('/dev/vfio/1');
  await expectErrno('EBUSY', vmm.open(`/proc/self/fd/${group}`));
  await host.unbindDriver(D1);
  await expectErrno('ENXIO', vmm.open(`/proc/self/fd/${cdev}`));
});

test('two processes of one user: each has its own limit with the node, and they share it with /dev/iommu', async () => {
  for (const [path, errno] of [
    [NODE, null],
    ['/dev/iommu', 'ENOMEM'],
  ] as const) {
    const host = await app.host();
    const map = async (bdf: string) => {
      const vmm = await host.process();
      const iommufd = await vmm.open(path);
      const ioas = await vmm.allocIoas(iommufd);
      const cdev = await vmm.openCdev(bdf);
      await vmm.bind(cdev, iommufd);
      await vmm.attach(cdev, ioas);
      await vmm.call('setrlimit', { memlock: 0x4000 });
      await vmm.call('setuid', { uid: 1000 });
      await vmm.mmap(0x7f0000000000, 0x4000);
      await vmm.map(iommufd, ioas, 0, 0x7f0000000000, 0x4000);
    };
    await map(D1);
    if (errno) await expectErrno(errno, map(D2));
    else await map(D2);
  }
});

test('it is preserved as any iommufd; the next kernel gives an ordinary one back', async () => {
  const host = await app.host({ profile: 'persisted-domains' });
  const vmm = await host.process();
  const container = await vmm.open(NODE);
  const ioas = await vmm.allocIoas(container);
  const memfd = await vmm.sealedMemfd(RAM);
  await vmm.mapFile(container, ioas, IOVA, memfd, RAM);
  const cdev = await vmm.openCdev(D1);
  const device = await vmm.bind(cdev, container);
  const hwpt = await vmm.allocHwpt(container, device, ioas);
  await vmm.attach(cdev, hwpt);
  await vmm.mark(container, hwpt, TOKEN);
  const lu = await vmm.openLiveupdate();
  const session = await vmm.createSession(lu, 'vm1');
  for (const [fd, token] of [
    [memfd, 1],
    [container, 2],
    [cdev, 3],
  ] as const)
    await vmm.preserve(session, fd, token);
  await host.kexec();
  const next = await host.process();
  const retrieved = await next.retrieveSession(await next.openLiveupdate(), 'vm1');
  const iommufd = await next.retrieve(retrieved, 2);
  assert.equal(await linkOf(next, iommufd), 'anon_inode:iommufd');
  assert.equal(await limitMode(next, iommufd), '0x0');
});

test('a name of GET_DEVICE_FD: spaces may follow the address, anything else is no token', async () => {
  const host = await app.host();
  const vmm = await host.process();
  const group = await vmm.open('/dev/vfio/0');
  await vmm.ioctl(group, 'VFIO_GROUP_SET_CONTAINER', { container: await vmm.open(NODE) });
  const get = (name: string) => vmm.ioctl(group, 'VFIO_GROUP_GET_DEVICE_FD', { name });
  await get(`${D1}  `);
  await expectErrno('EINVAL', get(`${D1} vf_token=bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3`));
  for (const name of [`${D1}0`, `${D1}\t`, ` ${D1}`]) await expectErrno('ENODEV', get(name));
});
