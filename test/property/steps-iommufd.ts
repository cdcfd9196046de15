/** Steps of iommufds and devices. */
import {
  type Action,
  anyId,
  anyIommufd,
  anyPid,
  BAD_FD,
  call,
  type Descriptor,
  descriptors,
  hex,
  type Maker,
} from './actions.ts';
import { PAGE, UMAX } from './model/base.ts';
import type { Ioas } from './model/ioas.ts';
import type { Cdev, Hwpt, Iommufd } from './model/objects.ts';
import type { Model } from './model.ts';
import type { Picks } from './picks.ts';
import { anyAddress, anyIova, anyLength, anyRange, base, HUGE_MEMORY } from './values.ts';

type Fields = Record<string, unknown>;

/** A request of an iommufd; now and then with an unusual size, tail, flag or reserved field. */
function ask(
  picks: Picks,
  { pid, fd }: { pid: number; fd: number },
  request: string,
  arg: Fields,
  sizeField: 'size' | 'argsz' = 'size',
): Action {
  const odd: Fields = {};
  if (picks.rarely(40)) {
    const sizes: Fields[] = [
      { [sizeField]: 4 },
      { [sizeField]: 200, tail: 1 },
      { [sizeField]: 200 },
      { [sizeField]: picks.one([24, 28, 32, 40]) },
      { __reserved: 1 },
      { flags: 0x100 },
    ];
    Object.assign(odd, picks.one(sizes));
  }
  return call(pid, 'ioctl', { fd, request, arg: { ...arg, ...odd } });
}

const spaceOf = (context: Iommufd | null, id: number): Ioas | null => {
  const object = context?.objects.get(id);
  return object?.type === 'ioas' ? object.space : null;
};

/** FIXED_IOVA 1, WRITEABLE 2, READABLE 4. */
const mapFlags = (picks: Picks): number => picks.mostly([7, 7, 6, 5, 4, 3], 20, [0, 1, 8, 2]);

const anyHwpt = (context: Iommufd | null, id: number): Hwpt | null => {
  const object = context?.objects.get(id);
  return object?.type === 'hwpt' ? object : null;
};

/** A cdev, bound or not as asked for; now and then another or none. */
function anyCdev(model: Model, picks: Picks, bound: boolean): Descriptor<Cdev | null> {
  const all = descriptors(model, 'cdev');
  const fitting = all.filter(({ file }) => (file.bound !== null) === bound);
  return picks.mostly<Descriptor<Cdev | null>>(fitting.length > 0 ? fitting : all, 20, [
    ...all,
    { pid: anyPid(model, picks), fd: BAD_FD, file: null },
  ]);
}

/** Processes that have an iommufd. */
const withIommufd = (model: Model): number[] => [...new Set(descriptors(model, 'iommufd').map(({ pid }) => pid))];

/** A step that needs something which is not there makes it instead, mostly. */
function needing(isThere: (model: Model) => boolean, instead: Maker, step: Maker): Maker {
  return (model, picks) => (isThere(model) || picks.rarely(10) ? step : instead)(model, picks);
}

const openCdev: Maker = (model, picks) => {
  const pid = picks.mostly(withIommufd(model), 10, [...model.processes.keys()]);
  const groups = new Set([...model.cdevs].filter(({ bound }) => bound).map(({ fn }) => fn.group));
  const siblings = model.functions.filter((fn) => groups.has(fn.group) && !model.isBound(fn));
  return call(pid, 'open', {
    path: picks.one(siblings.length > 0 && picks.rarely(2) ? siblings : model.functions).cdev,
  });
};

const createMemfd: Maker = (model, picks) => {
  const pid = picks.mostly(withIommufd(model), 10, [...model.processes.keys()]);
  return call(pid, 'memfd_create', { name: 'memory', flags: 2, size: hex(0x1000n * BigInt(4 + picks.below(8))) });
};

