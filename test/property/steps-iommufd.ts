/** Steps of iommufds. */
import {
  type Action,
  anyId,
  anyIommufd,
  BAD_FD,
  call,
  type Descriptor,
  descriptors,
  hex,
  type Maker,
} from './actions.ts';
import { PAGE, UMAX } from './model/base.ts';
import type { Iommufd } from './model/objects.ts';
import type { Model } from './model.ts';
import type { Picks } from './picks.ts';
import { anyHwpt, ask, needing, spaceOf, withIommufd } from './requests.ts';
import { anyAddress, anyIova, anyLength, anyRange, base, HUGE_MEMORY, MEMORY } from './values.ts';

/** FIXED_IOVA 1, WRITEABLE 2, READABLE 4. */
const mapFlags = (picks: Picks): number => picks.mostly([7, 7, 6, 5, 4, 3], 20, [0, 1, 8, 2]);

const createMemfd: Maker = (model, picks) => {
  const pid = picks.mostly(withIommufd(model), 10, [...model.processes.keys()]);
  return call(pid, 'memfd_create', { name: 'memory', flags: 2, size: hex(0x1000n * BigInt(4 + picks.below(8))) });
};

const hasHugeMemory = (model: Model): boolean =>
  withIommufd(model).some((pid) => model.processes.get(pid)!.memory.pages.has(Number(HUGE_MEMORY / PAGE)));

const mmapHuge: Maker = (model, picks) => {
  const pid = picks.mostly(withIommufd(model), 10, [...model.processes.keys()]);
  return call(pid, 'mmap', { addr: hex(HUGE_MEMORY), length: '0x200000', huge: '2M' });
};

const memfdOwners = (model: Model): number[] => descriptors(model, 'memfd').map(({ pid }) => pid);
const hasMemfd = (model: Model): boolean => memfdOwners(model).some((pid) => withIommufd(model).includes(pid));

const hasDirty = (model: Model): boolean =>
  !model.unit.dirtyTracking || [...model.ioases()].some(({ space }) => space.domains.some(({ flags }) => flags.dirty));

const allocDirty: Maker = (model, picks) => {
  const iommufd = anyIommufd(model, picks, 'device');
  return ask(picks, iommufd, 'IOMMU_HWPT_ALLOC', {
    flags: 2,
    dev_id: anyId(iommufd.file, picks, 'device'),
    pt_id: anyId(iommufd.file, picks, 'ioas'),
  });
};

function mapOf(model: Model, picks: Picks): Action {
  const iommufd = anyIommufd(model, picks);
  const id = anyId(iommufd.file, picks, 'ioas');
  return ask(picks, iommufd, 'IOMMU_IOAS_MAP', {
    flags: mapFlags(picks),
    ioas_id: id,
    user_va: hex(anyAddress(model, iommufd.pid, picks)),
    length: hex(anyLength(picks)),
    iova: hex(anyIova(model, spaceOf(iommufd.file, id), picks)),
  });
}

