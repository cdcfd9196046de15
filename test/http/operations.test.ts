/** Every call and every request of the kernel can be asked for by REST, and each operation asks for what it says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CallResult } from '../../src/host/command.ts';
import { OPERATIONS } from '../../src/http/operations.ts';
import { parameterNames } from '../../src/http/parameters.ts';
import { CallsInput } from '../../src/http/schemas/calls.ts';
import { CALLS } from '../../src/kernel/uapi/calls.ts';
import { REQUESTS } from '../../src/kernel/uapi/index.ts';
import { fixture, HOST } from './fixture.ts';

const EXAMPLES: Record<string, string> = {
  fd: '3',
  ioas: '2',
  hwpt: '4',
  object: '5',
  device: '1',
  region: '2',
  irq: '2',
  pasid: '2',
  index: '0',
  access: '5',
  pin: '0',
  token: '0x7',
  address: '0x7f0000000000',
  extension: '3',
  feature: '5',
};

const QUERIES: Record<string, string> = {
  unmapProcessMemory: '?address=0x1000&length=4096',
  readProcessMemory: '?length=16',
  readMemfd: '?length=16',
  checkDeviceCache: '?value=0',
  checkNestedCache: '?value=0',
  checkPasid: '?hwpt=0',
  readThroughAccess: '?iova=0x1000&length=16',
  writeThroughAccess: '?iova=0x1000',
  unmapIova: '?iova=0x1000&length=0x1000',
  getPhysicalAddress: '?iova=0x1000&length=16',
  getDirtyBitmap: '?iova=0x0&length=0x200000&pageSize=4096',
};

type Operation = (typeof OPERATIONS)[number];

function urlOf({ operationId, path }: Operation): string {
  const filled = parameterNames(path).reduce((text, name) => text.replace(`{${name}}`, EXAMPLES[name]!), path);
  return `/v1/hosts/${HOST}/processes/9/${filled}${QUERIES[operationId] ?? ''}`;
}

const methodOf = ({ method }: Operation) => method.toLowerCase() as 'get' | 'post' | 'put' | 'patch' | 'delete';

test('every call of the call table has an operation', () => {
  for (const call of CALLS.keys()) {
    const found = OPERATIONS.filter((operation) => operation.call === call);
    assert.ok(found.length > 0, `no REST operation performs ${call}`);
  }
});

test('every request of the request table has an operation', () => {
  for (const request of REQUESTS.keys()) {
    const found = OPERATIONS.filter((operation) => operation.call === 'ioctl' && operation.request === request);
    assert.ok(found.length > 0, `no REST operation performs ${request}`);
  }
});

test('every operation names a call or request that there is', () => {
  for (const { operationId, call, request } of OPERATIONS) {
    if (call === 'ioctl') assert.ok(REQUESTS.has(String(request)), operationId);
    else assert.ok(CALLS.has(call) && request === undefined, operationId);
  }
});

test('an operation performs exactly one call, which the calls face would take as it is', async (t) => {
  const { ask, lanes } = await fixture(t);
  for (const operation of OPERATIONS) {
    const { operationId, call, request, bodyExample, status } = operation;
    lanes.commands.length = 0;
    const arg = { iova: '0x1000', dst_iova: '0x1000' };
    lanes.onCommand = () => ({ kind: 'ok', value: { results: [{ ret: 0, arg }] } });
    const answer = await ask(methodOf(operation), urlOf(operation), bodyExample);
    assert.equal(answer.status, status, `${operationId}: ${answer.text}`);
    assert.equal(lanes.commands.length, 1, operationId);
    const command = lanes.commands[0]!;
    assert.ok(command.op === 'calls' && command.pid === 9, operationId);
    assert.equal(command.calls.length, 1, operationId);
    assert.equal(command.calls[0]!.call, call, operationId);
    assert.equal(command.calls[0]!.request, request, operationId);
    const parsed = CallsInput.safeParse({ calls: command.calls });
    assert.ok(parsed.success, `${operationId}: ${parsed.error?.message}`);
  }
});

test('a call that is refused is a problem with what the kernel said, whatever the operation', async (t) => {
  const { ask, lanes } = await fixture(t);
  const refused: CallResult = { ret: -1, errno: 'EBUSY', where: 'iommufd_ioas_unmap', why: 'it is in use', rule: 'R5' };
  lanes.onCommand = () => ({ kind: 'ok', value: { results: [refused] } });
  for (const operation of OPERATIONS) {
    const { status, body } = await ask(methodOf(operation), urlOf(operation), operation.bodyExample);
    assert.equal(status, 409, operation.operationId);
    assert.deepEqual(
      [body.errno, body.where, body.rule, body.detail],
      ['EBUSY', 'iommufd_ioas_unmap', 'R5', 'it is in use'],
    );
  }
});

/** What operations make of their parameters, where it is more than a name. */
const ARGUMENTS: [string, 'post' | 'put' | 'get' | 'delete', unknown, Record<string, unknown>][] = [
  ['iommufds', 'post', {}, { call: 'open', path: '/dev/iommu' }],
  ['vfio-groups', 'post', { group: 12 }, { call: 'open', path: '/dev/vfio/12' }],
  [
    'iommufds/3/ioases/2/mappings',
    'post',
    { userVa: '0x1000', length: 4096, iova: 0 },
    { request: 'IOMMU_IOAS_MAP', arg: { flags: 7, ioas_id: 2, user_va: '0x1000', length: 4096, iova: 0 } },
  ],
  [
    'iommufds/3/ioases/2/mappings',
    'post',
    { userVa: '0x1000', length: 4096, writeable: false },
    { request: 'IOMMU_IOAS_MAP', arg: { flags: 4, ioas_id: 2, user_va: '0x1000', length: 4096, iova: 0 } },
  ],
  [
    'iommufds/3/hwpts',
    'post',
    { device: 1, pageTable: 2, nestParent: true, faultQueue: 5, dataType: 1, data: 'AAAA' },
    {
      request: 'IOMMU_HWPT_ALLOC',
      arg: { flags: 5, dev_id: 1, pt_id: 2, data_type: 1, data_len: 3, data: 'AAAA', fault_id: 5 },
    },
  ],
  ['cdevs/4/regions/2', 'get', undefined, { fd: 4, arg: { argsz: 256, index: 2 } }],
  ['eventfds', 'post', { flags: ['EFD_NONBLOCK'] }, { call: 'eventfd', initval: 0, flags: 0x800 }],
  ['eventfds', 'post', undefined, { call: 'eventfd', initval: 0, flags: 0 }],
  ['eventfds/5/read', 'post', undefined, { call: 'read', fd: 5, length: 8 }],
  ['eventfds/5/write', 'post', { value: '0x102' }, { call: 'write', fd: 5, length: 8, data: 'AgEAAAAAAAA=' }],
  [
    'cdevs/4/interrupts/2',
    'post',
    { flags: ['VFIO_IRQ_SET_DATA_EVENTFD', 'VFIO_IRQ_SET_ACTION_TRIGGER'], start: 3, eventfds: [5, -1] },
    { fd: 4, arg: { index: 2, flags: 36, start: 3, count: 2, eventfds: [5, -1] } },
  ],
  [
    'cdevs/4/interrupts/0',
    'post',
    { flags: 34, data: 'AQA=' },
    { fd: 4, arg: { index: 0, flags: 34, start: 0, count: 2, data: 'AQA=' } },
  ],
  ['cdevs/4/interrupts/1', 'post', { flags: 33 }, { arg: { index: 1, flags: 33, start: 0, count: 0 } }],
  [
    'cdevs/4/ioeventfds',
    'post',
    { eventfd: 5, offset: 16, data: 7, width: ['VFIO_DEVICE_IOEVENTFD_32'] },
    { fd: 4, arg: { fd: 5, offset: 16, data: 7, flags: 4 } },
  ],
  ['cdevs/4/attachment', 'put', { pageTable: 3 }, { fd: 4, arg: { pt_id: 3 } }],
  ['cdevs/4/attachment', 'put', { pageTable: 3, pasid: 9 }, { fd: 4, arg: { pt_id: 3, flags: 1, pasid: 9, size: 16 } }],
  ['cdevs/4/attachment?pasid=9', 'delete', undefined, { fd: 4, arg: { flags: 1, pasid: 9, size: 12 } }],
  ['iommufds/3/restored-hwpts/18446744073709551615', 'get', undefined, { arg: { token: '0xffffffffffffffff' } }],
  ['memfds', 'post', { size: 1, flags: ['MFD_HUGETLB'] }, { call: 'memfd_create', flags: 4, size: 1 }],
  ['memfds/3/seals', 'post', { seals: ['F_SEAL_WRITE', 'F_SEAL_GROW'] }, { call: 'add_seals', fd: 3, seals: 12 }],
  ['memory/4096?length=8', 'get', undefined, { call: 'peek', addr: '0x1000', length: '0x8' }],
  ['iommufds/3/container/mappings?all=true', 'delete', undefined, { arg: { flags: 2, iova: '0x0', size: '0x0' } }],
  [
    'iommufds/3/hwpts/4/dirty-bitmap?iova=0&length=4096&pageSize=4096&clear=true',
    'get',
    undefined,
    { arg: { hwpt_id: 4, flags: 0, iova: '0x0', length: '0x1000', page_size: '0x1000' } },
  ],
];

