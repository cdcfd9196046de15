/**
 * Fixture `vfio_compat_mock_domain` of the kernel's selftests: the requests of a VFIO container on an iommufd, as
 * TYPE1v2 and as TYPE1.
 *
 * In part: get_info and huge_map without huge memory of the test's own.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { hex } from '../support/kernel-error.ts';
import { APERTURE_LAST, APERTURE_START, BUFFER, BUFFER_BYTES, Mock, PAGE } from './mock.ts';

const app = useApp();

const VARIANTS = [
  { name: 'Ver1v2', type: 3 },
  { name: 'Ver1v0', type: 1 },
] as const;
const READ_WRITE = 3;
const UNMAP_ALL = 2;

type Variant = (typeof VARIANTS)[number];

async function setUp({ type }: Variant): Promise<{ mock: Mock; ioas: number }> {
  const mock = await Mock.open(app);
  const ioas = await mock.allocIoas();
  await mock.ask('IOMMU_VFIO_IOAS', { op: 1, ioas_id: ioas });
  await mock.attach(ioas);
  await mock.ask('VFIO_SET_IOMMU', { type });
  await mock.process.mmap(BUFFER, BUFFER_BYTES);
  return { mock, ioas };
}

function testCompat(name: string, run: (mock: Mock, ioas: number, variant: Variant) => Promise<void>): void {
  for (const variant of VARIANTS)
    test(`vfio_compat_mock_domain.${name} (${variant.name})`, async () => {
      const { mock, ioas } = await setUp(variant);
      await run(mock, ioas, variant);
    });
}

const map = (mock: Mock, iova: number, size: number, vaddr = BUFFER): Promise<unknown> =>
  mock.ask('VFIO_IOMMU_MAP_DMA', { flags: READ_WRITE, iova: hex(iova), size: hex(size), vaddr: hex(vaddr) });

const unmap = async (mock: Mock, iova: number, size: number): Promise<number> =>
  Number((await mock.ask('VFIO_IOMMU_UNMAP_DMA', { iova: hex(iova), size: hex(size) })).size);

testCompat('simple_close', async (mock) => {
  await mock.closeAll();
});

testCompat('option_huge_pages', async (mock, ioas, { type }) => {
  assert.equal(await mock.hugePages(ioas), type === 1 ? 0 : 1);
});

/** id, version, offset of the next one. */
function* capabilities(data: Buffer, first: number): Generator<{ id: number; at: number }> {
  for (let at = first - 24; at >= 0; ) {
    assert.ok(at + 8 <= data.length, 'the chain stays within the buffer');
    yield { id: data.readUInt16LE(at), at };
    const next = data.readUInt32LE(at + 4);
    if (next === 0) return;
    at = next - 24;
  }
}

testCompat('get_info', async (mock) => {
  const { argsz: whole } = (await mock.ask('VFIO_IOMMU_GET_INFO', { argsz: 24 })) as { argsz: number };
  for (let argsz = 24; argsz <= whole; argsz++) {
    const answer = await mock.ask('VFIO_IOMMU_GET_INFO', { argsz });
    assert.equal(answer.argsz, whole);
    const data = Buffer.from(String(answer.data ?? ''), 'base64');
    if (argsz < whole) assert.equal(answer.cap_offset, 0);
    if (answer.cap_offset === 0) continue;
    const found = [...capabilities(data, answer.cap_offset as number)];
    assert.deepEqual(found.map(({ id }) => id).sort(), [1, 3]);
    const { at } = found.find(({ id }) => id === 1)!;
    assert.equal(data.readUInt32LE(at + 8), 1);
    assert.equal(Number(data.readBigUInt64LE(at + 16)), APERTURE_START);
    assert.equal(Number(data.readBigUInt64LE(at + 24)), APERTURE_LAST);
  }
});

testCompat('map', async (mock) => {
  await map(mock, APERTURE_START, BUFFER_BYTES);
  assert.equal(await unmap(mock, APERTURE_START, BUFFER_BYTES), BUFFER_BYTES);
  assert.equal(await unmap(mock, APERTURE_START, BUFFER_BYTES), 0);

  await map(mock, APERTURE_START, BUFFER_BYTES);
  const all = { flags: UNMAP_ALL, iova: 0, size: 0 };
  await mock.refuses('EINVAL', 'VFIO_IOMMU_UNMAP_DMA', { ...all, iova: 1 });
  await mock.refuses('EINVAL', 'VFIO_IOMMU_UNMAP_DMA', { ...all, size: 1 });
  assert.equal(Number((await mock.ask('VFIO_IOMMU_UNMAP_DMA', all)).size), BUFFER_BYTES);
  assert.equal(Number((await mock.ask('VFIO_IOMMU_UNMAP_DMA', all)).size), 0);

  const pages = Array.from({ length: BUFFER_BYTES / PAGE }, (_, i) => i);
  for (const page of pages) await map(mock, APERTURE_START + page * PAGE, PAGE, BUFFER + page * PAGE);
  // 7 and 16 have no common divisor: every page comes once, in no order.
  for (const page of pages) {
    const iova = APERTURE_START + ((page * 7) % pages.length) * PAGE;
    assert.equal(await unmap(mock, iova, PAGE), PAGE);
  }
});

testCompat('huge_map', async (mock, _ioas, { type }) => {
  const size = 0x200000;
  const iova = APERTURE_START;
  const vaddr = BUFFER + size;
  await mock.process.mmap(vaddr, size);
  await map(mock, iova, size, vaddr);
  const piece = size / 8;
  const answers = [];
  for (let at = iova; at < iova + size; at += piece)
    answers.push(await mock.answer('VFIO_IOMMU_UNMAP_DMA', { iova: hex(at), size: hex(piece) }));
  for (const { errno, arg } of answers)
    assert.deepEqual([errno, arg!.size], type === 1 ? [undefined, hex(piece)] : ['ENOENT', '0x0']);
});
