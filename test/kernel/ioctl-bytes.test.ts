/** Ioctls as a program makes them: sizes, tails and pointers that are wrong, and what is written where. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import type { CallResult } from '../../src/kernel/uapi/calls.ts';
import { useApp } from '../support/app.ts';
import { D1, D3 } from '../support/client.ts';
import type { Process } from '../support/process.ts';

const app = useApp();

const MEMORY = 0x100000000000;
const READ_ONLY = 0x200000000000;
const NOWHERE = 0x700000000000;
const PAGE = 4096;

/** Words of 32 bits; a bigint takes two of them. */
function words(...values: (number | bigint)[]): Buffer {
  return Buffer.concat(
    values.map((value) => {
      const bytes = Buffer.alloc(typeof value === 'bigint' ? 8 : 4);
      if (typeof value === 'bigint') bytes.writeBigUInt64LE(value);
      else bytes.writeInt32LE(value | 0);
      return bytes;
    }),
  );
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
const bytesOf = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64');
const at = (address: number, bytes: Uint8Array) => ({ address, bytes: base64(bytes) });

let process: Process;
let iommufd: number;
let cdev: number;
let ioas: number;

before(async () => {
  await app.start();
  const host = await app.host();
  process = await host.process();
  iommufd = await process.open('/dev/iommu');
  cdev = await process.openCdev(D1);
  await process.bind(cdev, iommufd);
  ioas = await process.allocIoas(iommufd);
  await process.mmap(MEMORY, 4 * PAGE);
  await process.call('mmap', { addr: READ_ONLY, length: PAGE, prot: 1 });
});

async function raw(fd: number, request: number | string, more: Record<string, unknown>): Promise<CallResult> {
  const [result] = await process.host.runCalls(process.pid, [{ call: 'ioctl', fd, request, ...more }]);
  return result!;
}

/** What a call answers, in a word. */
async function outcome(fd: number, request: number | string, struct: Uint8Array, memory?: unknown[]): Promise<string> {
  const { ret, errno } = await raw(fd, request, { bytes: base64(struct), ...(memory && { memory }) });
  return errno ?? String(ret);
}

const peek = async (address: number, length: number): Promise<Buffer> =>
  bytesOf((await process.call('peek', { addr: address, length })).data);
const poke = (address: number, bytes: Uint8Array) => process.call('poke', { addr: address, data: base64(bytes) });

test('the struct is as long as its first word says', async () => {
  const alloc = (...rest: (number | bigint)[]) => outcome(iommufd, 0x3b81, words(...rest));
  assert.equal(await outcome(iommufd, 0x3b81, new Uint8Array()), 'EFAULT', 'no size');
  assert.equal(await outcome(iommufd, 0x3b81, new Uint8Array(3)), 'EFAULT', 'part of a size');
  assert.equal(await alloc(8, 0, 0), 'EINVAL', 'below the least');
  assert.equal(await alloc(11, 0, 0), 'EINVAL');
  assert.equal(await alloc(12, 0), 'EFAULT', 'the bytes end before the struct');
  assert.equal(await alloc(12, 1, 0), 'EOPNOTSUPP', 'then the handler');
  assert.equal(await alloc(12, 0, 0), '0');
  assert.equal(await alloc(20, 0, 0, 0, 0), '0', 'zeroes behind what is known');
  assert.equal(await alloc(20, 0, 0, 0, 1), 'E2BIG');
  assert.equal(await alloc(20, 0, 0, 0), 'EFAULT', 'zeroes that are not there');
  assert.equal(await alloc(-1, 0, 0, 1), 'E2BIG', 'a byte that is not 0 before the end');
  assert.equal(await alloc(-1, 0, 0, 0), 'EFAULT');
});

test('of a field that a struct has in part, the rest reads as 0 and is not written', async () => {
  const info = (size: number) => Buffer.concat([words(size, 0, 1, 0, 0n, 0, 0), Buffer.alloc(8, 0x5a)]);
  const whole = bytesOf((await raw(iommufd, 0x3b8a, { bytes: base64(info(40)) })).bytes).subarray(32);
  const half = bytesOf((await raw(iommufd, 0x3b8a, { bytes: base64(info(36)) })).bytes).subarray(32);
  const none = bytesOf((await raw(iommufd, 0x3b8a, { bytes: base64(info(32)) })).bytes).subarray(32);
  assert.notDeepEqual(whole, Buffer.alloc(8, 0x5a));
  assert.deepEqual(half, Buffer.concat([whole.subarray(0, 4), Buffer.alloc(4, 0x5a)]));
  assert.deepEqual(none, Buffer.alloc(8, 0x5a));
});

test('VFIO copies the least first, looks at the size then, and at nothing behind', async () => {
  await process.ioctl(iommufd, 'IOMMU_VFIO_IOAS', { op: 1, ioas_id: ioas });
  const map = (size: number) => words(size, 3, BigInt(MEMORY), 0x40000n, BigInt(PAGE));
  assert.equal(await outcome(iommufd, 0x3b71, map(32).subarray(0, 31)), 'EFAULT');
  assert.equal(await outcome(iommufd, 0x3b71, map(24).subarray(0, 24)), 'EFAULT', 'whatever the size says');
  assert.equal(await outcome(iommufd, 0x3b71, map(24)), 'EINVAL');
  assert.equal(await outcome(iommufd, 0x3b71, Buffer.concat([map(64), Buffer.alloc(4, 1)])), '0');
  // A PASID is read with the flag alone.
  const attach = (flags: number) => words(16, flags, ioas);
  assert.equal(await outcome(cdev, 0x3b77, attach(1)), 'EFAULT');
  assert.equal(await outcome(cdev, 0x3b77, attach(0)), '0');
  assert.equal(await outcome(cdev, 0x3b78, words(8, 0)), '0');
});

describe('pointers', () => {
  const ranges = (room: number, address: number) => words(32, ioas, room, 0, BigInt(address), 0n);
  const everything = words(0n, 0xffffffffffffffffn);

  before(async () => {
    await process.ioctl(iommufd, 'IOMMU_VFIO_IOAS', { op: 2 });
    ioas = await process.allocIoas(iommufd);
  });

  test('lead to memory that is given, or to the process', async () => {
    const memory = [at(NOWHERE, new Uint8Array(20))];
    const given = await raw(iommufd, 0x3b84, { bytes: base64(ranges(1, NOWHERE + 4)), memory });
    assert.equal(given.memory?.[0]?.address, '0x700000000000');
    assert.deepEqual(bytesOf(given.memory?.[0]?.bytes).subarray(4), everything);
    assert.deepEqual(bytesOf(given.bytes), words(32, ioas, 1, 0, BigInt(NOWHERE + 4), 1n));

    const own = await raw(iommufd, 0x3b84, { bytes: base64(ranges(1, MEMORY + 100)) });
    assert.equal(own.memory, undefined);
    assert.deepEqual(await peek(MEMORY + 100, 16), everything);
  });

  test('lead on from one to the other', async () => {
    // The first half of the range is the last of what is given, the other the first of the process's memory.
    const memory = [at(MEMORY - 8, Buffer.alloc(8, 1)), at(NOWHERE, Buffer.alloc(1))];
    const { ret, memory: written } = await raw(iommufd, 0x3b84, { bytes: base64(ranges(1, MEMORY - 8)), memory });
    assert.equal(ret, 0);
    assert.deepEqual(written, [{ address: '0xffffffffff8', bytes: base64(everything.subarray(0, 8)) }]);
    assert.deepEqual(await peek(MEMORY, 8), everything.subarray(8));
  });

  test('that lead nowhere are EFAULT where something is written or read, and no earlier', async () => {
    assert.equal(await outcome(iommufd, 0x3b84, ranges(0, NOWHERE)), 'EMSGSIZE', 'no room: nothing is written');
    assert.equal(await outcome(iommufd, 0x3b84, ranges(1, NOWHERE)), 'EFAULT');
    assert.equal(await outcome(iommufd, 0x3b84, ranges(1, READ_ONLY)), 'EFAULT');
    assert.equal(await outcome(iommufd, 0x3b84, ranges(1, NOWHERE), [at(NOWHERE, new Uint8Array(15))]), 'EFAULT');
    assert.equal(
      await outcome(iommufd, 0x3b84, ranges(1, 0x800000000000), [at(0x800000000000, new Uint8Array(16))]),
      'EFAULT',
      'no address of a program',
    );
    const allow = (count: number, address: number) => words(24, ioas, count, 0, BigInt(address));
    const first = words(0n, 0xffffn);
    assert.equal(await outcome(iommufd, 0x3b82, allow(2, NOWHERE), [at(NOWHERE, first)]), 'EFAULT');
    assert.equal(
      await outcome(iommufd, 0x3b82, allow(2, NOWHERE), [at(NOWHERE, Buffer.concat([first, first]))]),
      'EINVAL',
    );
    assert.equal(await outcome(iommufd, 0x3b82, words(24, 999, 2, 0, 0n)), 'ENOENT');
    assert.equal(await outcome(iommufd, 0x3b82, allow(0, 0)), '0');
    await poke(MEMORY + 2 * PAGE - 8, first);
    assert.equal(await outcome(iommufd, 0x3b82, allow(1, MEMORY + 2 * PAGE - 8)), '0', 'across a page');
    const invalidate = (address: bigint) => words(32, 999, address, 0, 8, 1, 0);
    assert.equal(await outcome(iommufd, 0x3b8d, invalidate(0n)), 'EINVAL', 'entries and no pointer');
    assert.equal(await outcome(iommufd, 0x3b8d, invalidate(BigInt(NOWHERE))), 'ENOENT');
    await process.ioctl(iommufd, 'IOMMU_IOAS_ALLOW_IOVAS', { ioas_id: ioas });
  });

  test('a buffer that is longer than what there is ends in zeroes', async () => {
    const info = words(40, 0, 1, 64, BigInt(NOWHERE), 0, 0, 0n);
    const { bytes, memory } = await raw(iommufd, 0x3b8a, {
      bytes: base64(info),
      memory: [at(NOWHERE, Buffer.alloc(66, 7))],
    });
    const length = bytesOf(bytes).readUInt32LE(12);
    const buffer = bytesOf(memory?.[0]?.bytes);
    assert.equal(length, 24);
    assert.deepEqual(buffer.subarray(length), Buffer.concat([Buffer.alloc(64 - length), Buffer.alloc(2, 7)]));
  });

  test('bits of dirty pages are set and never cleared, and those that cannot be stored are lost', async () => {
    const host = await app.host({
      iommus: [{ id: 'g', kind: 'generic', dirtyTracking: true }],
      devices: [{ bdf: D3, iommu: 'g', driver: 'vfio-pci' }],
    });
    const vmm = await host.process();
    const fd = await vmm.open('/dev/iommu');
    const device = await vmm.openCdev(D3);
    const id = await vmm.bind(device, fd);
    const space = await vmm.allocIoas(fd);
    await vmm.mmap(MEMORY, 16 * PAGE);
    await vmm.map(fd, space, 0x1000000, MEMORY, 16 * PAGE);
    const hwpt = await vmm.allocHwpt(fd, id, space, { flags: 2 });
    await vmm.attach(device, hwpt);
    await vmm.ioctl(fd, 'IOMMU_HWPT_SET_DIRTY_TRACKING', { hwpt_id: hwpt, flags: 1 });
    const struct = words(48, hwpt, 0, 0, 0x1000000n, BigInt(16 * PAGE), BigInt(PAGE), BigInt(NOWHERE));
    const ask = async (memory: unknown[]) =>
      (await host.runCalls(vmm.pid, [{ call: 'ioctl', fd, request: 0x3b8c, bytes: base64(struct), memory }]))[0]!;
    const dirty = async () => {
      for (const page of [0, 9]) await host.dmaWrite(D3, 0x1000000 + page * PAGE, 'x');
    };
    await dirty();
    const both = await ask([at(NOWHERE, Buffer.from([0x80, 0]))]);
    assert.deepEqual([both.ret, bytesOf(both.memory?.[0]?.bytes)], [0, Buffer.from([0x81, 0x02])]);
    const clean = await ask([at(NOWHERE, Buffer.from([0x80, 0]))]);
    assert.deepEqual([clean.ret, clean.memory], [0, undefined]);
    await dirty();
    const lost = await ask([at(NOWHERE + 1, Buffer.from([0]))]);
    assert.deepEqual([lost.ret, bytesOf(lost.memory?.[0]?.bytes)], [0, Buffer.from([2])]);
    assert.equal((await ask([at(NOWHERE, Buffer.alloc(8))])).memory, undefined, 'all were cleared');
  });
});

describe('the argument itself', () => {
  const byArgument = async (fd: number, request: number | string, argument: number | string, memory?: unknown[]) =>
    raw(fd, request, { argument, ...(memory && { memory }) });

  test('may be a number', async () => {
    assert.equal((await byArgument(iommufd, 0x3b65, 3)).ret, 1);
    assert.equal((await byArgument(iommufd, 0x3b65, '0x100000003')).ret, 0, 'no number is cut off');
    assert.equal((await raw(iommufd, 0x3b65, { bytes: base64(words(3)) })).ret, 1, 'as bytes');
    assert.equal((await byArgument(iommufd, 0x3b64, NOWHERE)).ret, 0, 'is not looked at');
  });

  test('may be the address of a struct in the process, which is written there', async () => {
    await poke(MEMORY + 500, words(12, 0, 0));
    const { ret, bytes } = await byArgument(iommufd, 0x3b81, MEMORY + 500);
    assert.deepEqual([ret, bytes], [0, undefined]);
    const id = (await peek(MEMORY + 508, 4)).readUInt32LE();
    assert.equal((await process.iommufd(iommufd)).objects.at(-1)?.id, id);
  });

  test('is EFAULT if it leads nowhere, or to what cannot be written; nothing is done then', async () => {
    const before = (await process.iommufd(iommufd)).objects.length;
    assert.equal((await byArgument(iommufd, 0x3b81, 0)).errno, 'EFAULT');
    assert.equal((await byArgument(iommufd, 0x3b81, NOWHERE)).errno, 'EFAULT');
    await poke(MEMORY + 4 * PAGE - 8, words(12, 0));
    assert.equal((await byArgument(iommufd, 0x3b81, MEMORY + 4 * PAGE - 8)).errno, 'EFAULT', 'its end is missing');
    await process.call('munmap', { addr: READ_ONLY, length: PAGE });
    const memfd = await process.memfd(PAGE);
    await process.call('pwrite', { fd: memfd, offset: 0, data: base64(words(12, 0, 0)) });
    await process.call('mmap', { addr: READ_ONLY, length: PAGE, fd: memfd, shared: true, prot: 1 });
    assert.equal((await byArgument(iommufd, 0x3b81, READ_ONLY)).errno, 'EFAULT');
    assert.equal((await process.iommufd(iommufd)).objects.length, before);
  });

  test('of GET_DEVICE_FD is a string', async () => {
    const { group } = await process.host.device(D3);
    const fd = await process.open(`/dev/vfio/${group}`);
    const named = async (text: Buffer) => outcome(fd, 0x3b6a, text);
    assert.equal(await named(Buffer.from(D3)), 'EFAULT', 'without its NUL');
    assert.equal(await named(Buffer.alloc(PAGE, 'a')), 'EINVAL', 'none within a page');
    assert.equal(await named(Buffer.from('0000:ff:00.0\0')), 'ENODEV');
    assert.equal(await outcome(fd, 0x3b68, words(iommufd)), '0');
    assert.equal(await outcome(fd, 0x3b68, new Uint8Array(3)), 'EFAULT');
    assert.ok(Number(await named(Buffer.from(`${D3}\0and more`))) > fd);
  });
});

test('a file looks at the number of a request and at nothing else', async () => {
  const none = new Uint8Array();
  assert.equal(await outcome(iommufd, '0x3b81', words(12, 0, 0)), '0');
  assert.equal(await outcome(iommufd, 'IOMMU_IOAS_ALLOC', words(12, 0, 0)), '0');
  assert.equal(await outcome(iommufd, 0x7b81, words(12, 0, 0)), 'ENOTTY', 'another type');
  assert.equal(await outcome(iommufd, 0x7b81, none), 'EFAULT', 'which is seen behind the size');
  assert.equal(await outcome(iommufd, 0x3bff, none), 'ENOTTY');
  assert.equal(await outcome(iommufd, 0xc00c3b81, words(12, 0, 0)), 'ENOTTY', 'the macro has no direction and size');
  const nothing = await process.open('/dev/null');
  assert.equal(await outcome(nothing, 0x3b81, none), 'ENOTTY');
  const [map] = await process.host.runCalls(process.pid, [
    { call: 'ioctl', fd: cdev, request: 'VFIO_IOMMU_MAP_DMA', arg: { argsz: 32, flags: 3 } },
  ]);
  assert.equal(map!.ret, 0, 'VFIO_IOMMU_MAP_DMA has the number of VFIO_DEVICE_PCI_HOT_RESET, which this is');
  const unbound = await process.openCdev('0000:02:00.0');
  assert.equal(await outcome(unbound, 0x3b6b, none), 'EINVAL', 'VFIO looks at the device before the struct');
  assert.equal(await outcome(cdev, 0x3b6b, none), 'EFAULT');
});

test('LUO looks for the number, then for the size, then at the type, then at the side of a session', async () => {
  const liveupdate = await process.open('/dev/liveupdate');
  const name = Buffer.alloc(64);
  name.write('vm1');
  const created = await raw(liveupdate, 0xba00, { bytes: base64(Buffer.concat([words(72, 0), name])) });
  const session = bytesOf(created.bytes).readInt32LE(4);
  const none = new Uint8Array();
  assert.equal(await outcome(liveupdate, 0xba02, none), 'EINVAL');
  assert.equal(await outcome(liveupdate, 0x7800, none), 'EFAULT');
  assert.equal(await outcome(liveupdate, 0x7800, words(72)), 'ENOTTY');
  assert.equal(await outcome(session, 0xba42, none), 'EFAULT', 'of the other side, but the size is missing');
  assert.equal(await outcome(session, 0xba42, words(8, 0)), 'EINVAL');
  const told = await raw(session, 0xba43, { bytes: base64(Buffer.concat([words(72, 0), Buffer.alloc(64, 1)])) });
  assert.deepEqual(bytesOf(told.bytes).subarray(8), name);
});

test('what only the design has is unknown to a kernel as it is merged, whatever the size', async () => {
  const host = await app.host({ preset: 'vmm-lab', profile: 'linux-7.3' });
  const other = await host.process();
  const fd = await other.open('/dev/iommu');
  for (const request of ['0x3bc0', '0x3bc1', 'IOMMU_HWPT_LU_RESTORE']) {
    const [result] = await host.runCalls(other.pid, [{ call: 'ioctl', fd, request }]);
    assert.equal(result?.errno, 'ENOTTY', request);
  }
});

test('what stands behind the header of a container is written where there is something, and only there', async () => {
  await process.ioctl(iommufd, 'IOMMU_VFIO_IOAS', { op: 1, ioas_id: ioas });
  const info = Buffer.concat([words(120), Buffer.alloc(116, 0x5a)]);
  const after = bytesOf((await raw(iommufd, 0x3b70, { bytes: base64(info) })).bytes);
  assert.equal(after.readUInt32LE(0), 72, 'one range');
  assert.equal(after.readUInt32LE(16), 24, 'where the capabilities begin');
  assert.equal(after.readUInt32LE(20), 0);
  assert.deepEqual(after.subarray(56, 72), words(0n, 0xffffffffffffffffn));
  assert.deepEqual(after.subarray(72), Buffer.alloc(48, 0x5a));
  assert.equal(await outcome(iommufd, 0x3b70, info.subarray(0, 60)), 'EFAULT', 'the bytes end before the range');
  await process.ioctl(iommufd, 'IOMMU_VFIO_IOAS', { op: 2 });
});

test('a refused request that has written nothing tells no bytes, one that has written does', async () => {
  assert.equal('bytes' in (await raw(iommufd, 0x3b80, { bytes: base64(words(8, 999)) })), false);
  const { errno, bytes } = await raw(iommufd, 0x3b8d, { bytes: base64(words(32, 999, 0n, 0, 0, 0, 0)) });
  assert.deepEqual([errno, bytesOf(bytes)], ['ENOENT', words(32, 999, 0n, 0, 0, 0, 0)]);
});

test('the physical address of an IOVA is for devices without an IOMMU', async () => {
  const pa = (flags: number, id: number, reserved: number, iova: bigint, length: bigint) =>
    outcome(iommufd, 0x3b95, words(40, flags, id, reserved, iova, length, 0n));
  await process.map(iommufd, ioas, 0x50000, MEMORY, PAGE);
  assert.equal(await pa(1, 999, 0, 0n, 0n), 'EOPNOTSUPP');
  assert.equal(await pa(0, 999, 1, 0n, 0n), 'EOPNOTSUPP');
  assert.equal(await pa(0, 999, 0, 0n, 0n), 'EINVAL');
  assert.equal(await pa(0, 999, 0, 0xffffffffffffffffn, 1n), 'EOVERFLOW');
  assert.equal(await pa(0, 999, 0, 0n, 1n), 'ENOENT');
  assert.equal(await pa(0, ioas, 0, 0n, 1n), 'ENOENT');
  assert.equal(await pa(0, ioas, 0, 0x50000n, 1n), 'EOPNOTSUPP');
  const weak = await process.host.process({ capabilities: [] });
  const fd = await process.sendFd(iommufd, weak);
  const arg = { ioas_id: ioas, iova: '0x50000', length: 1, flags: 1 };
  const [refused] = await process.host.runCalls(weak.pid, [
    { call: 'ioctl', fd, request: 'IOMMU_IOAS_NOIOMMU_GET_PA', arg },
  ]);
  assert.equal(refused?.errno, 'EPERM');
});
