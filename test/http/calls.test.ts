/** What the calls face takes, and how exactly it says what it does not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as shmem from '../../src/kernel/mm/shmem.ts';
import * as bits from '../../src/kernel/uapi/bits.ts';
import { CALLS as CALL_TABLE } from '../../src/kernel/uapi/calls.ts';
import { REQUESTS } from '../../src/kernel/uapi/index.ts';
import * as iommufd from '../../src/kernel/uapi/iommufd.ts';
import { MAX_CALLS } from '../../src/limits.ts';
import { fixture, HOST, pointers } from './fixture.ts';

const CALLS = `/v1/hosts/${HOST}/processes/9/calls`;
const ioctl = (request: string, arg?: unknown, fd: unknown = 3) => ({
  call: 'ioctl',
  fd,
  request,
  ...(arg ? { arg } : {}),
});

test('calls go to the host as they came', async (t) => {
  const { ask, lanes } = await fixture(t);
  lanes.onCommand = () => ({ kind: 'ok', value: { results: [] } });
  const calls = [
    { call: 'open', path: '/proc/self/fd/3' },
    { call: 'close', fd: -1 },
    { call: 'dup', fd: 777 },
    { call: 'mmap', addr: '0x7F0000000000', length: 2 ** 53 - 1, huge: '2M' },
    { call: 'mmap', addr: 0, length: 4096, fd: 3, offset: 0, shared: true, prot: 1 },
    { call: 'memfd_create', name: '', flags: 4294967295, size: '0xffffffffffffffff' },
    { call: 'lseek', fd: 3, offset: 0, whence: -1 },
    ioctl('IOMMU_IOAS_ALLOC'),
    ioctl('IOMMU_IOAS_ALLOC', {}),
    ioctl('IOMMU_IOAS_MAP', { size: 44, tail: 255, flags: 7, __reserved: 1, iova: '0x0' }),
    ioctl('IOMMU_IOAS_ALLOW_IOVAS', { ioas_id: 1, num_iovas: 1, allowed_iovas: [{ start: 0, last: '0xfff' }] }),
    ioctl('IOMMU_HWPT_ALLOC', { data: 'AAAAAAAAAAA=', data_len: 8, data_type: 57005 }),
    ioctl('IOMMU_GET_HW_INFO', { in_data_type: 1, data_len: 4294967295 }),
    ioctl('VFIO_IOMMU_MAP_DMA', { argsz: 32, size: '0x1000' }),
    ioctl('VFIO_IOMMU_GET_INFO', { argsz: 24 }),
    ioctl('VFIO_DEVICE_BIND_IOMMUFD', { iommufd: -1, size: 16 }),
    ioctl('VFIO_DEVICE_RESET', {}),
    ioctl('LIVEUPDATE_IOCTL_CREATE_SESSION', { name: 'a\u0000b\u00ff'.padEnd(64, '\u0080') }),
    { call: 'raw_ioctl', fd: 3, request: '0x3bf0' },
    { call: 'raw_ioctl', fd: -1, request: '0xBA0F', arg: { size: 8 } },
    { ...ioctl('0x3B81'), bytes: 'DAAAAAAAAAAAAAAA' },
    { ...ioctl('IOMMU_IOAS_ALLOC'), bytes: '' },
    { call: 'ioctl', fd: 3, request: 15233, argument: '0x1000', memory: [{ address: 0, bytes: '' }] },
    { call: 'fcntl', fd: 3, cmd: 9999 },
    { call: 'poll', fds: [] },
  ];
  const { status, text } = await ask('post', CALLS, { calls, stopOnError: true });
  assert.equal(status, 200, text);
  const told = calls.map((call) => (call.call === 'raw_ioctl' ? { ...call, call: 'ioctl' } : call));
  assert.deepEqual(lanes.commands, [{ op: 'calls', pid: 9, calls: told, stopOnError: true }]);
});

test('stop_on_error is taken for stopOnError, unless both are given and differ', async (t) => {
  const { ask, lanes } = await fixture(t);
  lanes.onCommand = () => ({ kind: 'ok', value: { results: [] } });
  const both = { stopOnError: false, stop_on_error: false };
  for (const given of [{ stop_on_error: true }, both, {}]) await ask('post', CALLS, { calls: [], ...given });
  assert.deepEqual(
    lanes.commands.map((command) => 'stopOnError' in command && command.stopOnError),
    [true, false, false],
  );
  const { status, body } = await ask('post', CALLS, { calls: [], stopOnError: true, stop_on_error: false });
  assert.equal(status, 400);
  assert.deepEqual(pointers(body), ['/stop_on_error']);
  assert.equal(lanes.commands.length, 3);
});

test('words of flags are given as numbers or by the names of their bits', async (t) => {
  const { ask, lanes } = await fixture(t);
  lanes.onCommand = () => ({ kind: 'ok', value: { results: [] } });
  const READ_WRITE = ['IOMMU_IOAS_MAP_READABLE', 'IOMMU_IOAS_MAP_WRITEABLE'];
  const memfd = { call: 'memfd_create', name: 'ram', size: 4096 };
  const mmap = { call: 'mmap', addr: 0, length: 4096 };
  const named = [
    { ...memfd, flags: ['MFD_ALLOW_SEALING', 'MFD_CLOEXEC', 'MFD_CLOEXEC'] },
    { ...memfd, flags: [] },
    { call: 'add_seals', fd: 3, seals: ['F_SEAL_SHRINK', 'F_SEAL_GROW'] },
    { call: 'fallocate', fd: 3, mode: ['FALLOC_FL_KEEP_SIZE', 'FALLOC_FL_PUNCH_HOLE'], offset: 0, length: 1 },
    { ...mmap, prot: ['PROT_READ'] },
    ioctl('IOMMU_IOAS_MAP', { flags: READ_WRITE, ioas_id: 2 }),
    ioctl('VFIO_IOMMU_UNMAP_DMA', { flags: ['VFIO_DMA_UNMAP_FLAG_ALL'] }),
    { call: 'fcntl', fd: 3, cmd: 'F_DUPFD_CLOEXEC', arg: 10 },
    { call: 'fcntl', fd: 3, cmd: 'F_SETFL', arg: ['O_NONBLOCK', 'O_APPEND'] },
    { call: 'poll', fds: [{ fd: 3, events: ['POLLIN', 'POLLOUT'] }] },
  ];
  const { status, text } = await ask('post', CALLS, { calls: named });
  assert.equal(status, 200, text);
  const [command] = lanes.commands as unknown as [{ calls: unknown[] }];
  assert.deepEqual(command.calls, [
    { ...memfd, flags: 3 },
    { ...memfd, flags: 0 },
    { call: 'add_seals', fd: 3, seals: 6 },
    { call: 'fallocate', fd: 3, mode: 3, offset: 0, length: 1 },
    { ...mmap, prot: 1 },
    ioctl('IOMMU_IOAS_MAP', { flags: 6, ioas_id: 2 }),
    ioctl('VFIO_IOMMU_UNMAP_DMA', { flags: 2 }),
    { call: 'fcntl', fd: 3, cmd: 1030, arg: 10 },
    { call: 'fcntl', fd: 3, cmd: 4, arg: 0xc00 },
    { call: 'poll', fds: [{ fd: 3, events: 5 }] },
  ]);
  const { body } = await ask('post', CALLS, { calls: [{ call: 'add_seals', fd: 3, seals: ['F_SEAL_GROWS', 4] }] });
  assert.deepEqual(pointers(body), ['/calls/0/seals/0', '/calls/0/seals/1']);
  assert.match(body.errors[0].reason, /^expected one of F_SEAL_SEAL, .*; did you mean `F_SEAL_GROW`\?$/);
});

test('every word of flags in the tables has names, or must be 0', () => {
  const words = [
    ...[...CALL_TABLE.values()].flatMap(({ name, parameters }) =>
      Object.entries(parameters).map(([field, parameter]) => ({ name, field, ...parameter, direction: 'in' })),
    ),
    ...[...REQUESTS.values()].flatMap(({ name, fields }) =>
      Object.entries(fields).map(([field, type]) => ({ name, field, ...type })),
    ),
  ].filter(({ field, direction }) => ['flags', 'seals', 'prot', 'perm', 'mode'].includes(field) && direction !== 'out');
  assert.ok(words.length > 20, `${words.length}`);
  for (const { name, field, about, bits } of words)
    assert.ok(bits !== undefined || about === 'Must be 0.', `${name} ${field}: ${about}`);
});

test('names of bits mean what the kernel takes them for', () => {
  const kernel: Record<string, unknown> = { ...shmem, ...iommufd };
  for (const [name, bit] of Object.entries(bits.SEALS)) assert.equal(kernel[name], bit, name);
  for (const [name, bit] of Object.entries({ ...bits.MAP_FLAGS, ...bits.HWPT_ALLOC_FLAGS }))
    assert.equal(kernel[name.replace(/^IOMMU_(IOAS_)?/, '')], bit, name);
});

test('what is wrong with a call is named to the field', async (t) => {
  const { ask, lanes } = await fixture(t);
  const cases: [unknown, string, RegExp][] = [
    [{ call: 'opne', path: '/' }, '/call', /^expected one of ioctl, raw_ioctl, open, close/],
    [{ path: '/' }, '/call', /^required: one of ioctl, raw_ioctl, open/],
    ['open', '', /^expected a JSON object/],
    [{ call: 'open' }, '/path', /^required: a string/],
    [{ call: 'open', path: 'x'.repeat(4097) }, '/path', /at most 4096/],
    [{ call: 'close', fd: 2147483648 }, '/fd', /from -2147483648 to 2147483647/],
    [{ call: 'close', fd: '3' }, '/fd', /a whole number/],
    [{ call: 'close', fd: 3, now: true }, '/now', /^unknown field; allowed here: call, fd$/],
    [{ call: 'munmap', addr: '1000', length: 1 }, '/addr', /"0x1000"/],
    [{ call: 'munmap', addr: '0x10000000000000000', length: 1 }, '/addr', /at most 64 bits/],
    [{ call: 'munmap', addr: 9007199254740992, length: 1 }, '/addr', /9007199254740991/],
    [{ call: 'munmap', addr: -1, length: 1 }, '/addr', /from 0/],
    [{ call: 'poke', addr: 0, data: '!' }, '/data', /base64/],
    [{ call: 'ioctl', fd: 3 }, '/request', /^required: the name of a request/],
    [ioctl('IOMMU_FROB'), '/request', /IOMMU_IOAS_ALLOC.*"0x3bf0"/],
    [{ call: 'raw_ioctl', fd: 3, request: 'IOMMU_DESTROY' }, '/request', /^expected the number of an ioctl/],
    [
      { ...ioctl('0x3bf0', { iova: 0 }), call: 'raw_ioctl' },
      '/arg/iova',
      /^unknown field; allowed here: size, argsz, tail$/,
    ],
    [{ ...ioctl('0x3bf0', {}, 'x'), call: 'raw_ioctl' }, '/fd', /a whole number/],
    [ioctl('IOMMU_IOAS_MAP', { iova: '0xg' }), '/arg/iova', /hexadecimal/],
    [ioctl('IOMMU_IOAS_MAP', { ioas_id: -1 }), '/arg/ioas_id', /from 0 to 4294967295/],
    [ioctl('IOMMU_IOAS_MAP', { tail: 256 }), '/arg/tail', /from 0 to 255/],
    [
      ioctl('IOMMU_IOAS_MAP', { iovaa: 0 }),
      '/arg/iovaa',
      /^unknown field; did you mean `iova`\? allowed here: flags, ioas_id/,
    ],
    [ioctl('IOMMU_IOAS_ALLOC', { out_ioas_id: 1 }), '/arg/out_ioas_id', /^unknown field/],
    [ioctl('IOMMU_OPTION', { op: 65536 }), '/arg/op', /from 0 to 65535/],
    [ioctl('VFIO_DEVICE_BIND_IOMMUFD', { iommufd: 4294967295 }), '/arg/iommufd', /to 2147483647/],
    [ioctl('IOMMU_IOAS_ALLOW_IOVAS', { allowed_iovas: [{ start: 0 }] }), '/arg/allowed_iovas/0/last', /^required/],
    [ioctl('VFIO_IOMMU_MAP_DMA', { argsz: 'x' }), '/arg/argsz', /a whole number/],
    [ioctl('LIVEUPDATE_IOCTL_CREATE_SESSION', { name: '\u0100' }), '/arg/name', /U\+0000 to U\+00FF/],
    [ioctl('LIVEUPDATE_IOCTL_CREATE_SESSION', { name: 'x'.repeat(65) }), '/arg/name', /at most 64/],
    [ioctl('IOMMU_IOAS_MAP', []), '/arg', /a JSON object/],
    [{ ...ioctl('0x3b81'), bytes: '!' }, '/bytes', /base64/],
    [{ ...ioctl('IOMMU_IOAS_MAP'), bytes: '!' }, '/bytes', /base64/],
    [{ ...ioctl('0x3b81'), argument: -1 }, '/argument', /from 0/],
    [{ ...ioctl('0x3b81'), bytes: '', memory: [{ address: 0 }] }, '/memory/0/bytes', /^required: bytes in base64/],
    [{ ...ioctl('IOMMU_IOAS_MAP', {}), bytes: '' }, '/bytes', /^unknown field; allowed here: .*arg/],
    [{ ...ioctl('IOMMU_IOAS_MOP'), bytes: '' }, '/request', /^expected the name of a request.*number/],
    [{ call: 'fcntl', fd: 3, cmd: 'F_GETFLAGS' }, '/cmd', /a whole number, or one of F_DUPFD/],
    [{ call: 'poll', fds: [{ fd: 3 }] }, '/fds/0/events', /^required: a whole number, or a list of these: POLLIN/],
  ];
  for (const [call, pointer, reason] of cases) {
    const { status, body } = await ask('post', CALLS, { calls: [{ call: 'dup', fd: 3 }, call] });
    const what = JSON.stringify(call);
    assert.equal(status, 400, what);
    assert.deepEqual(pointers(body), [`/calls/1${pointer}`], `${what}: ${JSON.stringify(body)}`);
    assert.match(body.errors[0].reason, reason, what);
  }
  assert.deepEqual(lanes.commands, []);
});

test('a request has at most 10,000 calls', async (t) => {
  const { ask } = await fixture(t);
  const calls = Array.from({ length: MAX_CALLS + 1 }, () => 0);
  const { status, body } = await ask('post', CALLS, { calls });
  assert.equal(status, 400);
  assert.match(JSON.stringify(body), /at most 10000 calls/);
});

test('many errors are counted, and the first of them shown', async (t) => {
  const { ask } = await fixture(t);
  const { body } = await ask('post', CALLS, { calls: Array.from({ length: 500 }, () => ({ call: 'no' })) });
  assert.equal(body.errors.length, 20);
  assert.match(body.detail, /\/calls\/0\/call: .*\(and 499 more, see errors\)/);
});

test('the calls of a request read 4 MiB together at most', async (t) => {
  const { ask, lanes } = await fixture(t);
  lanes.onCommand = () => ({ kind: 'ok', value: { results: [] } });
  const bitmap = ioctl('IOMMU_HWPT_GET_DIRTY_BITMAP', { hwpt_id: 3, length: 2 ** 36, page_size: '0x1000' });
  const info = ioctl('IOMMU_GET_HW_INFO', { dev_id: 1, data_len: 65536 });
  const times = (call: unknown, count: number): unknown[] => Array.from({ length: count }, () => call);
  const peek = { call: 'peek', addr: 0, length: '0x100000' };
  const access = { call: 'access_rw', fd: 3, access: 1, iova: 0, length: '0x100000', write: false };
  for (const [calls, pointer] of [
    [times(peek, 5), '/length'],
    [times(access, 5), '/length'],
    [times(bitmap, 3), '/arg/length'],
    [[...times(bitmap, 1), ...times(info, 33)], '/arg/data_len'],
  ] as const) {
    const last = calls.length - 1;
    assert.equal((await ask('post', CALLS, { calls: calls.slice(0, last) })).status, 200);
    const { status, body } = await ask('post', CALLS, { calls });
    assert.equal(status, 400);
    assert.deepEqual(pointers(body), [`/calls/${last}${pointer}`]);
  }
  // The same by bytes, and where the struct is not seen.
  const struct = Buffer.alloc(48);
  struct.writeBigUInt64LE(2n ** 36n, 24);
  struct.writeBigUInt64LE(4096n, 32);
  const packed = { ...ioctl('0x3b8c'), bytes: struct.toString('base64') };
  const invalidate = Buffer.alloc(32);
  invalidate.writeUInt32LE(2 ** 19, 20);
  invalidate.writeUInt32LE(8, 24);
  for (const [call, most, pointer] of [
    [packed, 2, '/bytes'],
    [{ call: 'ioctl', fd: 3, request: 0x3b8c, argument: 4096 }, 2, '/argument'],
    [{ ...ioctl('IOMMU_HWPT_INVALIDATE'), bytes: invalidate.toString('base64') }, 4, '/bytes'],
  ] as const) {
    assert.equal((await ask('post', CALLS, { calls: times(call, most) })).status, 200);
    const { body } = await ask('post', CALLS, { calls: times(call, most + 1) });
    assert.deepEqual(pointers(body), [`/calls/${most}${pointer}`]);
  }
  // What the kernel refuses to read is not counted.
  const refused = ioctl('IOMMU_HWPT_GET_DIRTY_BITMAP', { length: '0xffffffffffffffff', page_size: 1 });
  assert.equal((await ask('post', CALLS, { calls: times(refused, 100) })).status, 200);
});
