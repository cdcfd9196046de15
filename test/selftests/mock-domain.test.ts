/**
 * Fixture `iommufd_mock_domain` of the kernel's selftests: what devices reach through an IOAS, of memory and of
 * files, in small and in huge pages, with one and with two devices.
 *
 * In part: basic without half-unmapped buffers of hugetlb memory (munmap cannot cut such a page); all_aligns with every
 * start and length for one device and small pages of the process, with some of them otherwise. Left out: ro_unshare, of
 * kernel internals only (copy-on-write of private file pages).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { expectErrno, hex } from '../support/kernel-error.ts';
import { HUGETLB } from '../support/process.ts';
import { APERTURE_START, BUFFER, FIXED, HALF, Mock, type MockDevice, mapArg, PAGE, READ_WRITE } from './mock.ts';

const app = useApp();

const HUGE = 0x200000;

interface Variant {
  name: string;
  devices: number;
  huge: boolean;
  file: boolean;
}

const VARIANTS: readonly Variant[] = [false, true].flatMap((file) =>
  [false, true].flatMap((huge) =>
    [1, 2].map((devices) => ({
      name: `${devices === 1 ? 'one' : 'two'}_domain${devices === 1 ? '' : 's'}${file ? '_file' : ''}${huge ? '_hugepage' : ''}`,
      devices,
      huge,
      file,
    })),
  ),
);

interface Fixture {
  mock: Mock;
  ioas: number;
  devices: MockDevice[];
  variant: Variant;
  /** Bytes of the buffer. */
  size: number;
  memfd: number;
}

async function setUp(variant: Variant): Promise<Fixture> {
  const mock = await Mock.open(app);
  const ioas = await mock.allocIoas();
  const devices: MockDevice[] = [];
  for (let i = 0; i < variant.devices; i++) devices.push(await mock.attach(ioas));
  const size = variant.huge ? HUGE : 8 * PAGE;
  const memfd = variant.file ? await mock.process.memfd(size, 2 | (variant.huge ? HUGETLB : 0)) : -1;
  if (variant.file)
    await mock.process.call('mmap', { addr: hex(BUFFER), length: size, fd: memfd, offset: 0, shared: true });
  else await mock.process.call('mmap', { addr: hex(BUFFER), length: size, ...(variant.huge && { huge: '2M' }) });
  return { mock, ioas, devices, variant, size, memfd };
}

function testDomain(
  name: string,
  run: (fixture: Fixture) => Promise<void>,
  variants: readonly Variant[] = VARIANTS,
): void {
  for (const variant of variants)
    test(`iommufd_mock_domain.${name} (${variant.name})`, async () => run(await setUp(variant)));
}

/** The buffer, or the same bytes of its file, at an IOVA; the request and its argument. */
function mapping(
  { ioas, variant, memfd }: Fixture,
  start: number,
  length: number,
  iova: number,
): [string, Record<string, unknown>] {
  if (!variant.file) return ['IOMMU_IOAS_MAP', mapArg(ioas, BUFFER + start, length, iova)];
  const arg = {
    flags: READ_WRITE | FIXED,
    ioas_id: ioas,
    fd: memfd,
    start: hex(start),
    length: hex(length),
    iova: hex(iova),
  };
  return ['IOMMU_IOAS_MAP_FILE', arg];
}

testDomain('basic', async (fixture) => {
  const { mock, ioas, devices, variant, size, memfd } = fixture;
  const { process } = mock;
  await mock.ask(...mapping(fixture, 0, size, APERTURE_START));
  for (const device of devices) await mock.checkMap(device, APERTURE_START, BUFFER, size);
  assert.equal(await mock.unmap(ioas, APERTURE_START, size), size);
  for (const device of devices) await mock.checkUnmapped(device, APERTURE_START, size);

  if (variant.file) {
    await mock.refuses('EINVAL', ...mapping(fixture, 0, size + PAGE, APERTURE_START));
    await process.truncate(memfd, 0);
    await mock.refuses('EINVAL', ...mapping(fixture, 0, size, APERTURE_START));
    return;
  }
  if (!variant.huge) {
    await process.call('munmap', { addr: hex(BUFFER + size / 2), length: size / 2 });
    await mock.refuses('EFAULT', ...mapping(fixture, 0, size, APERTURE_START));
  }
  await process.call('munmap', { addr: hex(BUFFER), length: size });
  await mock.refuses('EFAULT', ...mapping(fixture, 0, size, APERTURE_START));
});

/** Starts and lengths in eight pages, in steps of half a page; the huge variants in larger steps. */
function* pieces({ size, variant }: Fixture): Generator<[number, number]> {
  const step = variant.huge ? size / 8 - HALF : HALF;
  for (let start = 0; start < size; start += step)
    for (let end = start + step; end <= size; end += step) yield [start, end - start];
}

