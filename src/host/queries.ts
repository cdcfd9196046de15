/** What a host answers to queries. Nothing here changes anything. */
import { FAULT_POINTS } from '../kernel/faults.ts';
import { hex } from '../kernel/ioctl.ts';
import type { Domain, PagingDomain } from '../kernel/iommu/domain.ts';
import type { GroupOwner, IommuGroup } from '../kernel/iommu/group.ts';
import { IommufdContext } from '../kernel/iommufd/context.ts';
import { IommufdDevice } from '../kernel/iommufd/device/device.ts';
import { Hwpt, HwptPaging } from '../kernel/iommufd/hw-pagetable/hwpt.ts';
import { Ioas } from '../kernel/iommufd/ioas.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Process } from '../kernel/process.ts';
import { FRAME_SIZE } from '../machine/memory.ts';
import { READ, WRITE } from '../machine/page-table.ts';
import type { PciFunction } from '../machine/pci.ts';
import type { Answer, Query } from './command.ts';
import type { Host } from './host.ts';
import type {
  DeviceView,
  DomainView,
  GroupView,
  HostView,
  HwptView,
  IoasView,
  IommufdView,
  MappingView,
  ProcessView,
  SessionView,
  TranslationRun,
} from './views.ts';

const ok = (value: unknown): Answer => ({ kind: 'ok', value });
const notFound = (what: string): Answer => ({ kind: 'not-found', what });

export function answerQuery(host: Host, query: Query): Answer {
  switch (query.view) {
    case 'host':
      return ok(hostView(host));
    case 'devices':
      return ok([...host.machine.functions.values()].map((fn) => deviceView(host, fn)));
    case 'events':
      return ok(host.log.read(query.after, query.limit));
    case 'faults':
      return ok({
        points: Object.entries(FAULT_POINTS).map(([name, { about }]) => ({ name, about })),
        armed: host.faults.armed,
      });
    case 'device':
      return onFunction(host, query.bdf, (fn) => ok(deviceView(host, fn)));
    case 'translation':
      return onFunction(host, query.bdf, (fn) => translation(host, fn, BigInt(query.iova), BigInt(query.length)));
  }
  const { kernel } = host;
  switch (query.view) {
    case 'groups':
      return ok(
        kernel
          ? [...kernel.iommu.groups.values()].sort((a, b) => a.id - b.id).map((group) => groupView(host, group))
          : [],
      );
    case 'group': {
      const group = kernel?.iommu.groups.get(query.group);
      return group ? ok(groupView(host, group)) : notFound(`group ${query.group}`);
    }
    case 'domains':
      return ok(
        kernel
          ? [...kernel.iommu.domains.values()].sort((a, b) => a.id - b.id).map((domain) => domainView(kernel, domain))
          : [],
      );
    case 'sessions':
      return ok(kernel ? sessionViews(kernel) : []);
    case 'processes':
      return ok(kernel ? [...kernel.processes.values()].map(processView) : []);
  }
  const process = kernel?.processes.get(query.pid);
  if (!process) return notFound(`process ${query.pid}`);
  switch (query.view) {
    case 'process':
      return ok(processView(process));
    case 'memory':
      return ok(processMemory(process, BigInt(query.address), BigInt(query.length)));
  }
  const context = process.descriptors.get(query.fd);
  if (!(context instanceof IommufdContext)) return notFound(`iommufd ${query.fd} of process ${query.pid}`);
  switch (query.view) {
    case 'iommufd':
      return ok(iommufdView(context));
    case 'ioas':
    case 'mappings': {
      const ioas = context.objects.get(query.ioas);
      if (!(ioas instanceof Ioas)) return notFound(`IOAS ${query.ioas}`);
      return ok(query.view === 'ioas' ? ioasView(ioas) : mappings(ioas, query.after, query.limit));
    }
    case 'hwpt': {
      const hwpt = context.objects.get(query.hwpt);
      return hwpt instanceof Hwpt ? ok(hwptView(hwpt)) : notFound(`HWPT ${query.hwpt}`);
    }
  }
}

