/**
 * Two hosts that are alike get the same requests with random fields, one by their names, the other as the bytes that a C
 * program has: they answer the same, write the same, and are the same in the end.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CallInput, CallResult } from '../../src/kernel/uapi/calls.ts';
import { type Field, REQUESTS, type RequestKind } from '../../src/kernel/uapi/index.ts';
import { digestOf } from '../../src/lanes/state-digest.ts';
import { Random } from '../crash/random.ts';
import { BDF, IOVA, PAGE, Vmm } from '../host/invariants/vmm.ts';
import { C_STRUCTS } from './uapi/c-structs.ts';
import { type Fields, pack } from './uapi/packing.ts';

const ROUNDS = 30;
const STEPS = 400;
/** The address space of `Vmm` begins here. */
const MEMORY = 0x100000000000;

type Descriptors = Readonly<Record<RequestKind, number>>;

const open = (vmm: Vmm, path: string): number => vmm.call({ call: 'open', path }).ret as number;

/** A VMM with something of everything, and a descriptor of each kind that knows requests. */
function everything(): [Vmm, Descriptors] {
  const vmm = Vmm.attached();
  const liveupdate = open(vmm, '/dev/liveupdate');
  const session = vmm.ioctl(liveupdate, 'LIVEUPDATE_IOCTL_CREATE_SESSION', { name: 'vm1' }).fd!;
  return [vmm, { iommufd: vmm.iommufd, 'vfio-cdev': vmm.cdev, 'vfio-group': 99, liveupdate, session }];
}

/** The device by its legacy group, and by a cdev that is not bound. */
function legacy(): [Vmm, Descriptors] {
  const vmm = Vmm.attached();
  vmm.call({ call: 'close', fd: vmm.cdev });
  const { group } = vmm.kernel.vfio.byPath('/dev/vfio/devices/vfio0')!.fn.spec;
  const descriptors = {
    iommufd: vmm.iommufd,
    'vfio-cdev': open(vmm, '/dev/vfio/devices/vfio0'),
    'vfio-group': open(vmm, `/dev/vfio/${group}`),
  };
  vmm.ioctl(descriptors['vfio-group'], 'VFIO_GROUP_SET_CONTAINER', { container: vmm.iommufd });
  return [vmm, { ...descriptors, liveupdate: open(vmm, '/dev/liveupdate'), session: 99 }];
}

/** What came out of a session. */
function restored(): [Vmm, Descriptors] {
  const vmm = Vmm.restored(false);
  const [liveupdate, session] = [...vmm.process.descriptors]
    .filter(([, { kind }]) => kind !== 'memfd')
    .map(([fd]) => fd);
  const descriptors = { liveupdate: liveupdate!, session: session! };
  return [vmm, { ...descriptors, iommufd: vmm.iommufd, 'vfio-cdev': vmm.cdev, 'vfio-group': 99 }];
}

const UMAX = '0xffffffffffffffff';
const hex = (value: number): string => `0x${value.toString(16)}`;

/** Which objects a field takes. */
const OBJECTS: Readonly<Record<string, RegExp>> = {
  ioas_id: /^ioas$/,
  dst_ioas_id: /^ioas$/,
  src_ioas_id: /^ioas$/,
  dev_id: /^device$/,
  pt_id: /^(ioas|hwpt.*|viommu)$/,
  hwpt_id: /^hwpt.*|viommu$/,
  viommu_id: /^viommu$/,
  fault_id: /^fault$/,
};

function idFor(name: string, vmm: Vmm, random: Random): number {
  const objects = [...vmm.context.objects.visible()].filter(({ type }) => OBJECTS[name]?.test(type) ?? true);
  return random.chance(0.1) || objects.length === 0
    ? random.pick([0, 1, 2, 999, 0xffffffff])!
    : random.pick(objects)!.id;
}

function numberFor(name: string, { type, about }: Field, vmm: Vmm, random: Random): string | number {
  if (/Must be 0/.test(about) && random.chance(0.95)) return 0;
  if (/(_id|^id)$/.test(name)) return idFor(name, vmm, random);
  if (/^flags$/.test(name)) return random.pick([0, 0, 1, 2, 3, 4, 6, 7, 7, 9, 0x80000000])!;
  if (/(^fd|iommufd|container)$/.test(name))
    return random.pick([vmm.memfd, vmm.iommufd, vmm.iommufd, vmm.cdev, 77, -1])!;
  if (/type$/.test(name)) return random.pick([0, 0, 1, 3, 0xdead, 0xdeadbeef, 0xdeadbeef, 0xbeefbeef])!;
  if (/iova$|vaddr|user_va|offset/.test(name))
    return random.pick([hex(IOVA), hex(IOVA + 2 * PAGE), hex(MEMORY), hex(MEMORY + PAGE), '0x3000000', 0, UMAX])!;
  if (/^(length|size|page_size)$/.test(name)) return random.pick([PAGE, PAGE, 2 * PAGE, 16 * PAGE, PAGE / 2, 0, UMAX])!;
  if (/token/.test(name)) return random.pick([1, 2, 3, 7, UMAX])!;
  if (/len$/.test(name)) return random.pick([0, 0, 8, 8, 12, 24])!;
  if (type === 'u64') return random.pick([0, 1, hex(PAGE)])!;
  return random.pick([0, 0, 1, 1, 2, 3, 4, 9])!;
}