testDomain('all_aligns', async (fixture) => {
  const { mock, ioas, devices } = fixture;
  // All of them with one device and memory of the process, else some.
  const some = [...pieces(fixture)].filter(
    (_, index) => (devices.length === 1 && !fixture.variant.file) || index % 7 === 0,
  );
  for (const [start, length] of some) {
    // As far off a page's border as the memory is, so that pages may be whole.
    const iova = APERTURE_START + (start % PAGE);
    await mock.ask(...mapping(fixture, start, length, iova));
    for (const device of devices) await mock.checkMap(device, iova, BUFFER + start, length);
    assert.equal(await mock.unmap(ioas, iova, length), length);
  }
});

testDomain(
  'all_aligns_copy',
  async (fixture) => {
    const { mock, ioas, devices } = fixture;
    for (const [start, length] of [...pieces(fixture)].filter((_, index) => index % 9 === 0)) {
      await mock.ask(...mapping(fixture, start, length, APERTURE_START));
      // A device comes and goes; the memory is pinned once for all.
      const another = await mock.attach(ioas);
      for (const device of [...devices, another]) await mock.checkMap(device, APERTURE_START, BUFFER + start, length);
      await mock.remove(another);
      for (const device of devices) await mock.checkMap(device, APERTURE_START, BUFFER + start, length);
      await mock.unmap(ioas, APERTURE_START, length);
    }
    await mock.closeAll();
  },
  VARIANTS.filter(({ huge }) => !huge),
);

testDomain('user_copy', async (fixture) => {
  const { mock, ioas, devices, size } = fixture;
  const { process, iommufd: fd } = mock;
  const origin = await mock.allocIoas();
  await mock.ask(...mapping({ ...fixture, ioas: origin }, 0, size, APERTURE_START));
  const access = (await process.call('access_create', { fd, ioas: origin, pin: true })).ret;
  const pin = { fd, access, iova: hex(APERTURE_START), length: size, write: false };
  await process.call('access_pin', { ...pin, va: hex(BUFFER) });
  const copy = { flags: READ_WRITE | FIXED, src_ioas_id: origin, src_iova: hex(APERTURE_START), length: size };
  await mock.ask('IOMMU_IOAS_COPY', { ...copy, dst_ioas_id: ioas, dst_iova: hex(APERTURE_START) });
  for (const device of devices) await mock.checkMap(device, APERTURE_START, BUFFER, size);

  // The access goes over to the other IOAS: the first is free then.
  await mock.destroyRefused('EBUSY', origin);
  await process.call('access_replace', { fd, access, ioas });
  await process.call('access_pin', { ...pin, va: hex(BUFFER) });
  await mock.destroy(origin);
  await mock.destroyRefused('EBUSY', ioas);
  await process.close(access as number);
  await mock.closeAll();
});

testDomain(
  'replace',
  async ({ mock, ioas, devices }) => {
    const other = await mock.allocIoas();
    const [first, second] = devices as [MockDevice, MockDevice?];
    const moved = await mock.replace(first, other);
    // The automatic HWPT went with its last device.
    if (!second) await mock.replaceRefused('ENOENT', first, first.hwpt);
    assert.equal(await mock.replace(first, other), moved);
    if (second) {
      // Both were on one HWPT, which is there as long as one of them is.
      assert.equal(await mock.replace(first, second.hwpt), second.hwpt);
      assert.equal(await mock.replace(second, second.hwpt), second.hwpt);
      assert.equal(await mock.replace(first, ioas), second.hwpt);
    }
    await mock.replace(first, ioas);
    await mock.destroy(other);
  },
  VARIANTS.filter(({ huge, file }) => !huge && !file),
);

testDomain(
  'alloc_hwpt',
  async ({ mock, ioas, devices }) => {
    for (const device of devices) {
      await mock.hwptRefused('EOPNOTSUPP', device.id, ioas, 0x40000000);
      const [first, second] = [await mock.allocHwpt(device.id, ioas), await mock.allocHwpt(device.id, ioas)];
      for (const hwpt of [first, second, first]) {
        assert.equal(await mock.replace(device, hwpt), hwpt);
        await mock.destroyRefused('EBUSY', hwpt);
      }
      await mock.replace(device, ioas);
      await mock.destroy(first);
      // A new device may come to a HWPT that was made by hand.
      const another = await mock.attach(second);
      assert.equal(another.hwpt, second);
      await mock.destroyRefused('EBUSY', second);
      await mock.remove(another);
      await mock.destroy(second);
      await expectErrno('ENOENT', mock.destroy(second));
    }
  },
  VARIANTS.filter(({ huge, file }) => !huge && !file),
);
