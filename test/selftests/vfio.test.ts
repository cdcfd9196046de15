/**
 * The selftests of VFIO that an iommufd takes part in (tools/testing/selftests/vfio): vfio_iommufd_setup_test.c and
 * vfio_dma_mapping_test.c.
 *
 * In part: dma_map_unmap without a look at the page tables in debugfs; what the device reaches is asked instead.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, type Host } from '../support/client.ts';
import { expectErrno, hex } from '../support/kernel-error.ts';
import type { Process } from '../support/process.ts';
import { BUFFER, FIXED, PAGE, READ_WRITE } from './mock.ts';

const app = useApp();

interface Cdev {
  host: Host;
  process: Process;
  cdev: number;
  iommufd: number;
}

async function setUp(): Promise<Cdev> {
  const host = await app.host({ profile: 'linux-7.3' });
  const process = await host.process();
  return { host, process, cdev: await process.openCdev(D1), iommufd: await process.open('/dev/iommu') };
}

test('vfio_cdev.bind', async () => {
  const { process, cdev, iommufd } = await setUp();
  await process.bind(cdev, iommufd);
  await process.ioctl(cdev, 'VFIO_DEVICE_GET_INFO');
});

test('vfio_cdev.get_info_without_bind_fails', async () => {
  const { process, cdev } = await setUp();
  await expectErrno('EINVAL', process.ioctl(cdev, 'VFIO_DEVICE_GET_INFO'));
});

test('vfio_cdev.bind_bad_iommufd_fails', async () => {
  const { process, cdev } = await setUp();
  await expectErrno('EINVAL', process.bind(cdev, -2));
});

test('vfio_cdev.repeated_bind_fails', async () => {
  const { process, cdev, iommufd } = await setUp();
  await process.bind(cdev, iommufd);
  await expectErrno('EINVAL', process.bind(cdev, iommufd));
});

test('vfio_cdev.attach_detatch_pt', async () => {
  const { process, cdev, iommufd } = await setUp();
  await process.bind(cdev, iommufd);
  await process.attach(cdev, await process.allocIoas(iommufd));
  await process.detach(cdev);
});

test('vfio_cdev.attach_invalid_pt_fails', async () => {
  const { process, cdev, iommufd } = await setUp();
  await process.bind(cdev, iommufd);
  await expectErrno('ENOENT', process.attach(cdev, 0xffffffff));
});

async function setUpMapping(): Promise<Cdev & { ioas: number }> {
  const fixture = await setUp();
  const { process, cdev, iommufd } = fixture;
  await process.bind(cdev, iommufd);
  const ioas = await process.allocIoas(iommufd);
  await process.attach(cdev, ioas);
  return { ...fixture, ioas };
}

const SIZES = [
  ['page', PAGE, undefined],
  ['two pages', 2 * PAGE, undefined],
  ['2 MiB', 0x200000, '2M'],
] as const;

for (const [name, length, huge] of SIZES)
  test(`vfio_dma_mapping_test.dma_map_unmap (${name})`, async () => {
    const { host, process, iommufd, ioas } = await setUpMapping();
    const iova = 0x40000000;
    await process.call('mmap', { addr: hex(BUFFER), length, ...(huge && { huge }) });
    await process.map(iommufd, ioas, iova, BUFFER, length);
    await process.call('poke', { addr: hex(BUFFER + length - 1), data: Buffer.from('!').toString('base64') });
    assert.equal((await host.dmaRead(D1, iova + length - 1, 1)).toString(), '!');
    const unmapped = await process.ioctl(iommufd, 'IOMMU_IOAS_UNMAP', { ioas_id: ioas, iova: hex(iova), length });
    assert.equal(Number(unmapped.length), length);
    await host.dmaFaults(D1, iova);
    const again = process.ioctl(iommufd, 'IOMMU_IOAS_UNMAP', { ioas_id: ioas, iova: hex(iova), length });
    await expectErrno('ENOENT', again);
  });

/** The last page of the last range. */
async function lastPage({ process, iommufd, ioas }: Cdev & { ioas: number }): Promise<bigint> {
  const arg = { ioas_id: ioas, num_iovas: 100 };
  const { allowed_iovas } = (await process.ioctl(iommufd, 'IOMMU_IOAS_IOVA_RANGES', arg)) as {
    allowed_iovas: { last: string }[];
  };
  return BigInt(allowed_iovas.at(-1)!.last) + 1n - BigInt(PAGE);
}

for (const [name, whole] of [
  ['unmap_range', false],
  ['unmap_all', true],
] as const)
  test(`vfio_dma_map_limit_test.${name}`, async () => {
    const fixture = await setUpMapping();
    const { process, iommufd, ioas } = fixture;
    const iova = await lastPage(fixture);
    await process.mmap(BUFFER, PAGE);
    const arg = { flags: READ_WRITE | FIXED, ioas_id: ioas, user_va: hex(BUFFER), length: PAGE, iova: hex(iova) };
    await process.ioctl(iommufd, 'IOMMU_IOAS_MAP', arg);
    const range = whole ? { iova: 0, length: '0xffffffffffffffff' } : { iova: hex(iova), length: PAGE };
    const unmapped = await process.ioctl(iommufd, 'IOMMU_IOAS_UNMAP', { ioas_id: ioas, ...range });
    assert.equal(Number(unmapped.length), PAGE);
  });

test('vfio_dma_map_limit_test.overflow', async () => {
  const { process, iommufd, ioas } = await setUpMapping();
  const range = { ioas_id: ioas, iova: hex(2n ** 64n - BigInt(PAGE)), length: 2 * PAGE };
  await process.mmap(BUFFER, 2 * PAGE);
  const arg = { flags: READ_WRITE | FIXED, user_va: hex(BUFFER), ...range };
  await expectErrno('EOVERFLOW', process.ioctl(iommufd, 'IOMMU_IOAS_MAP', arg));
  await expectErrno('EOVERFLOW', process.ioctl(iommufd, 'IOMMU_IOAS_UNMAP', range));
});
