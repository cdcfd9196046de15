/**
 * What a host answers, by the naive reading of the READMEs of src/kernel/iommufd and its rooms: written for the property
 * test alone, slow, and as plain as possible. Areas are lists, page tables are Maps, what can be found by looking is not kept.
 */
import { attachmentOf, attachTo, detach, type Machine } from './model/attach.ts';
import { Failure, type Out, PAGE } from './model/base.ts';
import { CONTAINER_REQUESTS, containerIoctl } from './model/container.ts';
import { type Account, Ioas, type Pages, READ, WRITE } from './model/ioas.ts';
import { Arg, iommufdIoctl, type Surroundings } from './model/iommufd.ts';
import { makeInode, type Page, Signal } from './model/memory.ts';
import {
  addObject,
  type Cdev,
  findIoas,
  type IoasObject,
  type Iommufd,
  idOf,
  type Memfd,
  type OpenFile,
  type PciFunction,
  type Unit,
} from './model/objects.ts';
import { Process } from './model/process.ts';
import { IOMMU_REQUESTS } from './model/structs.ts';

export interface Call {
  call: string;
  [parameter: string]: unknown;
}

/** As the host answers, without the sentences. */
export interface Result {
  ret: number | string;
  errno?: string;
  arg?: Record<string, unknown>;
  data?: string;
  size?: string;
}

export type DmaResult =
  | { ok: true; data?: string }
  | { ok: false; fault: { reason: string; op: string; iova: string; bdf: string } };

const hex = (value: bigint): string => `0x${value.toString(16)}`;
const MSI = { start: 0xfee00000n, last: 0xfeefffffn };

export class Model implements Surroundings, Machine {
  readonly unit: Unit;
  readonly functions: readonly PciFunction[];
  readonly processes = new Map<number, Process>();
  readonly iommufds = new Set<Iommufd>();
  readonly cdevs = new Set<Cdev>();
  readonly pages = new Set<Pages>();
  #nextPid = 1;

  constructor(machine: Machine) {
    this.unit = machine.unit;
    this.functions = machine.functions;
  }

  startProcess(): number {
    const pid = this.#nextPid++;
    this.processes.set(pid, new Process(pid));
    return pid;
  }

  endProcess(pid: number): void {
    const process = this.processes.get(pid)!;
    this.processes.delete(pid);
    process.memory.exit();
    for (const fd of [...process.descriptors.keys()].sort((a, b) => a - b)) this.#close(process, fd);
  }

  call(pid: number, call: Call): Result {
    try {
      return this.#run(this.processes.get(pid)!, call);
    } catch (failure) {
      if (!(failure instanceof Failure)) throw failure;
      const signal = failure instanceof Signal && (call.call === 'peek' || call.call === 'poke') && failure.signal;
      return {
        ret: -1,
        errno: failure.errno,
        ...(signal && { signal }),
        ...(failure.arg && { arg: encode(failure.arg) }),
      };
    }
  }

  /** One more reserved range of an IOAS; the errno, or null. */
  reserve(pid: number, fd: number, ioas: number, start: bigint, length: bigint): string | null {
    try {
      const file = this.processes.get(pid)!.file(fd);
      if (file.kind !== 'iommufd') throw new Failure('EBADFD');
      if (length === 0n) throw new Failure('EINVAL');
      if (start + length > 2n ** 64n) throw new Failure('EOVERFLOW');
      findIoas(file, ioas).space.reserve(start, start + length - 1n, {});
      return null;
    } catch (failure) {
      if (failure instanceof Failure) return failure.errno;
      throw failure;
    }
  }