function onFunction(host: Host, bdf: string, run: (fn: PciFunction) => Answer): Answer {
  const fn = host.machine.functions.get(bdf);
  return fn ? run(fn) : notFound(`device ${bdf}`);
}

const bytes = (frames: number): string => hex(frames * FRAME_SIZE);

export function hostView(host: Host): HostView {
  const { memory } = host.machine;
  const owners = memory.owners();
  return {
    state: host.state,
    panic: host.panic,
    kernel: host.kernelNumber,
    profile: host.options.profile,
    policies: host.options.policies,
    boot: host.options.boot,
    liveupdateNumber: host.kernel?.luo?.number ?? 0,
    kexecCount: host.kernel?.kexecCount ?? 0,
    memory: {
      total: bytes(memory.frames),
      free: bytes(memory.freeFrames),
      preserved: hex(host.kernel?.preservedBytes ?? 0),
      reserved: bytes(owners.get('reserved') ?? 0),
      owners: Object.fromEntries([...owners].sort().map(([owner, frames]) => [owner, bytes(frames)])),
    },
    time: host.machine.clock.toString(),
  };
}

function domainOf(domain: Domain): DeviceView['domain'] {
  const paging = domain.kind === 'paging' ? domain : domain.kind === 'nested' ? domain.parent : null;
  return { kind: domain.kind, id: paging?.id ?? null, restored: paging?.restored ?? false };
}

const OWNERS: Readonly<Record<GroupOwner['kind'], DeviceView['owner']>> = {
  none: null,
  kernel: 'kernel',
  user: 'iommufd',
  restored: 'luo',
};

function ownerOf(group: IommuGroup): DeviceView['owner'] {
  return OWNERS[group.owner.kind];
}

export function deviceView(host: Host, fn: PciFunction): DeviceView {
  const { kernel } = host;
  const unit = fn.spec.iommu === null ? null : host.machine.unitOf(fn);
  const group = kernel?.iommu.groupOf(fn);
  const vfio = kernel?.vfio.devices.get(fn.bdf);
  const { name, vendor, device, class: code } = fn.spec;
  return {
    bdf: fn.bdf,
    name,
    vendor,
    device,
    class: code,
    group: fn.spec.group,
    iommu: unit?.id ?? null,
    iommuKind: unit?.kind ?? null,
    driver: kernel?.drivers.bound.get(fn.bdf) ?? null,
    unbinding: vfio?.unbinding ?? false,
    cdev: vfio && !vfio.unbinding ? vfio.path : null,
    owner: group ? ownerOf(group) : null,
    state: kernel?.restored.stateOf(fn) ?? 'N',
    domain: group ? domainOf(group.domain) : { kind: unit ? 'blocked' : 'none', id: null, restored: false },
    preserved: vfio?.files.some((file) => file.preserved) ?? false,
    interruptsEnabled: fn.interruptsEnabled,
    reset: fn.spec.reset,
    canReset: fn.spec.reset,
    resets: fn.resets,
    sriov: fn.spec.sriov,
    physicalFunction: fn.spec.physicalFunction ?? null,
    realDmaDevice: fn.spec.realDmaDevice ?? null,
  };
}

export function groupView(host: Host, group: IommuGroup): GroupView {
  const seen = new Map<string, { start: string; last: string; type: string }>();
  for (const fn of group.functions)
    for (const { start, last, type } of host.kernel!.iommu.reservedRanges(fn)) {
      const range = { start: hex(start), last: hex(last), type };
      seen.set(`${range.start}-${range.last}-${type}`, range);
    }
  return {
    group: group.id,
    devices: group.functions.map((fn) => fn.bdf).sort(),
    owner: ownerOf(group),
    ownerCount: group.ownerCount,
    type: group.type,
    domain: domainOf(group.domain),
    reserved: [...seen.values()],
  };
}