const bind: Maker = needing(
  (model) => descriptors(model, 'cdev').some(({ pid, file }) => !file.bound && withIommufd(model).includes(pid)),
  openCdev,
  (model, picks) => {
    const all = descriptors(model, 'cdev');
    const good = all.filter(({ pid, file }) => !file.bound && withIommufd(model).includes(pid));
    const cdev = good.length > 0 && !picks.rarely(10) ? picks.one(good) : anyCdev(model, picks, false);
    const mine = [...(model.processes.get(cdev.pid)?.descriptors ?? [])];
    const iommufds = mine.filter(([, file]) => file.kind === 'iommufd').map(([fd]) => fd);
    const iommufd = picks.mostly(iommufds, 20, [...mine.map(([fd]) => fd), BAD_FD, -1]);
    return ask(picks, cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd });
  },
);

/** To an object of one of these types, mostly of a device that is not attached yet. */
const attachTo =
  (types: readonly ('ioas' | 'hwpt')[]): Maker =>
  (model, picks) => {
    const idle = descriptors(model, 'cdev').filter(({ file }) => file.bound && !model.attachment(file.fn));
    const cdev = idle.length > 0 && picks.rarely(2) ? picks.one(idle) : anyCdev(model, picks, true);
    const pt_id = anyId(cdev.file?.bound?.context ?? null, picks, picks.one(types));
    return ask(picks, cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id });
  };

const hasHugeMemory = (model: Model): boolean =>
  withIommufd(model).some((pid) => model.processes.get(pid)!.memory.pages.has(Number(HUGE_MEMORY / PAGE)));

const mmapHuge: Maker = (model, picks) => {
  const pid = picks.mostly(withIommufd(model), 10, [...model.processes.keys()]);
  return call(pid, 'mmap', { addr: hex(HUGE_MEMORY), length: '0x200000', huge: '2M' });
};

const memfdOwners = (model: Model): number[] => descriptors(model, 'memfd').map(({ pid }) => pid);
const hasMemfd = (model: Model): boolean => memfdOwners(model).some((pid) => withIommufd(model).includes(pid));
const hasBound = (model: Model): boolean => descriptors(model, 'cdev').some(({ file }) => file.bound !== null);
const hasContainer = (model: Model): boolean => [...model.iommufds].some(({ vfioIoas: ioas }) => ioas !== null);

function anyContainer(model: Model, picks: Picks): Descriptor<Iommufd | null> {
  const good = descriptors(model, 'iommufd').filter(({ file }) => file.vfioIoas !== null);
  return good.length > 0 && !picks.rarely(15) ? picks.one(good) : anyIommufd(model, picks);
}

const vfioIoas: Maker = (model, picks) => {
  const iommufd = anyIommufd(model, picks);
  const ioas_id = anyId(iommufd.file, picks, 'ioas');
  return ask(picks, iommufd, 'IOMMU_VFIO_IOAS', { ioas_id, op: picks.mostly([1, 1, 1, 0, 2], 30, [3]) });
};

