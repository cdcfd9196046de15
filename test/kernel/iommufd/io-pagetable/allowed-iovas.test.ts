/** The allowed ranges of an IOAS: any two of them that overlap are found, and very many of them are taken at once. */
import assert from 'node:assert/strict';
import { cpuUsage } from 'node:process';
import { test } from 'node:test';
import { useApp } from '../../../support/app.ts';
import type { Process } from '../../../support/process.ts';

const app = useApp();
const IOAS = 1;
const STEP = 0x2000;

async function anIommufd(): Promise<{ process: Process; fd: number }> {
  const process = await (await app.host()).process();
  const fd = await process.open('/dev/iommu');
  await process.ioctl(fd, 'IOMMU_IOAS_ALLOC');
  return { process, fd };
}

const allow = (starts: readonly number[]) => ({
  request: 'IOMMU_IOAS_ALLOW_IOVAS',
  arg: {
    ioas_id: IOAS,
    num_iovas: starts.length,
    allowed_iovas: starts.map((start) => ({ start, last: start + 0xfff })),
  },
});

test('ranges in any order, of which two overlap wherever they are', async () => {
  const { process, fd } = await anIommufd();
  const starts = [5, 1, 9, 3, 7].map((at) => at * STEP);
  for (const twice of starts)
    for (const shift of [0, 1, 0xfff, -0xfff]) {
      const taken = process.call('ioctl', { fd, ...allow([...starts, twice + shift]) });
      await assert.rejects(taken, /EINVAL.*range 5 overlaps an earlier one/, `${twice} ${shift}`);
    }
  const apart = await process.call('ioctl', { fd, ...allow([...starts, 5 * STEP + 0x1000, 5 * STEP - 0x1000]) });
  assert.equal(apart.ret, 0);
});

test('many ranges are taken at once: they are not compared all with all', async () => {
  const { process, fd } = await anIommufd();
  /** Microseconds of all threads, whatever else the machine does. */
  const cost = async (count: number, reversed: boolean): Promise<number> => {
    const starts = Array.from({ length: count }, (_, at) => at * STEP);
    const begun = cpuUsage();
    const result = await process.call('ioctl', { fd, ...allow(reversed ? starts.reverse() : starts) });
    assert.equal(result.ret, 0);
    const { user, system } = cpuUsage(begun);
    return user + system;
  };
  for (const reversed of [false, true]) {
    await cost(4096, reversed);
    const [few, many] = [await cost(4096, reversed), await cost(16_384, reversed)];
    assert.ok(many < 10 * few, `${few} µs, then ${many} µs: all with all it would be 16 times as much`);
  }
});
