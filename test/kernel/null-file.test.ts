/** What /dev/null takes and gives, however much it is asked for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { expectErrno } from '../support/kernel-error.ts';

const app = useApp();
const MAX_COUNT = 0x7ffff000;

test('a write takes as much as one can, and no buffer is larger than the address space', async () => {
  const process = await (await app.host()).process();
  const fd = await process.open('/dev/null');
  const write = async (length: string): Promise<unknown> => (await process.call('write', { fd, data: '', length })).ret;
  assert.deepEqual(
    [await write('0x0'), await write('0x1000'), await write('0x7ffff001'), await write('0x7ffffffff000')],
    [0, 0x1000, MAX_COUNT, MAX_COUNT],
  );
  for (const length of ['0x800000000000', '0xfffffffffffff000']) {
    await expectErrno('EFAULT', process.call('write', { fd, data: '', length }));
    await expectErrno('EFAULT', process.call('read', { fd, length }));
  }
  assert.equal((await process.call('read', { fd, length: '0x7ffffffff000' })).ret, 0);
});
