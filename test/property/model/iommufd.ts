/** The model's ioctls of an iommufd, check by check as the READMEs of src/kernel/iommufd and its rooms have them. */
import { Failure, least, type Out, PAGE, type Range, touches, UMAX } from './base.ts';
import { dirtyBitmap } from './dirty.ts';
import type { World } from './ioas.ts';
import { type Account, type Area, Domain, type Ioas, type Pages, READ, WRITE } from './ioas.ts';
import {
  addObject,
  destroyObject,
  findDevice,
  findHwpt,
  findIoas,
  type Hwpt,
  type IoasObject,
  type Iommufd,
  idOf,
  type OpenFile,
  type Unit,
  users,
} from './objects.ts';
import type { Process } from './process.ts';
import { ENDS, SIZES } from './structs.ts';

/** Fields of a struct as the caller gave them; what is not there is 0. */
export class Arg {
  readonly fields: Readonly<Record<string, unknown>>;
  constructor(fields: Readonly<Record<string, unknown>>) {
    this.fields = fields;
  }
  number(name: string): number {
    return Number(this.fields[name] ?? 0);
  }
  long(name: string): bigint {
    return BigInt((this.fields[name] ?? 0) as string | number);
  }
  bytes(name: string): Uint8Array {
    return Uint8Array.fromBase64(String(this.fields[name] ?? ''));
  }
}

/** What handlers need of the whole. */
export interface Surroundings extends World {
  readonly unit: Unit;
  readonly pages: Set<Pages>;
  makeIoas(): Ioas;
}

type Handler = (world: Surroundings, context: Iommufd, arg: Arg, process: Process) => Out;

const FIXED_IOVA = 1;
const WRITEABLE = 2;
const READABLE = 4;

const access = (flags: number): number => (flags & READABLE ? READ : 0) | (flags & WRITEABLE ? WRITE : 0);

function mustBeZero(arg: Arg, name: string): void {
  if (arg.number(name) !== 0) throw new Failure('EOPNOTSUPP');
}

/** Rows 1 to 3 of MAP, MAP_FILE and COPY. */
function checkMap(arg: Arg, ...values: string[]): number {
  const flags = arg.number('flags');
  if (flags & ~7) throw new Failure('EOPNOTSUPP');
  if (values.some((name) => arg.long(name) === UMAX)) throw new Failure('EOVERFLOW');
  if (access(flags) === 0) throw new Failure('EINVAL');
  return flags;
}

function newPages(
  world: Surroundings,
  context: Iommufd,
  process: Process,
  source: Pages['source'],
  writable: boolean,
): Pages {
  const mode: Account['mode'] = process.capabilities.has('CAP_IPC_LOCK') ? 'none' : context.perProcess ? 'mm' : 'user';
  const pages: Pages = { source, writable, account: { mode, process, uid: process.uid }, pinned: new Map() };
  world.pages.add(pages);
  return pages;
}

/** Rows 5 to 10 of MAP. */
export function mapMemory(
  world: Surroundings,
  context: Iommufd,
  ioas: IoasObject,
  process: Process,
  request: { va: bigint; length: bigint; iova: bigint | null; access: number },
): bigint {
  const { va, length, iova: wanted } = request;
  if (va + length > UMAX) throw new Failure('EOVERFLOW');
  if (length === 0n || length > UMAX - PAGE) throw new Failure('EINVAL');
  const iova = ioas.space.place(va, length, wanted);
  const pages = newPages(
    world,
    context,
    process,
    { kind: 'user', memory: process.memory },
    (request.access & WRITE) !== 0,
  );
  ioas.space.insert([{ iova, last: iova + length - 1n, access: request.access, pages, start: va }]);
  return iova;
}

/** The mode of accounting, and who pays, of file pages go over to the caller. */
function changeProcess(world: Surroundings, context: Iommufd, process: Process): void {
  const areas = [...context.objects.values()].flatMap((object) => (object.type === 'ioas' ? object.space.areas : []));
  if (areas.some(({ pages }) => pages.source.kind === 'user')) throw new Failure('EINVAL');
  const moving = [...new Set(areas.map(({ pages }) => pages))].filter(
    ({ account }) => account.process !== process || account.uid !== process.uid,
  );
  for (const mode of ['user', 'mm'] as const) {
    const added = moving
      .filter(({ account }) => account.mode === mode)
      .reduce((sum, { pinned }) => sum + pinned.size, 0);
    const total = world.locked({ mode, process, uid: process.uid }) + added;
    if (added > 0 && process.memlock !== null && BigInt(total) > process.memlock / PAGE) throw new Failure('ENOMEM');
  }
  for (const pages of moving) pages.account = { mode: pages.account.mode, process, uid: process.uid };
}