export const IOMMUFD_STEPS: Readonly<Record<string, Maker>> = {
  ioasAlloc: (model, picks) => ask(picks, anyIommufd(model, picks), 'IOMMU_IOAS_ALLOC', {}),
  map: mapOf,
  mapHuge: needing(hasHugeMemory, mmapHuge, (model, picks) => {
    const iommufd = anyIommufd(model, picks);
    const id = anyId(iommufd.file, picks, 'ioas');
    return ask(picks, iommufd, 'IOMMU_IOAS_MAP', {
      flags: picks.one([7, 6]),
      ioas_id: id,
      user_va: hex(HUGE_MEMORY + BigInt(picks.one([0, 0x100000, 0x1000, 0x800]))),
      length: hex(BigInt(picks.one([0x10000, 0x100000, 0x18000, 0x200000]))),
      iova: hex(base(model) + BigInt(picks.one([0x200000, 0x400000, 0x100000, 0x201000]))),
    });
  }),
  mapFile: needing(hasMemfd, createMemfd, (model, picks) => {
    const usual = descriptors(model, 'iommufd').filter(({ pid }) => memfdOwners(model).includes(pid));
    const iommufd = usual.length > 0 && !picks.rarely(10) ? picks.one(usual) : anyIommufd(model, picks);
    const id = anyId(iommufd.file, picks, 'ioas');
    const mine = (kind: 'memfd' | 'null') => descriptors(model, kind).filter(({ pid }) => pid === iommufd.pid);
    const fd = picks.mostly(
      mine('memfd').map((descriptor) => descriptor.fd),
      20,
      [BAD_FD, ...mine('null').map((descriptor) => descriptor.fd)],
    );
    return ask(picks, iommufd, 'IOMMU_IOAS_MAP_FILE', {
      flags: mapFlags(picks),
      ioas_id: id,
      fd,
      start: hex(0x1000n * BigInt(picks.below(4)) + picks.mostly([0n], 8, [0x800n, 0x7n])),
      length: hex(anyLength(picks)),
      iova: hex(anyIova(model, spaceOf(iommufd.file, id), picks)),
    });
  }),
  copy: (model, picks) => {
    const iommufd = anyIommufd(model, picks);
    const from = anyId(iommufd.file, picks, 'ioas');
    const to = anyId(iommufd.file, picks, 'ioas');
    const { iova, length } = anyRange(model, spaceOf(iommufd.file, from), picks);
    return ask(picks, iommufd, 'IOMMU_IOAS_COPY', {
      flags: mapFlags(picks),
      src_ioas_id: from,
      dst_ioas_id: to,
      length: hex(length),
      src_iova: hex(iova),
      dst_iova: hex(anyIova(model, spaceOf(iommufd.file, to), picks)),
    });
  },
  unmap: (model, picks) => {
    const iommufd = anyIommufd(model, picks);
    const id = anyId(iommufd.file, picks, 'ioas');
    const { iova, length } = picks.rarely(12)
      ? { iova: 0n, length: UMAX }
      : anyRange(model, spaceOf(iommufd.file, id), picks);
    return ask(picks, iommufd, 'IOMMU_IOAS_UNMAP', { ioas_id: id, iova: hex(iova), length: hex(length) });
  },
  ranges: (model, picks) => {
    const iommufd = anyIommufd(model, picks);
    const ioas_id = anyId(iommufd.file, picks, 'ioas');
    return ask(picks, iommufd, 'IOMMU_IOAS_IOVA_RANGES', { ioas_id, num_iovas: picks.one([16, 1, 0, 2]) });
  },
  allow: (model, picks) => {
    const iommufd = anyIommufd(model, picks);
    const ioas_id = anyId(iommufd.file, picks, 'ioas');
    const allowed_iovas = Array.from({ length: picks.below(4) }, () => {
      const start = picks.mostly([base(model) + 0x4000n * BigInt(picks.below(8))], 8, [0n, 0x10000n]);
      return { start: hex(start), last: hex((start + picks.mostly([0x3fffn, 0xfffn], 10, [0n, -1n, 0xffffn])) & UMAX) };
    });
    const num_iovas = allowed_iovas.length + (picks.rarely(30) ? 1 : 0);
    return ask(picks, iommufd, 'IOMMU_IOAS_ALLOW_IOVAS', { ioas_id, num_iovas, allowed_iovas });
  },
  /** A list of a few bytes, and areas of one or two: where the rules for holes show. */
  allowBytes: (model, picks) => {
    const iommufd = anyIommufd(model, picks);
    const ioas_id = anyId(iommufd.file, picks, 'ioas');
    const start = 0x5000n + BigInt(picks.below(3));
    const allowed_iovas = [{ start: hex(start), last: hex(start + BigInt(1 + picks.below(4))) }];
    return ask(picks, iommufd, 'IOMMU_IOAS_ALLOW_IOVAS', { ioas_id, num_iovas: 1, allowed_iovas });
  },
  mapByte: (model, picks) => {
    const iommufd = anyIommufd(model, picks);
    return ask(picks, iommufd, 'IOMMU_IOAS_MAP', {
      flags: 6,
      ioas_id: anyId(iommufd.file, picks, 'ioas'),
      user_va: hex(MEMORY + BigInt(picks.one([0, 0, 1, 2]))),
      length: hex(BigInt(picks.one([1, 1, 2]))),
    });
  },
  option: (model, picks) => {
    const iommufd = anyIommufd(model, picks);
    if (picks.rarely(3)) {
      const object_id = picks.mostly([0], 10, [1]);
      const rlimit = { option_id: 0, op: picks.mostly([0, 1], 15, [2]), object_id };
      return ask(picks, iommufd, 'IOMMU_OPTION', { ...rlimit, val64: hex(BigInt(picks.mostly([1, 0], 15, [2]))) });
    }
    return ask(picks, iommufd, 'IOMMU_OPTION', {
      option_id: picks.mostly([1], 20, [2]),
      op: picks.mostly([0, 0, 1], 20, [2]),
      object_id: anyId(iommufd.file, picks, 'ioas'),
      val64: hex(BigInt(picks.mostly([0, 1], 20, [2]))),
    });
  },
  changeProcess: (model, picks) => ask(picks, anyIommufd(model, picks), 'IOMMU_IOAS_CHANGE_PROCESS', {}),
  destroy: (model, picks) => {
    const iommufd = anyIommufd(model, picks);
    const id = anyId(iommufd.file, picks, picks.one(['hwpt', 'ioas', 'hwpt', 'device']));
    return ask(picks, iommufd, 'IOMMU_DESTROY', { id });
  },
  hwptAlloc: (model, picks) => {
    const iommufd = anyIommufd(model, picks, 'device');
    const pt = anyId(iommufd.file, picks, 'ioas');
    const parent = anyHwpt(iommufd.file, pt);
    const word = (value: number): Uint8Array => Uint8Array.from([0, 0, 0, 0, value, 0, 0, 0]);
    let data = picks.mostly<{ type: number; bytes: Uint8Array }>([{ type: 0, bytes: new Uint8Array() }], 4, [
      { type: 0xdead, bytes: word(1) },
      { type: 0xdead, bytes: word(1) },
      { type: 0xdead, bytes: word(0) },
      { type: 0xdead, bytes: word(2) },
      { type: 0xdead, bytes: new Uint8Array(4) },
      { type: 0xdead, bytes: new Uint8Array(2) },
      { type: 0xdead, bytes: new Uint8Array(12) },
      { type: 1, bytes: new Uint8Array(8) },
      { type: 0, bytes: new Uint8Array(4) },
      { type: 1, bytes: new Uint8Array() },
    ]);
    // Nested HWPTs are not in the model: no data for a parent that could have one.
    if (parent?.nestParent && !parent.auto) data = { type: 0, bytes: new Uint8Array() };
    return ask(picks, iommufd, 'IOMMU_HWPT_ALLOC', {
      flags: picks.mostly([2, 0, 2, 8, 1, 3], 12, [4, 5, 16, 10]),
      dev_id: anyId(iommufd.file, picks, 'device'),
      pt_id: pt,
      data_type: data.type,
      data_len: data.bytes.length,
      data: data.bytes.toBase64(),
      fault_id: 9999,
    });
  },
  hwInfo: (model, picks) => {
    const iommufd = anyIommufd(model, picks, 'device');
    const dev_id = anyId(iommufd.file, picks, 'device');
    const [flags, in_data_type] = picks.one([
      [0, 0],
      [0, 5],
      [1, 0],
      [1, 5],
      [1, 0xfeedbeef],
    ] as const);
    return ask(picks, iommufd, 'IOMMU_GET_HW_INFO', {
      flags,
      dev_id,
      in_data_type,
      data_len: picks.one([8, 0, 4, 20]),
    });
  },
  setDirty: needing(hasDirty, allocDirty, (model, picks) => {
    const iommufd = anyIommufd(model, picks, 'hwpt');
    const hwpt_id = anyId(iommufd.file, picks, 'hwpt');
    return ask(picks, iommufd, 'IOMMU_HWPT_SET_DIRTY_TRACKING', { hwpt_id, flags: picks.mostly([1, 1, 0], 30, [2]) });
  }),
  readDirty: needing(hasDirty, allocDirty, (model, picks) => {
    const iommufd = anyIommufd(model, picks, 'hwpt');
    const hwpt_id = anyId(iommufd.file, picks, 'hwpt');
    const space = anyHwpt(iommufd.file, hwpt_id)?.ioas.space ?? null;
    const { iova, length } = anyRange(model, space, picks);
    const short = length < 0x1000000n ? length : 0x10000n;
    return ask(picks, iommufd, 'IOMMU_HWPT_GET_DIRTY_BITMAP', {
      hwpt_id,
      flags: picks.mostly([0, 1], 30, [2]),
      iova: hex(iova),
      length: hex(picks.rarely(40) && iova > 0n ? UMAX : short),
      page_size: hex(BigInt(picks.mostly([0x1000, 0x800, 0x1000, 0x2000], 15, [0, 0x400, 0x8000]))),
    });
  }),
  rlimitMode: (model, picks) => {
    const fresh = descriptors(model, 'iommufd').filter(({ file }) => file.objects.size === 0);
    const iommufd = picks.mostly<Descriptor<Iommufd | null>>(fresh, 10, [anyIommufd(model, picks)]);
    return ask(picks, iommufd, 'IOMMU_OPTION', { option_id: 0, op: 0, object_id: 0, val64: '0x1' });
  },
  unknownRequest: (model, picks) => {
    const iommufd = anyIommufd(model, picks);
    const nulls = descriptors(model, 'null');
    const { pid, fd } = picks.mostly<{ pid: number; fd: number }>([iommufd], 4, nulls.length > 0 ? nulls : [iommufd]);
    const request = picks.one(['0x3bf0', '0x3b96', 'VFIO_DEVICE_ATTACH_IOMMUFD_PT']);
    return call(pid, 'ioctl', { fd, request, arg: {} });
  },
  reserve: (model, picks) => {
    const iommufd = anyIommufd(model, picks);
    const ioas = anyId(iommufd.file, picks, 'ioas');
    const start = anyIova(model, spaceOf(iommufd.file, ioas), picks) + picks.mostly([0n], 4, [0x20000n, 0x800n]);
    return {
      kind: 'reserve',
      pid: iommufd.pid,
      fd: iommufd.fd,
      ioas,
      start: start & UMAX,
      length: anyLength(picks),
    };
  },
};
