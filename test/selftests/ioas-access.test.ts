/**
 * Fixture `iommufd_ioas` of the kernel's selftests: users inside the kernel, which pin, read and write through an IOAS.
 *
 * In part: access_pin and access_pin_unmap compare pages by their frames. Left out: access_domain_destory, see
 * ioas.test.ts.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { expectErrno, hex } from '../support/kernel-error.ts';
import { type Ioas, setUpIoas, VARIANTS } from './ioas-setup.ts';
import { APERTURE_START, BUFFER, BUFFER_BYTES, HALF, PAGE } from './mock.ts';

const app = useApp();

function testAccess(name: string, run: (fixture: Ioas) => Promise<void>): void {
  for (const variant of VARIANTS)
    test(`iommufd_ioas.${name} (${variant.name})`, async () => run(await setUpIoas(app, variant)));
}

async function createAccess({ mock, ioas }: Ioas, pin: boolean): Promise<number> {
  const { ret } = await mock.process.call('access_create', { fd: mock.iommufd, ioas, pin });
  return ret as number;
}

testAccess('access_pin', async (fixture) => {
  const { mock, ioas } = fixture;
  const { process, iommufd: fd } = mock;
  const access = await createAccess(fixture, true);
  for (let pages = 1; pages < BUFFER_BYTES / PAGE; pages++) {
    const length = pages * PAGE;
    await mock.mapFixed(ioas, BUFFER, length, APERTURE_START);
    const wanted = { fd, access, iova: hex(APERTURE_START), length, write: false, va: hex(BUFFER) };
    const first = (await process.call('access_pin', wanted)).ret;
    const second = (await process.call('access_pin', wanted)).ret;
    // A device comes and goes while the pages are pinned; it reaches the same ones.
    const device = await mock.attach(ioas);
    await mock.checkMap(device, APERTURE_START, BUFFER, length);
    await mock.remove(device);
    for (const pin of [first, second]) await process.call('access_unpin', { fd, access, pin });
    await mock.unmap(ioas, APERTURE_START, length);
  }
  await process.close(access);
});

testAccess('access_pin_unmap', async (fixture) => {
  const { mock, ioas } = fixture;
  const { process, iommufd: fd } = mock;
  const access = await createAccess(fixture, true);
  const length = 2 * PAGE;
  await mock.mapFixed(ioas, BUFFER, length, APERTURE_START);
  const wanted = { fd, access, iova: hex(APERTURE_START), length, write: false, va: hex(BUFFER) };
  const pin = (await process.call('access_pin', wanted)).ret;
  // The user is asked to let go, and does.
  await mock.unmap(ioas, APERTURE_START, length);
  await expectErrno('ENOENT', process.call('access_unpin', { fd, access, pin }));
  await process.close(access);
});

async function checkTransfer(fixture: Ioas, iova: number, length: number, marker: number): Promise<void> {
  const { process, iommufd: fd } = fixture.mock;
  const access = await createAccess(fixture, false);
  const bytes = Buffer.alloc(length, marker);
  const at = { fd, access, iova: hex(iova), length };
  const inMemory = { addr: hex(BUFFER + (iova - APERTURE_START)) };
  await process.call('poke', { ...inMemory, data: bytes.toString('base64') });
  const read = await process.call('access_rw', { ...at, write: false });
  assert.deepEqual(Buffer.from(read.data!, 'base64'), bytes, `read of ${length} bytes at ${hex(iova)}`);
  bytes.fill(marker + 1);
  await process.call('access_rw', { ...at, write: true, data: bytes.toString('base64') });
  const found = await process.call('peek', { ...inMemory, length });
  assert.deepEqual(Buffer.from(found.data!, 'base64'), bytes, `write of ${length} bytes at ${hex(iova)}`);
  await process.close(access);
}

testAccess('access_rw', async (fixture) => {
  await fixture.mock.mapFixed(fixture.ioas, BUFFER, BUFFER_BYTES, APERTURE_START);
  let marker = 1;
  // Few bytes around a page's border.
  for (let offset = PAGE - 2; offset <= PAGE + 1; offset++)
    for (const length of [1, 2, 3, 4]) await checkTransfer(fixture, APERTURE_START + offset, length, marker++);
  // Many bytes, over several pages.
  for (const length of [PAGE, PAGE + 1, 3 * PAGE + 17, BUFFER_BYTES])
    await checkTransfer(fixture, APERTURE_START, length, marker++);
});

testAccess('access_rw_unaligned', async (fixture) => {
  // The IOVA is off the memory's pages by half a page.
  const { mock, ioas } = fixture;
  const { process, iommufd: fd } = mock;
  await mock.mapFixed(ioas, BUFFER, BUFFER_BYTES, APERTURE_START + HALF);
  const access = await createAccess(fixture, false);
  for (const length of [HALF, PAGE, 2 * PAGE + 3]) {
    const bytes = Buffer.alloc(length, length % 251);
    const at = { fd, access, iova: hex(APERTURE_START + HALF), length };
    await process.call('access_rw', { ...at, write: true, data: bytes.toString('base64') });
    const found = await process.call('peek', { addr: hex(BUFFER), length });
    assert.deepEqual(Buffer.from(found.data!, 'base64'), bytes);
  }
});