/** The driver takes flags and data, or not: rows 7 and 8 in src/kernel/iommufd/hw-pagetable/README.md. */
function newDomain(unit: Unit, canTrack: boolean, arg: Arg): Domain {
  const [flags, type, length] = [arg.number('flags'), arg.number('data_type'), arg.number('data_len')];
  const [nestParent, dirty, fault, pasid] = [1, 2, 4, 8].map((bit) => (flags & bit) !== 0);
  if (flags & ~15 || (fault && nestParent)) throw new Failure('EOPNOTSUPP');
  if (dirty && !canTrack) throw new Failure('EOPNOTSUPP');
  if (nestParent && !unit.nesting) throw new Failure('EOPNOTSUPP');
  const vtd = unit.kind === 'intel-vtd';
  if (vtd && pasid && (dirty || nestParent)) throw new Failure('EOPNOTSUPP');
  let table = 0;
  if (type !== 0) {
    if (vtd || type !== 0xdead) throw new Failure('EOPNOTSUPP');
    if (length < 4 || length > 8) throw new Failure('EINVAL');
    const data = arg.bytes('data');
    if (data.length < length) throw new Failure('EFAULT');
    const whole = new Uint8Array(8);
    whole.set(data);
    table = new DataView(whole.buffer).getUint32(4, true);
    if (table > 1) throw new Failure('EOPNOTSUPP');
  }
  return new Domain(unit.formats[table]!, { dirty: dirty === true, nestParent: nestParent === true, vtd });
}

