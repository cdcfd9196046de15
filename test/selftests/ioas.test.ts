/**
 * Fixture `iommufd_ioas` of the kernel's selftests: areas, chosen IOVAs, ranges, options. What needs nesting,
 * accesses or several processes is in ioas-nested.test.ts, ioas-access.test.ts and ioas-fork.test.ts.
 *
 * Left out:
 * - variant mock_domain_limit: an internal batch of the kernel is made small, which nothing outside can see;
 * - dmabuf_simple, dmabuf_revoke: hosts have no dmabufs;
 * - access_domain_destory: of kernel internals only (a page table that is freed under a pinned huge page).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { hex } from '../support/kernel-error.ts';
import { type Ioas, setUpIoas, VARIANTS } from './ioas-setup.ts';
import {
  APERTURE_LAST,
  APERTURE_START,
  allowArg,
  BUFFER,
  BUFFER_BYTES,
  FIXED,
  HALF,
  HW_INFO,
  PAGE,
  READ_WRITE,
  UMAX,
} from './mock.ts';

const app = useApp();

/** One test for each variant, or for those of these names. */
function testIoas(name: string, run: (fixture: Ioas) => Promise<void>, only?: readonly string[]): void {
  for (const variant of VARIANTS)
    if (!only || only.includes(variant.name))
      test(`iommufd_ioas.${name} (${variant.name})`, async () => run(await setUpIoas(app, variant)));
}

testIoas('ioas_auto_destroy', async ({ mock }) => {
  await mock.closeAll();
});

testIoas('ioas_destroy', async ({ mock, ioas, devices }) => {
  if (devices.length > 0) await mock.destroyRefused('EBUSY', ioas);
  else await mock.destroy(ioas);
});

testIoas('hwpt_attach', async ({ mock, devices }) => {
  // A device goes straight to a HWPT that there is.
  const [device] = devices;
  if (device) assert.equal((await mock.attach(device.hwpt)).hwpt, device.hwpt);
  await mock.attachRefused('ENOENT', 9999);
});

testIoas('ioas_area_destroy', async ({ mock, ioas, devices, base }) => {
  await mock.mapFixed(ioas, BUFFER, PAGE, base);
  if (devices.length > 0) await mock.destroyRefused('EBUSY', ioas);
  else await mock.destroy(ioas);
});

testIoas('ioas_area_auto_destroy', async ({ mock, ioas, base }) => {
  for (let i = 0; i < 10; i++) await mock.mapFixed(ioas, BUFFER, PAGE, base + i * PAGE);
  await mock.closeAll();
});

testIoas('get_hw_info', async ({ mock, ioas, devices, pasidDevice }) => {
  const [device] = devices;
  if (!device) {
    await mock.refuses('ENOENT', 'IOMMU_GET_HW_INFO', { dev_id: ioas });
    return;
  }
  const { length } = HW_INFO.bytes;
  for (const room of [0, length, length + 8, length - 1]) {
    const answer = await mock.ask('IOMMU_GET_HW_INFO', { dev_id: device.id, data_len: room });
    assert.equal(answer.data_len, length);
    assert.equal(answer.out_data_type, HW_INFO.type);
    assert.equal(answer.out_max_pasid_log2, 0);
    const whole = Buffer.concat([HW_INFO.bytes, Buffer.alloc(8)]);
    assert.deepEqual(Buffer.from(String(answer.data), 'base64'), whole.subarray(0, room), `room for ${room} bytes`);
  }
  await mock.refuses('EOPNOTSUPP', 'IOMMU_GET_HW_INFO', { flags: 1, in_data_type: 0xdead, dev_id: device.id });
  if (pasidDevice)
    assert.equal((await mock.ask('IOMMU_GET_HW_INFO', { dev_id: pasidDevice.id })).out_max_pasid_log2, 20);
});

testIoas('area', async ({ mock, ioas, base }) => {
  for (let i = 0; i < 10; i++) await mock.unmapRefused('ENOENT', ioas, base + i * PAGE, PAGE);
  for (let i = 0; i < 10; i++) await mock.mapFixed(ioas, BUFFER, PAGE, base + i * PAGE);
  for (let i = 0; i < 10; i++) assert.equal(await mock.unmap(ioas, base + i * PAGE, PAGE), PAGE);

  await mock.mapFixed(ioas, BUFFER, 2 * PAGE, base + 16 * PAGE);
  await mock.unmapRefused('ENOENT', ioas, base + 16 * PAGE, PAGE);
  await mock.unmapRefused('ENOENT', ioas, base + 17 * PAGE, PAGE);
  assert.equal(await mock.unmap(ioas, base + 16 * PAGE, 2 * PAGE), 2 * PAGE);

  await mock.mapFixed(ioas, BUFFER, 3 * PAGE, base + 16 * PAGE);
  for (const [first, pages] of [
    [15, 2],
    [16, 1],
    [17, 1],
    [18, 2],
    [15, 5],
  ] as const)
    await mock.mapFixedRefused('EEXIST', ioas, BUFFER, pages * PAGE, base + first * PAGE);

  assert.equal(await mock.unmapAll(ioas), 3 * PAGE);
  assert.equal(await mock.unmapAll(ioas), 0);
});