/** Functions that are not alone in their group. */
const openPair: Maker = (model, picks) => {
  const pairs = model.functions.filter(
    (fn) => !model.isBound(fn) && model.functions.some((other) => other !== fn && other.group === fn.group),
  );
  const pid = picks.mostly(withIommufd(model), 10, [...model.processes.keys()]);
  return call(pid, 'open', { path: picks.one(pairs.length > 0 ? pairs : model.functions).cdev });
};

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
  vfioIoas,
  rlimitMode: (model, picks) => {
    const fresh = descriptors(model, 'iommufd').filter(({ file }) => file.objects.size === 0);
    const iommufd = picks.mostly<Descriptor<Iommufd | null>>(fresh, 10, [anyIommufd(model, picks)]);
    return ask(picks, iommufd, 'IOMMU_OPTION', { option_id: 0, op: 0, object_id: 0, val64: '0x1' });
  },
  mapDma: needing(hasContainer, vfioIoas, (model, picks) => {
    const iommufd = anyContainer(model, picks);
    const arg = {
      flags: picks.mostly([3, 1, 2, 3], 15, [0, 4]),
      vaddr: hex(anyAddress(model, iommufd.pid, picks)),
      size: hex(anyLength(picks)),
      iova: hex(anyIova(model, iommufd.file?.vfioIoas?.space ?? null, picks)),
    };
    return ask(picks, iommufd, 'VFIO_IOMMU_MAP_DMA', arg, 'argsz');
  }),
  unmapDma: needing(hasContainer, vfioIoas, (model, picks) => {
    const iommufd = anyContainer(model, picks);
    const range = anyRange(model, iommufd.file?.vfioIoas?.space ?? null, picks);
    const all = { flags: 2, iova: '0x0', size: picks.mostly(['0x0'], 8, ['0x1000']) };
    const arg = picks.rarely(12)
      ? all
      : { flags: picks.mostly([0], 30, [4, 2]), iova: hex(range.iova), size: hex(range.length) };
    return ask(picks, iommufd, 'VFIO_IOMMU_UNMAP_DMA', arg, 'argsz');
  }),
  container: needing(hasContainer, vfioIoas, (model, picks) => {
    const iommufd = anyContainer(model, picks);
    switch (picks.below(6)) {
      case 0:
      case 1:
      case 2:
        return ask(picks, iommufd, 'VFIO_SET_IOMMU', { type: picks.mostly([1, 3], 10, [2]) }, 'argsz');
      case 3:
        return ask(picks, iommufd, 'VFIO_CHECK_EXTENSION', { extension: picks.one([4, 1, 3, 8, 9, 2, 77]) }, 'argsz');
      case 4:
        return ask(picks, iommufd, 'VFIO_GET_API_VERSION', {}, 'argsz');
      default: {
        const argsz = picks.one([200, 24, 16, 12, 40, 56, 72, 80, 20]);
        return call(iommufd.pid, 'ioctl', { fd: iommufd.fd, request: 'VFIO_IOMMU_GET_INFO', arg: { argsz } });
      }
    }
  }),
  unknownRequest: (model, picks) => {
    const iommufd = anyIommufd(model, picks);
    const nulls = descriptors(model, 'null');
    const { pid, fd } = picks.mostly<{ pid: number; fd: number }>([iommufd], 4, nulls.length > 0 ? nulls : [iommufd]);
    const request = picks.one(['0x3bf0', '0x3b96', 'VFIO_DEVICE_ATTACH_IOMMUFD_PT']);
    return call(pid, 'ioctl', { fd, request, arg: {} });
  },
  openCdev,
  openPair,
  bind,
  attach: needing(hasBound, bind, attachTo(['ioas', 'ioas', 'hwpt'])),
  attachHwpt: needing(hasBound, bind, attachTo(['hwpt'])),
  detach: (model, picks) => ask(picks, anyCdev(model, picks, true), 'VFIO_DEVICE_DETACH_IOMMUFD_PT', {}),
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
  dmaWrite: (model, picks) => dma(model, picks, 'write'),
  dmaRead: (model, picks) => dma(model, picks, 'read'),
};

/** Mostly by a device that is attached, where something is mapped. */
function dma(model: Model, picks: Picks, op: 'read' | 'write'): Action {
  const attached = model.functions.filter((fn) => typeof model.domainOf(fn) !== 'string');
  const fn = picks.mostly(attached, 20, model.functions);
  const owner = model.owner(fn.group);
  const space = owner?.attachments.get(fn.group)?.hwpt.ioas.space ?? null;
  const { iova } = anyRange(model, space, picks);
  const length = picks.mostly([1, 4, 16], 6, [0x900, 0x1800]);
  const data = new Uint8Array(length);
  if (op === 'write') data.fill(1 + picks.below(255));
  return { kind: 'dma', fn, op, iova: (iova + BigInt(picks.one([0, 0x7f8, 0xffe, 0x1000]))) & UMAX, data };
}