const HANDLERS: Readonly<Record<string, Handler>> = {
  IOMMU_DESTROY(_world, context, arg) {
    const object = context.objects.get(arg.number('id'));
    if (!object) throw new Failure('ENOENT');
    if (users(context, object) > 0) throw new Failure('EBUSY');
    destroyObject(context, object);
    return {};
  },

  IOMMU_IOAS_ALLOC(world, context, arg) {
    mustBeZero(arg, 'flags');
    return { out_ioas_id: addObject(context, { type: 'ioas', space: world.makeIoas(), hwpts: [] }) };
  },

  IOMMU_IOAS_IOVA_RANGES(_world, context, arg) {
    mustBeZero(arg, '__reserved');
    const { space } = findIoas(context, arg.number('ioas_id'));
    const ranges = space.ranges();
    const room = arg.number('num_iovas');
    const out = {
      num_iovas: ranges.length,
      out_iova_alignment: space.alignment(),
      allowed_iovas: ranges.slice(0, room),
    };
    if (ranges.length > room) throw new Failure('EMSGSIZE', out);
    return out;
  },

  IOMMU_IOAS_ALLOW_IOVAS(_world, context, arg) {
    mustBeZero(arg, '__reserved');
    const { space } = findIoas(context, arg.number('ioas_id'));
    const given = (arg.fields.allowed_iovas ?? []) as { start: string; last: string }[];
    const ranges: Range[] = [];
    for (let i = 0; i < arg.number('num_iovas'); i++) {
      const range = given[i];
      if (!range) throw new Failure('EFAULT');
      const [start, last] = [BigInt(range.start), BigInt(range.last)];
      if (start >= last || ranges.some((other) => touches(other, start, last))) throw new Failure('EINVAL');
      ranges.push({ start, last });
    }
    space.allow(ranges);
    return {};
  },

  IOMMU_IOAS_MAP(world, context, arg, process) {
    mustBeZero(arg, '__reserved');
    const flags = checkMap(arg, 'iova', 'length');
    const ioas = findIoas(context, arg.number('ioas_id'));
    const iova = mapMemory(world, context, ioas, process, {
      va: arg.long('user_va'),
      length: arg.long('length'),
      iova: flags & FIXED_IOVA ? arg.long('iova') : null,
      access: access(flags),
    });
    return { iova };
  },

  IOMMU_IOAS_MAP_FILE(world, context, arg, process) {
    const flags = checkMap(arg, 'iova', 'length');
    const { space } = findIoas(context, arg.number('ioas_id'));
    const length = arg.long('length');
    const start = arg.long('start');
    if (length === 0n) throw new Failure('EINVAL');
    if (start + length - 1n > UMAX) throw new Failure('EOVERFLOW');
    const file: OpenFile = process.file(arg.number('fd'));
    if (length > UMAX - PAGE) throw new Failure('EINVAL');
    const iova = space.place(start, length, flags & FIXED_IOVA ? arg.long('iova') : null);
    const pages = newPages(world, context, process, { kind: 'file', file }, (flags & WRITEABLE) !== 0);
    space.insert([{ iova, last: iova + length - 1n, access: access(flags), pages, start }]);
    return { iova };
  },

  IOMMU_IOAS_COPY(_world, context, arg) {
    const flags = checkMap(arg, 'length', 'dst_iova', 'src_iova');
    const source = findIoas(context, arg.number('src_ioas_id')).space;
    const first = arg.long('src_iova');
    const length = arg.long('length');
    if (length === 0n) throw new Failure('EINVAL');
    const last = first + length - 1n;
    if (last > UMAX) throw new Failure('EOVERFLOW');
    const slices: { pages: Pages; start: bigint; length: bigint }[] = [];
    for (let cursor = first; cursor <= last; ) {
      const area = source.area(cursor);
      if (!area) throw new Failure('ENOENT');
      const end = least(area.last, last);
      slices.push({ pages: area.pages, start: area.start + (cursor - area.iova), length: end - cursor + 1n });
      cursor = end + 1n;
    }
    const { space } = findIoas(context, arg.number('dst_ioas_id'));
    const iova = space.place(slices[0]!.start, length, flags & FIXED_IOVA ? arg.long('dst_iova') : null);
    const areas: Area[] = [];
    let at = iova;
    for (const slice of slices) {
      if (flags & WRITEABLE && !slice.pages.writable) throw new Failure('EPERM');
      if ((slice.start % PAGE) % space.alignment() !== 0n) throw new Failure('EINVAL');
      const { pages, start } = slice;
      areas.push({ iova: at, last: at + slice.length - 1n, access: access(flags), pages, start });
      at += slice.length;
    }
    space.insert(areas);
    return { dst_iova: iova };
  },

  IOMMU_IOAS_UNMAP(_world, context, arg) {
    const { space } = findIoas(context, arg.number('ioas_id'));
    const [iova, length] = [arg.long('iova'), arg.long('length')];
    const all = iova === 0n && length === UMAX;
    if (!all && (iova === UMAX || length === UMAX)) throw new Failure('EOVERFLOW');
    if (length === 0n) throw new Failure('EINVAL');
    const last = all ? UMAX : iova + length - 1n;
    if (last > UMAX) throw new Failure('EOVERFLOW');
    let gone = 0n;
    space.unmap(iova, last, (bytes) => {
      gone += bytes;
    });
    if (!all && gone === 0n) throw new Failure('ENOENT');
    return { length: gone };
  },

  IOMMU_IOAS_CHANGE_PROCESS(world, context, arg, process) {
    mustBeZero(arg, '__reserved');
    changeProcess(world, context, process);
    return {};
  },

  IOMMU_OPTION(_world, context, arg, process) {
    mustBeZero(arg, '__reserved');
    const [op, id, value] = [arg.number('op'), arg.number('object_id'), arg.long('val64')];
    if (arg.number('option_id') === 0) {
      if (id !== 0 || op > 1) throw new Failure('EOPNOTSUPP');
      if (op === 1) return { val64: context.perProcess ? 1n : 0n };
      if (!process.capabilities.has('CAP_SYS_RESOURCE')) throw new Failure('EPERM');
      if (context.objects.size > 0) throw new Failure('EBUSY');
      if (value > 1n) throw new Failure('EINVAL');
      context.perProcess = value === 1n;
      return { val64: value };
    }
    if (arg.number('option_id') !== 1) throw new Failure('EOPNOTSUPP');
    const { space } = findIoas(context, id);
    if (op === 1) return { val64: space.hugePages ? 1n : 0n };
    if (op !== 0) throw new Failure('EOPNOTSUPP');
    if (value > 1n) throw new Failure('EINVAL');
    space.setHugePages(value === 1n);
    return { val64: value };
  },

  IOMMU_VFIO_IOAS(_world, context, arg): Out {
    mustBeZero(arg, '__reserved');
    switch (arg.number('op')) {
      case 0:
        if (!context.vfioIoas) throw new Failure('ENODEV');
        return { ioas_id: idOf(context, context.vfioIoas) };
      case 1:
        context.vfioIoas = findIoas(context, arg.number('ioas_id'));
        return {};
      case 2:
        context.vfioIoas = null;
        return {};
      default:
        throw new Failure('EOPNOTSUPP');
    }
  },

  IOMMU_HWPT_ALLOC({ unit }, context, arg) {
    mustBeZero(arg, '__reserved');
    const [flags, type, length] = [arg.number('flags'), arg.number('data_type'), arg.number('data_len')];
    if ((type === 0) !== (length === 0)) throw new Failure('EINVAL');
    const { fn } = findDevice(context, arg.number('dev_id'));
    const ioas = context.objects.get(arg.number('pt_id'));
    if (!ioas || ioas.type === 'device') throw new Failure('EINVAL');
    if (ioas.type === 'hwpt') {
      // Nothing is nested here: only what cannot work. Of the drivers the mock's alone nests.
      const nests = unit.nesting && unit.kind === 'generic';
      if (flags & ~12 || length === 0 || !nests) throw new Failure('EOPNOTSUPP');
      throw new Failure('EINVAL');
    }
    const domain = newDomain(unit, unit.dirtyTracking && fn.dirtyTracking, arg);
    const hwpt: Hwpt = { type: 'hwpt', ioas, domain, auto: false, nestParent: (flags & 1) !== 0 };
    ioas.space.addDomain(domain);
    ioas.hwpts.push(hwpt);
    const id = addObject(context, hwpt);
    if (flags & 4) {
      destroyObject(context, hwpt);
      throw new Failure('ENOENT');
    }
    return { out_hwpt_id: id };
  },

  IOMMU_GET_HW_INFO({ unit }, context, arg) {
    const flags = arg.number('flags');
    if (flags & ~1 || arg.number('__reserved') !== 0) throw new Failure('EOPNOTSUPP');
    const { fn } = findDevice(context, arg.number('dev_id'));
    const type = flags & 1 ? arg.number('in_data_type') : 0;
    if (type !== 0 && type !== unit.hwInfo.type) throw new Failure('EOPNOTSUPP');
    const data = new Uint8Array(arg.number('data_len'));
    data.set(unit.hwInfo.data.subarray(0, data.length));
    return {
      data_len: unit.hwInfo.data.length,
      out_data_type: unit.hwInfo.type,
      out_max_pasid_log2: 0,
      out_capabilities: (unit.dirtyTracking && fn.dirtyTracking ? 1n : 0n) | 8n,
      data: data.toBase64(),
    };
  },

  IOMMU_HWPT_SET_DIRTY_TRACKING(_world, context, arg) {
    const flags = arg.number('flags');
    if (flags & ~1) throw new Failure('EOPNOTSUPP');
    const { domain } = findHwpt(context, arg.number('hwpt_id'));
    if (!domain.flags.dirty) throw new Failure('EOPNOTSUPP');
    if (flags === 1) for (const { leaf } of domain.table.values()) leaf.dirty = false;
    domain.tracking = flags === 1;
    return {};
  },

  IOMMU_HWPT_GET_DIRTY_BITMAP(_world, context, arg) {
    const flags = arg.number('flags');
    if (flags & ~1 || arg.number('__reserved') !== 0) throw new Failure('EOPNOTSUPP');
    const { domain, ioas } = findHwpt(context, arg.number('hwpt_id'));
    const [iova, length, size] = [arg.long('iova'), arg.long('length'), arg.long('page_size')];
    if (length === 0n) throw new Failure('EINVAL');
    if (iova + length - 1n > UMAX) throw new Failure('EOVERFLOW');
    for (const unit of [ioas.space.alignment(), size])
      if (unit === 0n || iova % unit !== 0n || (iova + length) % unit !== 0n) throw new Failure('EINVAL');
    if (!domain.flags.dirty) throw new Failure('EOPNOTSUPP');
    return { data: dirtyBitmap(domain, ioas.space, { start: iova, last: iova + length - 1n }, size, flags === 0) };
  },
};

export function iommufdIoctl(
  world: Surroundings,
  context: Iommufd,
  request: string,
  fields: Record<string, unknown>,
  process: Process,
): Out {
  const [least, whole] = SIZES[request]!;
  const size = Number(fields.size ?? whole);
  if (size < least) throw new Failure('EINVAL');
  if (size > whole && fields.tail) throw new Failure('E2BIG');
  const there = ([name]: [string, unknown]): boolean => (ENDS[request]?.[name] ?? 0) <= size;
  const out = HANDLERS[request]!(
    world,
    context,
    new Arg(Object.fromEntries(Object.entries(fields).filter(there))),
    process,
  );
  return Object.fromEntries(Object.entries(out).filter(there));
}