testIoas('unmap_fully_contained_areas', async ({ mock, ioas, base }) => {
  for (let i = 0; i < 4; i++) await mock.mapFixed(ioas, BUFFER, 8 * PAGE, base + i * 16 * PAGE);
  await mock.unmapRefused('ENOENT', ioas, base + PAGE, (48 + 8 - 1) * PAGE);
  await mock.unmapRefused('ENOENT', ioas, base + 16 * PAGE, (32 + 4) * PAGE);
  // What lay before the area that was cut is gone, as in the call before it.
  for (const i of [1, 2]) await mock.mapFixed(ioas, BUFFER, 8 * PAGE, base + i * 16 * PAGE);
  assert.equal(await mock.unmap(ioas, base, (48 + 8) * PAGE), 32 * PAGE);
});

testIoas('area_auto_iova', async ({ mock, ioas, base }) => {
  const iovas: number[] = [];
  for (let i = 0; i < 10; i++) iovas.push(await mock.map(ioas, BUFFER, PAGE * (i + 1)));
  for (const [i, iova] of iovas.entries()) assert.equal(await mock.unmap(ioas, iova, PAGE * (i + 1)), PAGE * (i + 1));

  const lowestBit = (value: number): number => value & -value;
  const mapAligned = async (check: (iova: number, length: number) => void): Promise<void> => {
    const found: [number, number][] = [];
    for (let i = 0; i < 10; i++) {
      const length = PAGE * (i + 1);
      const iova = await mock.map(ioas, BUFFER, length);
      assert.equal(iova % lowestBit(length), 0, `${hex(iova)} for ${length} bytes`);
      check(iova, length);
      found.push([iova, length]);
    }
    for (const [iova, length] of found) await mock.unmap(ioas, iova, length);
  };
  await mapAligned(() => {});

  // A reserved range is not used.
  const reserved = [base + PAGE, base + 100 * PAGE - 1] as const;
  assert.equal(await mock.reserve(ioas, reserved[0], reserved[1] + 1 - reserved[0]), null);
  await mapAligned((iova, length) => assert.ok(iova > reserved[1] || iova + length <= reserved[0]));

  // An allowed list lies elsewhere; all comes from it.
  await mock.refuses('EADDRINUSE', 'IOMMU_IOAS_ALLOW_IOVAS', allowArg(ioas, [reserved]));
  const ranges = [
    [base + 0x200000, base + 0x200000 + PAGE * 2 - 1],
    [base + 0x240000, base + 0x240000 + 128 * PAGE - 1],
  ] as const;
  await mock.allowIovas(ioas, ranges);
  await mapAligned((iova, length) =>
    assert.ok(
      ranges.some(([start, last]) => iova >= start && iova + length - 1 <= last),
      `${hex(iova)} is allowed`,
    ),
  );
});

testIoas('reserved_overflow', async ({ mock, ioas, devices }) => {
  // From 6 nearly to the end of the address space; with a device, up to the aperture.
  const [start, length] =
    devices.length > 0 ? [APERTURE_START, APERTURE_LAST + 1 - APERTURE_START] : [6, '0xffffffffffff8001'];
  assert.equal(await mock.reserve(ioas, start, length), null);
  await mock.mapRefused('ENOSPC', ioas, BUFFER, 0x5000);
});

testIoas('area_allowed', async ({ mock, ioas, base }) => {
  const range = [base + PAGE * 4, base + PAGE * 100 - 1] as const;
  await mock.allowIovas(ioas, [range]);
  assert.equal(await mock.reserve(ioas, range[0], PAGE), 'EADDRINUSE');
  await mock.allowIovas(ioas, []);
  assert.equal(await mock.reserve(ioas, range[0], PAGE), null);
  await mock.refuses('EADDRINUSE', 'IOMMU_IOAS_ALLOW_IOVAS', allowArg(ioas, [range]));
});

testIoas('copy_area', async ({ mock, ioas, base }) => {
  await mock.mapFixed(ioas, BUFFER, PAGE, base);
  const copy = { flags: READ_WRITE | FIXED, src_ioas_id: ioas, src_iova: hex(base), length: PAGE };
  await mock.ask('IOMMU_IOAS_COPY', { ...copy, dst_ioas_id: ioas, dst_iova: hex(base + PAGE) });
  const fresh = await mock.allocIoas();
  const { dst_iova } = await mock.ask('IOMMU_IOAS_COPY', { ...copy, dst_ioas_id: fresh, dst_iova: 0 });
  assert.equal(dst_iova, '0x0');
});