function valueFor(name: string, field: Field, vmm: Vmm, random: Random): unknown {
  switch (field.type) {
    case 'bytes':
      return Buffer.from(Array.from({ length: random.pick([0, 4, 8, 12, 24, 32])! }, () => random.below(3))).toString(
        'base64',
      );
    case 'ranges':
      return Array.from({ length: random.below(4) }, (_, index) => ({
        start: hex(index * 0x100000000),
        last: hex(index * 0x100000000 + random.pick([0, 0xffff, 0xffffffff])!),
      }));
    case 'descriptors':
      return Array.from({ length: random.below(4) }, () => random.pick([-1, 3, 4, 77])!);
    case 'name':
      return random.pick(['vm1', 'vm2', '', 'a'.repeat(64), 'b\u0000c', BDF]);
    case 'u16':
      return Number(numberFor(name, field, vmm, random)) & 3;
    default:
      return numberFor(name, field, vmm, random);
  }
}

function fieldsFor(request: string, vmm: Vmm, random: Random): Fields {
  const { fields, sizeField, size: known } = REQUESTS.get(request)!;
  const arg: Fields = {};
  for (const [name, field] of Object.entries(fields)) {
    if (field.direction === 'out' || random.chance(0.1)) continue;
    // Both stand behind the header.
    if (name === 'eventfds' && arg.data !== undefined) continue;
    arg[name] = name === sizeField ? random.pick([24, 60, 200]) : valueFor(name, field, vmm, random);
  }
  if (known > 0 && random.chance(0.1)) {
    // By names a field is there as a whole or not at all.
    const { members } = C_STRUCTS.get(request)!;
    const sizes = [0, 4, 8, 12, 16, 20, 23, 24, 28, 32, 40, 48, 72, 96, 200];
    arg[sizeField] = random.pick(
      sizes.filter((size) => !members.some(({ at, bytes }) => at < size && size < at + bytes)),
    );
    if (fields.data?.direction !== 'out' && random.chance(0.4)) arg.tail = random.pick([0, 1, 255]);
  }
  return arg;
}

function run(vmm: Vmm, call: CallInput): CallResult {
  const { results } = vmm.execute({ op: 'calls', pid: vmm.pid, calls: [call] }) as { results: CallResult[] };
  return results[0]!;
}

/** Asks both. Returns what both have answered. */
function askBoth(named: Vmm, packed: Vmm, fd: number, request: string, arg: Fields, byNumber: boolean): CallResult {
  const { given, after } = pack(request, arg);
  const what = JSON.stringify({ fd, request, arg, given });
  const { arg: written = {}, ...expected } = run(named, { call: 'ioctl', fd, request, arg });
  const number = REQUESTS.get(request)!.number;
  const {
    bytes,
    memory = [],
    ...got
  } = run(packed, { call: 'ioctl', fd, request: byNumber ? number : request, ...given });
  assert.deepEqual(got, expected, what);
  const then = after(written, expected.errno === undefined);
  // Bytes that are not told are as they were.
  assert.equal(bytes ?? ('bytes' in given ? given.bytes : undefined), then.bytes, `${what} ${JSON.stringify(written)}`);
  assert.deepEqual(memory, then.memory, what);
  return { ...expected, arg: written };
}

const SETUPS = { everything, legacy, restored };

for (const [name, setup] of Object.entries(SETUPS))
  test(`bytes are answered as names are: ${name}`, () => {
    const succeeded = new Set<string>();
    const asked = new Set<string>();
    for (let round = 0; round < ROUNDS; round++) {
      const random = new Random('twins', name, round);
      const [named, descriptors] = setup();
      const [packed] = setup();
      const kinds = Object.keys(descriptors) as RequestKind[];
      const requests = [...REQUESTS.values()];
      for (let step = 0; step < STEPS; step++) {
        const kind = random.pick(kinds)!;
        // Of another kind only what is asked by bytes is looked at.
        const known = requests.filter((request) => request.kind === kind);
        const { name: request } = random.pick(known)!;
        const arg = fieldsFor(request, named, random);
        const { errno } = askBoth(named, packed, descriptors[kind], request, arg, random.chance(0.5));
        asked.add(request);
        if (errno === undefined) succeeded.add(request);
      }
      assert.equal(digestOf(packed.host), digestOf(named.host), `round ${round}`);
    }
    assert.equal(asked.size, REQUESTS.size);
    assert.ok(succeeded.size > (name === 'everything' ? 20 : 15), [...succeeded].join());
  });