  /** The bytes before a fault have been transferred. */
  dma(fn: PciFunction, op: 'read' | 'write', iova: bigint, data: Uint8Array): DmaResult {
    const x86 = this.unit.kind === 'intel-vtd';
    for (let i = 0; i < data.length; i++) {
      const at = iova + BigInt(i);
      const fault = (reason: string): DmaResult => ({ ok: false, fault: { reason, op, iova: hex(at), bdf: fn.bdf } });
      if (x86 && at >= MSI.start && at <= MSI.last) return op === 'write' ? { ok: true } : fault('interrupt-range');
      const domain = this.domainOf(fn);
      if (domain === 'blocked') return fault('blocked');
      const { aperture } = domain === 'empty' ? this.unit.formats[0] : domain.format;
      if (at < aperture.start || at > aperture.last) return fault('beyond-aperture');
      const entry = domain === 'empty' ? undefined : domain.table.get(at / domain.unit);
      if (domain === 'empty' || !entry) return fault('not-mapped');
      if (!(entry.access & (op === 'read' ? READ : WRITE)))
        return fault(op === 'read' ? 'not-readable' : 'not-writeable');
      const offset = entry.offset + Number(at % domain.unit);
      if (op === 'read') data[i] = entry.page.read(offset);
      else {
        entry.page.write(offset, data[i]!);
        if (domain.tracking) entry.leaf.dirty = true;
      }
    }
    return op === 'read' ? { ok: true, data: data.toBase64() } : { ok: true };
  }

  /** Who owns the DMA of a group. */
  owner(group: number): Iommufd | null {
    for (const { bound, fn } of this.cdevs) if (bound && fn.group === group) return bound.context;
    return null;
  }

  /** What the group of the function is on. */
  domainOf(fn: PciFunction) {
    const owner = this.owner(fn.group);
    if (!owner) return this.unit.kind === 'generic' ? 'blocked' : 'empty';
    return owner.attachments.get(fn.group)?.hwpt.domain ?? 'blocked';
  }

  // What the ioctls need of the world.

  makeIoas(): Ioas {
    return new Ioas(this);
  }

  checkFile(file: object, number: number): void {
    const { kind, inode } = file as Memfd;
    if (kind !== 'memfd' || BigInt(number + 1) * PAGE > inode.size) throw new Failure('EINVAL');
  }

  filePage(file: object, number: number): Page {
    return (file as Memfd).inode.page(number);
  }

  locked({ mode, process, uid }: Account): number {
    let pages = 0;
    for (const { account, pinned } of this.pages)
      if (account.mode === mode && (mode === 'user' ? account.uid === uid : account.process === process))
        pages += pinned.size;
    return pages;
  }

  settle(): void {
    const needed = new Map<Pages, Set<number>>();
    for (const ioas of this.ioases())
      for (const { pages, start, iova, last } of ioas.space.areas) {
        const numbers = needed.get(pages) ?? new Set();
        needed.set(pages, numbers);
        if (ioas.space.domains.length > 0)
          for (let page = start / PAGE; page <= (start + (last - iova)) / PAGE; page++) numbers.add(Number(page));
      }
    for (const pages of this.pages) {
      const numbers = needed.get(pages);
      for (const page of pages.pinned.keys()) if (!numbers?.has(page)) pages.pinned.delete(page);
      if (!numbers) this.pages.delete(pages);
    }
  }

  *ioases(): Generator<IoasObject> {
    for (const context of this.iommufds)
      for (const object of context.objects.values()) if (object.type === 'ioas') yield object;
  }

