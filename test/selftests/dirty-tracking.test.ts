/**
 * Fixture `iommufd_dirty_tracking` of the kernel's selftests: which pages devices have written.
 *
 * In part: get_dirty_bitmap without bitmaps at odd addresses (the answer is the bitmap itself here). The variants
 * from 64 MiB on mark one page of many instead of every second one.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { hex } from '../support/kernel-error.ts';
import {
  APERTURE_START,
  BUFFER,
  DATA_SELFTEST,
  DIRTY_TRACKING,
  HW_INFO,
  Mock,
  type MockDevice,
  mapArg,
  PAGE,
  PASID,
  words,
} from './mock.ts';

const app = useApp();

const MIB = 0x100000;
/** The larger page of the mock's other kind of page table. */
const HUGE_LEAF = MIB;
const NO_CLEAR = 1;

interface Variant {
  name: string;
  size: number;
  huge: boolean;
}

const SMALL = ([8, 16, 64, 128, 320] as const).map((kib) => ({ name: `${kib}k`, size: kib * 1024, huge: false }));
const LARGE = [64, 128].flatMap((mib) =>
  [false, true].map((huge) => ({ name: `${mib}M${huge ? '_huge' : ''}`, size: mib * MIB, huge })),
);
const VARIANTS: readonly Variant[] = [...SMALL, ...LARGE];

interface Fixture {
  mock: Mock;
  ioas: number;
  device: MockDevice;
  hwpt: number;
}

/** A HWPT that can track, with the buffer mapped and a device on it. */
async function setUp({ size, huge }: Variant): Promise<Fixture> {
  const mock = await Mock.open(app);
  const { process } = mock;
  const ioas = await mock.allocIoas();
  const before = await mock.attach(ioas);
  if (!huge) await mock.setHugePages(ioas, 0);
  await process.call('mmap', { addr: hex(BUFFER), length: size, ...(huge && { huge: '2M' }) });
  const table = huge ? { data_type: DATA_SELFTEST, data_len: 8, data: words(0, 1) } : {};
  const hwpt = await mock.allocHwpt(before.id, ioas, DIRTY_TRACKING, table);
  await mock.remove(before);
  const device = await mock.attach(hwpt);
  await mock.ask('IOMMU_IOAS_MAP', mapArg(ioas, BUFFER, size, APERTURE_START));
  return { mock, ioas, device, hwpt };
}

const track = ({ mock, hwpt }: Fixture, on: boolean): Promise<unknown> =>
  mock.ask('IOMMU_HWPT_SET_DIRTY_TRACKING', { hwpt_id: hwpt, flags: on ? 1 : 0 });

const [FIRST] = VARIANTS as [Variant];

test('iommufd_dirty_tracking.enforce_dirty', async () => {
  const { mock, ioas, device, hwpt } = await setUp(FIRST);
  await mock.attachRefused('EINVAL', hwpt, { noDirty: true });
  const noDirty = await mock.attach(ioas, { noDirty: true });
  await mock.hwptRefused('EOPNOTSUPP', noDirty.id, ioas, DIRTY_TRACKING);
  await mock.remove(device);
  await mock.destroy(hwpt);
});

test('iommufd_dirty_tracking.set_dirty_tracking', async () => {
  const fixture = await setUp(FIRST);
  await track(fixture, true);
  await track(fixture, false);
});

test('iommufd_dirty_tracking.pasid_set_dirty_tracking', async () => {
  const { mock, ioas, device } = await setUp(FIRST);
  const hwpt = await mock.allocHwpt(device.id, ioas, DIRTY_TRACKING | PASID);
  const pasids = await mock.attach(hwpt, { pasid: true });
  const pasid = { flags: 1, pasid: 100, size: 16 };
  await mock.process.ioctl(pasids.cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { ...pasid, pt_id: hwpt });
  for (const flags of [1, 0]) await mock.ask('IOMMU_HWPT_SET_DIRTY_TRACKING', { hwpt_id: hwpt, flags });
  await mock.process.ioctl(pasids.cdev, 'VFIO_DEVICE_DETACH_IOMMUFD_PT', { flags: 1, pasid: 100, size: 12 });
  await mock.attachRefused('EINVAL', hwpt, { noDirty: true, pasid: true });
});

test('iommufd_dirty_tracking.device_dirty_capability', async () => {
  const { mock, ioas, device } = await setUp(FIRST);
  const capabilities = async ({ id }: MockDevice): Promise<bigint> =>
    BigInt(
      String((await mock.ask('IOMMU_GET_HW_INFO', { dev_id: id, data_len: HW_INFO.bytes.length })).out_capabilities),
    );
  assert.equal((await capabilities(device)) & 1n, 1n);
  assert.equal((await capabilities(await mock.attach(ioas, { noDirty: true }))) & 1n, 0n);
});

/** Pages that are written: every second one, or few of many. */
function chosen({ size }: Variant): number[] {
  const step = size >= MIB ? 97 : 2;
  return Array.from({ length: Math.ceil(size / PAGE / step) }, (_, i) => i * step);
}

async function write({ mock, device }: Fixture, pages: readonly number[]): Promise<void> {
  const accesses = pages.map((page) => ({ op: 'write', iova: hex(APERTURE_START + page * PAGE), length: 1 }));
  const { results } = (await mock.host.request('post', `/devices/${device.bdf}/dma`, { accesses })) as {
    results: { ok: boolean }[];
  };
  assert.ok(results.every(({ ok }) => ok));
}

async function bitmap({ mock, hwpt }: Fixture, { size }: Variant, flags = 0): Promise<number[]> {
  const range = { iova: hex(APERTURE_START), length: hex(size), page_size: PAGE };
  const { data } = await mock.ask('IOMMU_HWPT_GET_DIRTY_BITMAP', { hwpt_id: hwpt, flags, ...range });
  const bytes = Buffer.from(String(data), 'base64');
  return Array.from({ length: size / PAGE }, (_, page) => page).filter((page) => bytes[page >> 3]! & (1 << (page & 7)));
}

/** With huge leaves a write marks all pages of its leaf. */
function expected(variant: Variant): number[] {
  if (!variant.huge) return chosen(variant);
  const perLeaf = HUGE_LEAF / PAGE;
  const leaves = [...new Set(chosen(variant).map((page) => Math.floor(page / perLeaf)))];
  return leaves.flatMap((leaf) => Array.from({ length: perLeaf }, (_, i) => leaf * perLeaf + i));
}

for (const variant of VARIANTS) {
  test(`iommufd_dirty_tracking.get_dirty_bitmap (${variant.name})`, async () => {
    const fixture = await setUp(variant);
    await track(fixture, true);
    await write(fixture, chosen(variant));
    assert.deepEqual(await bitmap(fixture, variant), expected(variant));
    assert.deepEqual(await bitmap(fixture, variant), []);
  });

  test(`iommufd_dirty_tracking.get_dirty_bitmap_no_clear (${variant.name})`, async () => {
    const fixture = await setUp(variant);
    await track(fixture, true);
    await write(fixture, chosen(variant));
    for (const flags of [NO_CLEAR, NO_CLEAR, 0])
      assert.deepEqual(await bitmap(fixture, variant, flags), expected(variant));
    assert.deepEqual(await bitmap(fixture, variant), []);
  });
}