test('parameters become the arguments of the call', async (t) => {
  const { ask, lanes } = await fixture(t);
  lanes.onCommand = () => ({ kind: 'ok', value: { results: [{ ret: 0 }] } });
  for (const [path, method, body, expected] of ARGUMENTS) {
    lanes.commands.length = 0;
    await ask(method, `/v1/hosts/${HOST}/processes/9/${path}`, body);
    const command = lanes.commands[0];
    assert.ok(command?.op === 'calls', path);
    assert.partialDeepStrictEqual(command.calls[0], expected, path);
  }
});

/** What operations make of results, where it is more than a name. */
const ANSWERS: [string, CallResult, unknown][] = [
  [
    'cdevs/4',
    { ret: 0, arg: { flags: 2, num_regions: 9, num_irqs: 5 } },
    { canReset: false, pci: true, regions: 9, irqs: 5 },
  ],
  [
    'cdevs/4/regions/0',
    { ret: 0, arg: { flags: 15, cap_offset: 32, size: '0x4000', offset: '0x0', data: 'AwABAAAAAAA=' } },
    { size: '0x4000', offset: '0x0', readable: true, writeable: true, mappable: true, msixMappable: true },
  ],
  [
    'cdevs/4/interrupts/0',
    { ret: 0, arg: { flags: 7, count: 1 } },
    { count: 1, maskable: true, automasked: true, resizable: true },
  ],
  [
    'cdevs/4/interrupts/1',
    { ret: 0, arg: { flags: 9, count: 8 } },
    { count: 8, maskable: false, automasked: false, resizable: false },
  ],
  ['vfio-groups/4', { ret: 0, arg: { flags: 3 } }, { viable: true, containerSet: true }],
  ['memfds/4', { ret: 0, size: '0x4000' }, { size: '0x4000' }],
  ['memfds/4/seals', { ret: 7 }, { seals: 7 }],
  [
    'iommufds/3/devices/1/hw-info',
    {
      ret: 0,
      arg: { data_len: 3, data: 'AQID/////w==', out_data_type: 1, out_max_pasid_log2: 0, out_capabilities: '0x8' },
    },
    { dataType: 1, data: 'AQID', maxPasidLog2: 0, capabilities: '0x8' },
  ],
  [
    'iommufds/3/ioases/2/iova-ranges',
    { ret: 0, arg: { num_iovas: 1, allowed_iovas: [{ start: '0x0', last: '0xffff' }], out_iova_alignment: '0x1000' } },
    { ranges: [{ start: '0x0', last: '0xffff' }], alignment: '0x1000' },
  ],
];

test('results become answers', async (t) => {
  const { ask, lanes } = await fixture(t);
  for (const [path, result, expected] of ANSWERS) {
    lanes.onCommand = () => ({ kind: 'ok', value: { results: [result] } });
    const { body } = await ask('get', `/v1/hosts/${HOST}/processes/9/${path}`);
    assert.deepEqual(body, expected, path);
  }
});

test('an eventfd that is none gives what can be read of it', async (t) => {
  const { ask, lanes } = await fixture(t);
  for (const [data, value] of [
    ['', '0x0'],
    ['AQI=', '0x201'],
    ['AQAAAAAAAIA=', '0x8000000000000001'],
  ] as const) {
    lanes.onCommand = () => ({ kind: 'ok', value: { results: [{ ret: 0, data }] } });
    const { status, body } = await ask('post', `/v1/hosts/${HOST}/processes/1/eventfds/3/read`);
    assert.deepEqual([status, body], [200, { value }]);
  }
});