  #run(process: Process, input: Call): Result {
    const number = (name: string): number => Number(input[name] ?? 0);
    const long = (name: string): bigint => BigInt((input[name] ?? 0) as string);
    const bytes = (): Uint8Array => Uint8Array.fromBase64(String(input.data));
    const memfd = (): Memfd['inode'] => {
      const file = process.file(number('fd'));
      if (file.kind !== 'memfd') throw new Failure('EINVAL');
      return file.inode;
    };
    switch (input.call) {
      case 'open':
        return { ret: process.install(this.#open(String(input.path))) };
      case 'close':
        this.#close(process, number('fd'));
        return { ret: 0 };
      case 'dup':
        return { ret: process.install(process.file(number('fd'))) };
      case 'send_fd': {
        const file = process.file(number('fd'));
        const to = this.processes.get(number('to'));
        if (!to) throw new Failure('ENOENT');
        return { ret: to.install(file) };
      }
      case 'mmap': {
        const inode = input.fd === undefined ? null : memfd();
        const prot = Number(input.prot ?? 3);
        process.memory.map(long('addr'), long('length'), {
          huge: input.huge === '2M',
          inode,
          offset: long('offset'),
          prot,
          shared: input.shared === true,
        });
        return { ret: hex(long('addr')) };
      }
      case 'mprotect':
        process.memory.protect(long('addr'), long('length'), number('prot'));
        return { ret: 0 };
      case 'munmap':
        process.memory.unmap(long('addr'), long('length'));
        return { ret: 0 };
      case 'peek':
        return { ret: 0, data: process.memory.peek(long('addr'), number('length')).toBase64() };
      case 'poke':
        process.memory.poke(long('addr'), bytes());
        return { ret: 0 };
      case 'memfd_create':
        return { ret: process.install({ kind: 'memfd', inode: makeInode(number('flags'), long('size')) }) };
      case 'ftruncate':
        memfd().truncate(long('length'));
        for (const { memory } of this.processes.values()) memory.dropBehind(memfd());
        return { ret: 0 };
      case 'pwrite':
        return { ret: memfd().write(long('offset'), bytes()) };
      case 'pread': {
        const data = memfd().read(long('offset'), number('length'));
        return { ret: data.length, data: data.toBase64() };
      }
      case 'fstat': {
        const file = process.file(number('fd'));
        return { ret: 0, size: hex(file.kind === 'memfd' ? file.inode.size : 0n) };
      }
      case 'add_seals': {
        const inode = memfd();
        inode.addSeals(number('seals'), this.#busy(inode));
        return { ret: 0 };
      }
      case 'get_seals':
        return { ret: memfd().seals };
      case 'setuid': {
        if (process.uid !== 0 && process.uid !== number('uid')) throw new Failure('EPERM');
        process.uid = number('uid');
        if (process.uid !== 0) process.capabilities.clear();
        return { ret: 0 };
      }
      case 'setrlimit': {
        const raises = process.memlock !== null && long('memlock') > process.memlock;
        if (raises && !process.capabilities.has('CAP_SYS_RESOURCE')) throw new Failure('EPERM');
        process.memlock = long('memlock');
        return { ret: 0 };
      }
      default:
        return this.#ioctl(process, process.file(number('fd')), String(input.request), (input.arg ?? {}) as Out);
    }
  }

  /** Pages of the file are pinned, or it is mapped shared and may be writable. */
  #busy(inode: Memfd['inode']): boolean {
    const pages = new Set(inode.pages.values());
    for (const { pinned } of this.pages) for (const page of pinned.values()) if (pages.has(page)) return true;
    for (const { memory } of this.processes.values())
      for (const mapped of memory.pages.values())
        if (mapped.inode === inode && mapped.shared && mapped.may & 2) return true;
    return false;
  }

  #open(path: string): OpenFile {
    if (path === '/dev/null') return { kind: 'null' };
    if (path === '/dev/iommu') {
      const file: Iommufd = {
        kind: 'iommufd',
        objects: new Map(),
        attachments: new Map(),
        vfioIoas: null,
        perProcess: false,
      };
      this.iommufds.add(file);
      return file;
    }
    const fn = this.functions.find(({ cdev }) => cdev === path);
    if (!fn) throw new Failure('ENOENT');
    const file: Cdev = { kind: 'cdev', fn, bound: null };
    this.cdevs.add(file);
    return file;
  }

