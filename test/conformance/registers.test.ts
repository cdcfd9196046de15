/** What of the answers about registers counts: what vfio-pci decides, and nothing of what the traced devices held. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matches } from './compare.ts';
import { Registers } from './registers.ts';
import type { Expectation, JsonObject, TracedCall, TracedDevice } from './trace.ts';

const DEVICE = {
  bdf: '0000:02:00.0',
  cdev: 'vfio10',
  capabilities: [{ id: 17, msix_vectors: 2, table_bar: 1, table_offset: 0x1000 }],
} as unknown as TracedDevice;

const base64 = (...bytes: number[]) => Buffer.from(bytes).toString('base64');
const call = (name: string, more: object) => ({ n: 1, pid: 1, call: name, expect: {}, ...more }) as TracedCall;
const OPEN = call('open', { path: '/dev/vfio/devices/vfio10', as: { ret: 'cdev0' } });

function same(asked: TracedCall, expected: Expectation, got: JsonObject): boolean {
  const registers = new Registers([DEVICE]);
  registers.follow(OPEN);
  return matches(...registers.compared(asked, expected, got));
}
const pread = (offset: string, fd = '$cdev0') => call('pread', { fd, offset, length: 4 });
const bytes = (...values: number[]) => ({ ret: values.length, data: base64(...values) });

test('bytes of a BAR are those of the device, but how many they are counts', () => {
  assert.ok(same(pread('0x10'), bytes(1, 2, 3, 4), bytes(0, 0, 0, 0)));
  assert.ok(!same(pread('0x10'), bytes(1, 2, 3, 4), bytes(0, 0, 0)));
  assert.ok(!same(pread('0x10'), bytes(1), { ret: -1, errno: 'EIO' }));
  assert.ok(same(pread('0x60000000000'), bytes(0x55), bytes(0)));
  assert.ok(same(call('read', { fd: '$cdev0', length: 1 }), bytes(1), bytes(2)));
});

test('the table of MSI-X and the configuration space count', () => {
  const around = pread('0x10000000ffe');
  assert.ok(same(around, bytes(1, 2, 0xff, 0xff), bytes(0, 0, 0xff, 0xff)));
  assert.ok(!same(around, bytes(1, 2, 0xff, 0xff), bytes(0, 0, 0xff, 0)));
  assert.ok(same(pread('0x1000000101f'), bytes(0xff, 1), bytes(0xff, 0)));
  assert.ok(!same(pread('0x70000000010'), bytes(1), bytes(0)));
});

test('bytes of other files count', () => {
  assert.ok(!same(pread('0x10', '$memfd0'), bytes(1), bytes(0)));
});

test('a signal is what a touch of memory ends with, whatever the errno', () => {
  const peek = call('peek', { addr: '0x1000', length: 4 });
  assert.ok(same(peek, { ret: 0 }, { ret: 0, data: base64(1) }));
  assert.ok(same(peek, { ret: -1, signal: 'SIGBUS' }, { ret: -1, errno: 'EFAULT', signal: 'SIGBUS' }));
  assert.ok(!same(peek, { ret: -1, signal: 'SIGBUS' }, { ret: -1, errno: 'EFAULT', signal: 'SIGSEGV' }));
});

test('what is behind the struct of a region is shown up to its room, unless that is large', () => {
  const info = (argsz: number) => call('ioctl', { request: 'VFIO_DEVICE_GET_REGION_INFO', arg: { argsz } });
  const got = { ret: 0, arg: { flags: 15, data: base64(3, 0, 1, 0, 0, 0, 0, 0) } };
  assert.ok(same(info(44), { ret: 0, arg: { flags: 15, data: base64(3, 0, 1, ...new Array(9).fill(0)) } }, got));
  assert.ok(same(info(65536), { ret: 0, arg: { flags: 15 } }, got));
});