function domainView(kernel: Kernel, domain: PagingDomain): DomainView {
  const { format } = domain;
  return {
    id: domain.id,
    restored: domain.restored,
    preserved: domain.preserved,
    devices: [...kernel.iommu.groups.values()]
      .filter((group) => group.domain === domain || (group.domain.kind === 'nested' && group.domain.parent === domain))
      .flatMap((group) => group.functions.map((fn) => fn.bdf)),
    tablePages: domain.table.tables().reduce((sum, run) => sum + run.count, 0),
    pageSizes: [...format.leafShifts].reverse().map((shift) => hex(1n << BigInt(shift))),
    aperture: { start: hex(format.apertureStart), last: hex(format.apertureLast) },
  };
}

function sessionViews(kernel: Kernel): SessionView[] {
  const { luo } = kernel;
  if (!luo) return [];
  return [
    ...luo.outgoing.map(
      ({ name, files }): SessionView => ({
        name,
        side: 'outgoing',
        state: 'open',
        files: files.map(({ token, handler }) => ({
          token: hex(token),
          handler: handler.compatible,
          state: 'preserved',
          errno: null,
        })),
      }),
    ),
    ...luo.waitingRecords.map(
      ({ name, files }): SessionView => ({
        name,
        side: 'incoming',
        state: 'waiting',
        files: files.map(({ token, compatible }) => ({ token, handler: compatible, state: 'waiting', errno: null })),
      }),
    ),
    ...luo.incoming.map(
      ({ name, files, state }): SessionView => ({
        name,
        side: 'incoming',
        state,
        files: files.map(({ token, handler, file, failed }) => ({
          token: hex(token),
          handler: handler.compatible,
          state: failed ? 'failed' : file ? 'retrieved' : 'waiting',
          errno: failed,
        })),
      }),
    ),
  ];
}

export function processView(process: Process): ProcessView {
  return {
    pid: process.pid,
    name: process.name,
    uid: process.uid,
    capabilities: [...process.capabilities],
    descriptors: [...process.descriptors]
      .sort(([a], [b]) => a - b)
      .map(([fd, file]) => ({ fd, kind: file.kind, link: file.link() })),
    memory: process.mm.mappings.map(({ first, last, inode }) => ({
      address: hex(BigInt(first) * BigInt(FRAME_SIZE)),
      length: hex(BigInt(last - first + 1) * BigInt(FRAME_SIZE)),
      backing: inode ? 'file' : 'anonymous',
    })),
    lockedBytes: bytes(process.locked.pages),
  };
}

function iommufdView(context: IommufdContext): IommufdView {
  const objects = [...context.objects.visible()];
  return {
    objects: objects.map(({ id, type, users }) => ({ id, type, users })),
    ioases: objects.filter((object) => object instanceof Ioas).map(({ id }) => id),
    hwpts: objects.filter((object) => object instanceof Hwpt).map(({ id }) => id),
    devices: objects
      .filter((object) => object instanceof IommufdDevice)
      .map((device) => ({ id: device.id, bdf: device.fn.bdf, hwpt: device.hwpt?.id ?? null })),
    preserved: context.preservedIn !== null,
    restored: context.restored !== null,
  };
}

function ioasView(ioas: Ioas): IoasView {
  const { iopt } = ioas;
  let total = 0n;
  for (const area of iopt.areas) total += area.last - area.iova + 1n;
  return {
    ioas: ioas.id,
    areas: iopt.areas.size,
    bytes: hex(total),
    alignment: hex(iopt.alignment),
    hwpts: ioas.hwpts.map(({ id }) => id),
    immutable: iopt.immutable > 0,
    allowed: iopt.allowed.map(({ start, last }) => ({ start: hex(start), last: hex(last) })),
    reserved: iopt.reserved.map(({ start, last }) => ({ start: hex(start), last: hex(last) })),
  };
}