  #close(process: Process, fd: number): void {
    const file = process.file(fd);
    process.descriptors.delete(fd);
    const open = [...this.processes.values(), process].some(({ descriptors }) =>
      [...descriptors.values()].includes(file),
    );
    if (open) return;
    if (file.kind === 'cdev') {
      this.cdevs.delete(file);
      if (file.bound) this.#unbind(file, file.bound);
    } else if (file.kind === 'iommufd') this.#releaseIfUnused(file);
  }

  #unbind(file: Cdev, { context, device }: NonNullable<Cdev['bound']>): void {
    detach(context, device);
    context.objects.delete(idOf(context, device));
    file.bound = null;
    this.#releaseIfUnused(context);
  }

  /** An iommufd lives as long as a descriptor or a bound device refers to it. */
  #releaseIfUnused(context: Iommufd): void {
    for (const { descriptors } of this.processes.values()) if ([...descriptors.values()].includes(context)) return;
    for (const { bound } of this.cdevs) if (bound?.context === context) return;
    this.iommufds.delete(context);
    this.settle();
  }

  #ioctl(process: Process, file: OpenFile, request: string, fields: Record<string, unknown>): Result {
    if (file.kind === 'cdev') return { ret: 0, arg: encode(this.#cdevIoctl(process, file, request, fields)) };
    if (file.kind !== 'iommufd') throw new Failure('ENOTTY');
    if (IOMMU_REQUESTS.includes(request))
      return { ret: 0, arg: encode(iommufdIoctl(this, file, request, fields, process)) };
    if (!CONTAINER_REQUESTS.includes(request)) throw new Failure('ENOTTY');
    const { ret, out } = containerIoctl(this, file, request, fields, process);
    return { ret, arg: encode(out) };
  }

  /** BIND, ATTACH and DETACH: src/kernel/vfio/README.md. */
  #cdevIoctl(process: Process, file: Cdev, request: string, fields: Record<string, unknown>): Out {
    const arg = new Arg(fields);
    const flags = arg.number('flags');
    if (request === 'VFIO_DEVICE_BIND_IOMMUFD') {
      const size = Number(fields.size ?? 16);
      if (size < 16) throw new Failure('EINVAL');
      if (size > 24 && fields.tail) throw new Failure('E2BIG');
      // A token is for virtual functions, which there are none of here.
      if (arg.number('iommufd') < 0 || flags !== 0 || file.bound) throw new Failure('EINVAL');
      return { out_devid: this.#bind(file, process.file(arg.number('iommufd'))) };
    }
    if (!file.bound) throw new Failure('EINVAL');
    const { context, device } = file.bound;
    const attaches = request === 'VFIO_DEVICE_ATTACH_IOMMUFD_PT';
    if (!attaches && request !== 'VFIO_DEVICE_DETACH_IOMMUFD_PT') throw new Failure('ENOTTY');
    if (Number(fields.size ?? 12) < (attaches ? 12 : 8) || flags & ~1) throw new Failure('EINVAL');
    if (attaches) return { pt_id: idOf(context, attachTo(this, context, device, arg.number('pt_id'))) };
    detach(context, device);
    return {};
  }

  #bind(file: Cdev, iommufd: OpenFile): number {
    if (iommufd.kind !== 'iommufd') throw new Failure('EBADFD');
    if ([...this.cdevs].some(({ fn, bound }) => bound && fn === file.fn)) throw new Failure('EINVAL');
    const owner = this.owner(file.fn.group);
    if (owner && owner !== iommufd) throw new Failure('EPERM');
    const device = { type: 'device' as const, fn: file.fn };
    file.bound = { context: iommufd, device };
    return addObject(iommufd, device);
  }

  isBound(fn: PciFunction): boolean {
    return [...this.cdevs].some(({ bound }) => bound?.device.fn === fn);
  }

  /** The HWPT that a bound function is attached to. */
  attachment(fn: PciFunction) {
    for (const { bound } of this.cdevs) if (bound?.device.fn === fn) return attachmentOf(bound.context, bound.device);
    return null;
  }
}

function encode(out: Record<string, unknown>): Record<string, unknown> {
  const encoded: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(out))
    encoded[name] =
      typeof value === 'bigint'
        ? hex(value)
        : Array.isArray(value)
          ? value.map(({ start, last }) => ({ start: hex(start), last: hex(last) }))
          : value;
  return encoded;
}