testIoas('iova_ranges', async ({ mock, ioas, devices }) => {
  const withDevice = devices.length > 0;
  const [start, last] = withDevice ? [hex(APERTURE_START), hex(APERTURE_LAST)] : ['0x0', UMAX];
  const ask = (num_iovas: number) => mock.answer('IOMMU_IOAS_IOVA_RANGES', { ioas_id: ioas, num_iovas });
  const out_iova_alignment = hex(withDevice ? HALF : 1);
  const whole = { num_iovas: 1, allowed_iovas: [{ start, last }], out_iova_alignment };
  assert.deepEqual((await ask(1)).arg, whole);

  const none = await ask(0);
  assert.deepEqual([none.errno, none.arg], ['EMSGSIZE', { num_iovas: 1, allowed_iovas: [], out_iova_alignment }]);

  assert.equal(await mock.reserve(ioas, PAGE, PAGE), null);
  if (withDevice) {
    // It lies outside the aperture.
    assert.deepEqual((await ask(2)).arg, whole);
    return;
  }
  const [low, high] = [
    { start: '0x0', last: hex(PAGE - 1) },
    { start: hex(2 * PAGE), last: UMAX },
  ];
  assert.deepEqual((await ask(2)).arg, { num_iovas: 2, allowed_iovas: [low, high], out_iova_alignment });
  const one = await ask(1);
  assert.deepEqual([one.errno, one.arg], ['EMSGSIZE', { num_iovas: 2, allowed_iovas: [low], out_iova_alignment }]);
});

testIoas('ioas_option_huge_pages', async ({ mock, ioas }) => {
  assert.equal(await mock.hugePages(ioas), 1);
  await mock.setHugePages(ioas, 0);
  assert.equal(await mock.hugePages(ioas), 0);
  await mock.refuses('EINVAL', 'IOMMU_OPTION', { option_id: 1, op: 0, object_id: ioas, val64: 2 });
  await mock.setHugePages(ioas, 1);
});

testIoas('ioas_iova_alloc', async ({ mock, ioas, devices }) => {
  for (let length = 1; length < 2 * PAGE; length += 1 + (length % 7 === 0 ? 100 : 36)) {
    if (devices.length > 0 && length % HALF !== 0) await mock.mapRefused('EINVAL', ioas, BUFFER, length);
    else await mock.unmap(ioas, await mock.map(ioas, BUFFER, length), length);
  }
  for (const length of [HALF, PAGE, PAGE + HALF]) await mock.map(ioas, BUFFER, length);
});

testIoas(
  'ioas_align_change',
  async ({ mock, ioas }) => {
    // The default alignment is 1; with huge pages off it is a page.
    await mock.mapFixed(ioas, BUFFER, PAGE, APERTURE_START);
    await mock.setHugePages(ioas, 0);
    await mock.mapRefused('EINVAL', ioas, BUFFER + HALF, PAGE);
    await mock.setHugePages(ioas, 0);
    await mock.setHugePages(ioas, 1);
    await mock.mapFixed(ioas, BUFFER + HALF, PAGE, APERTURE_START + PAGE);
    await mock.refuses('EADDRINUSE', 'IOMMU_OPTION', { option_id: 1, op: 0, object_id: ioas, val64: 0 });
  },
  ['no_domain'],
);

testIoas('copy_sweep', async ({ mock, ioas }) => {
  const destination = await mock.allocIoas();
  const mapped = APERTURE_START;
  const last = mapped + BUFFER_BYTES - 1;
  await mock.mapFixed(ioas, BUFFER, BUFFER_BYTES, mapped);
  const ioctl = (request: string, arg: Record<string, unknown>) => ({ call: 'ioctl', fd: mock.iommufd, request, arg });
  for (let iova = mapped - PAGE; iova < last + PAGE; iova += 511) {
    const [copied, unmapped] = await mock.calls([
      ioctl('IOMMU_IOAS_COPY', {
        flags: READ_WRITE | FIXED,
        dst_ioas_id: destination,
        src_ioas_id: ioas,
        dst_iova: hex(APERTURE_START),
        src_iova: hex(iova),
        length: HALF,
      }),
      ioctl('IOMMU_IOAS_UNMAP', { ioas_id: destination, iova: hex(APERTURE_START), length: HALF }),
    ]);
    const inside = iova >= mapped && iova + HALF - 1 <= last;
    assert.equal(copied!.errno, inside ? undefined : 'ENOENT', `from ${hex(iova)}`);
    assert.equal(unmapped!.errno, inside ? undefined : 'ENOENT');
  }
});