function mappings(ioas: Ioas, after: string | undefined, limit: number): MappingView[] {
  const found: MappingView[] = [];
  let area = after === undefined ? ioas.iopt.areas.first(0n, 2n ** 64n) : ioas.iopt.areas.after(BigInt(after));
  for (; area && found.length < limit; area = ioas.iopt.areas.after(area.iova))
    found.push({
      iova: hex(area.iova),
      length: hex(area.last - area.iova + 1n),
      readable: (area.access & READ) !== 0,
      writeable: (area.access & WRITE) !== 0,
      source: ioas.iopt.originOf(area).kind,
      offset: hex(area.start),
    });
  return found;
}

function hwptView(hwpt: Hwpt): HwptView {
  const { context, paging } = hwpt;
  const devices = [...context.attachments.values()]
    .filter((attachment) => attachment.hwpt === hwpt)
    .flatMap((attachment) => [...attachment.devices].map((device) => device.fn.bdf));
  const mark = hwpt instanceof HwptPaging ? hwpt.mark : null;
  return {
    hwpt: hwpt.id,
    type: hwpt.type === 'hwpt-paging' ? 'paging' : 'nested',
    ioas: paging.ioas?.id ?? null,
    auto: hwpt instanceof HwptPaging && hwpt.auto,
    restored: paging.restored,
    token: mark === null ? null : hex(mark),
    domain: paging.domain.id,
    devices,
    dirtyTracking: paging.domain.dirtyEnabled,
  };
}

/** Runs of a translation in a range; holes are left out. At most this many runs are answered. */
const MAX_RUNS = 65536;

class Runs {
  readonly runs: TranslationRun[] = [];
  #end = 0n;
  #physicalEnd = -1;
  #length = 0n;

  add(address: bigint, length: bigint, physical: number, readable: boolean, writeable: boolean): void {
    const last = this.runs[this.runs.length - 1];
    if (
      last &&
      this.#end === address &&
      this.#physicalEnd === physical &&
      last.readable === readable &&
      last.writeable === writeable
    ) {
      this.#length += length;
      last.length = hex(this.#length);
    } else {
      this.#length = length;
      this.runs.push({ address: hex(address), length: hex(length), physical: hex(physical), readable, writeable });
    }
    this.#end = address + length;
    this.#physicalEnd = physical + Number(length);
  }
}

function translation(host: Host, fn: PciFunction, iova: bigint, length: bigint): Answer {
  const found = new Runs();
  if (length === 0n) return ok(found.runs);
  for (const piece of host.machine.translations(fn, iova, iova + length - 1n)) {
    found.add(piece.iova, BigInt(piece.length), piece.physical, piece.readable, piece.writeable);
    if (found.runs.length > MAX_RUNS)
      return {
        kind: 'refused',
        errno: 'E2BIG',
        where: 'translation',
        why: `the range has more than ${MAX_RUNS} runs: ask for a smaller one`,
      };
  }
  return ok(found.runs);
}

function processMemory(process: Process, address: bigint, length: bigint): TranslationRun[] {
  const found = new Runs();
  const page = BigInt(FRAME_SIZE);
  const end = address + length;
  for (const mapping of process.mm.mappings) {
    const first = BigInt(mapping.first) * page;
    const last = (BigInt(mapping.last) + 1n) * page;
    const from = first > address ? first : address;
    const to = last < end ? last : end;
    if (from >= to) continue;
    const shift = mapping.frames ? 0 : mapping.first - mapping.filePage;
    const frames = mapping.frames ?? mapping.inode!.pages;
    // Nothing can be reached behind the end of a file, whatever is allocated there.
    const lastPage = mapping.frames ? Number.POSITIVE_INFINITY : Number(mapping.inode!.sizeInPages) - 1;
    const most = Math.min(Number((to - 1n) / page) - shift, lastPage);
    for (const span of frames.range(Number(from / page) - shift, most)) {
      const start = BigInt(span.page + shift) * page;
      const stop = start + BigInt(span.count) * page;
      const at = start > from ? start : from;
      const until = stop < to ? stop : to;
      found.add(at, until - at, span.frame * FRAME_SIZE + Number(at - start), true, mapping.writable);
    }
  }
  return found.runs;
}
