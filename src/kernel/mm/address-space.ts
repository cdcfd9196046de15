/** The memory of a process: mappings at fixed addresses, faulted in when made (mmap with MAP_FIXED_NOREPLACE). */
import { hex, PAGE } from '../../machine/address.ts';
import { FRAME_SIZE, type PhysicalMemory } from '../../machine/memory.ts';
import { fatal, type Refusal, refuse } from '../errno.ts';
import { PROTECTION } from '../uapi/bits.ts';
import type { DeviceMemory } from './device-memory.ts';
import { FrameMap, type FrameSpan } from './frame-map.ts';
import { F_SEAL_FUTURE_WRITE, F_SEAL_WRITE, placement, type ShmemInode } from './shmem.ts';

/** TASK_SIZE of x86-64 with four levels. */
const TASK_SIZE = 2n ** 47n - PAGE;
const HUGE_PAGES = 512;
const { PROT_WRITE } = PROTECTION;

interface Mapping {
  /** First and last page number. */
  first: number;
  last: number;
  writable: boolean;
  huge: boolean;
  /** Frames of anonymous memory by page number of the process; null for a shared file. */
  frames: FrameMap | null;
  inode: ShmemInode | null;
  device: DeviceMemory | null;
  /** Page of the file that `first` shows. */
  filePage: number;
}

export interface MapOptions {
  huge?: boolean;
  inode?: ShmemInode;
  device?: DeviceMemory;
  offset?: bigint;
  shared?: boolean;
  prot?: number;
}

export class AddressSpace {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _hint: () => undefined };

  private readonly _memory: PhysicalMemory;
  private _mappings: Mapping[] = [];
  /** The mapping in which `frameAt` found its page last. */
  private _hint: Mapping | undefined;
  /** False once the process has exited: nothing can be pinned any more (mmget_not_zero). */
  alive = true;

  constructor(memory: PhysicalMemory) {
    this._memory = memory;
  }

  get mappings(): readonly Readonly<Mapping>[] {
    return this._mappings;
  }

  /**
   * mmap(2) with MAP_FIXED_NOREPLACE. EINVAL length or alignment, ENOMEM beyond TASK_SIZE, EEXIST, EPERM a write-sealed memfd
   * (memfd_check_seals_mmap), EINVAL offset, ENOMEM no memory. Lengths are rounded up to pages.
   */
  map(address: bigint, length: bigint, options: MapOptions): Refusal | null {
    const where = 'do_mmap';
    const pageBytes = options.huge ? BigInt(HUGE_PAGES) * PAGE : PAGE;
    if (length === 0n) return refuse('EINVAL', where, 'length is 0');
    if (address % pageBytes !== 0n) return refuse('EINVAL', where, `addr is not a multiple of ${pageBytes}`);
    const bytes = ((length + pageBytes - 1n) / pageBytes) * pageBytes;
    if (address + bytes > TASK_SIZE) return refuse('ENOMEM', where, 'the end lies beyond the user address space');
    const first = Number(address / PAGE);
    const count = Number(bytes / PAGE);
    const index = this._lowerBound(first);
    const right = this._mappings[index];
    const left = this._mappings[index - 1];
    if ((right && right.first < first + count) || (left && left.last >= first))
      return refuse('EEXIST', where, 'something is mapped in this range already (MAP_FIXED_NOREPLACE)');
    const { inode, device, offset = 0n, shared = false, prot = 3, huge = false } = options;
    if (inode && shared && prot & PROT_WRITE && inode.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
      return refuse('EPERM', 'memfd_check_seals_mmap', 'the memfd has F_SEAL_WRITE: map it read-only or private');
    if (offset % PAGE !== 0n) return refuse('EINVAL', where, 'offset is not a multiple of 4096');
    const mapping: Mapping = {
      first,
      last: first + count - 1,
      writable: (prot & PROT_WRITE) !== 0,
      huge,
      frames: null,
      inode: null,
      device: null,
      filePage: Number(offset / PAGE),
    };
    if (device) {
      device.get();
      mapping.device = device;
    } else if (inode && shared) {
      mapping.inode = inode.get();
      if (mapping.writable) inode.mapWritable();
    } else {
      mapping.frames = new FrameMap();
      const runs = this._memory.allocate(count, {
        owner: 'anonymous',
        fill: inode ? 'zero' : 'touched',
        folioShift: huge ? 21 : 12,
        ...placement(count, first),
      });
      if (!runs) return refuse('ENOMEM', where, 'the host has no memory left');
      let page = first;
      for (const run of runs) {
        mapping.frames.insert({ page, frame: run.start, count: run.count, folioShift: huge ? 21 : 12 });
        page += run.count;
      }
    }
    this._mappings.splice(index, 0, mapping);
    // A private mapping of a file is a copy from the beginning: only a later write to the file could tell the difference.
    if (inode && !shared) this.write(address, inode.read(offset, Number(bytes)));
    return null;
  }

  /**
   * munmap(2). EINVAL alignment, length, or a page of 2 MiB would be cut. Pages that DMA has pinned live on until
   * unpinned.
   */
  unmap(address: bigint, length: bigint): Refusal | null {
    const where = 'do_vmi_munmap';
    if (address % PAGE !== 0n || length === 0n || address + length > TASK_SIZE)
      return refuse('EINVAL', where, 'addr is not a multiple of 4096, or length is 0 or beyond the address space');
    const first = Number(address / PAGE);
    const last = Number((address + length - 1n) / PAGE);
    const touched = this._mappings.filter((mapping) => mapping.first <= last && mapping.last >= first);
    for (const mapping of touched)
      if (
        mapping.huge &&
        ((first > mapping.first && first % HUGE_PAGES) || (last < mapping.last && (last + 1) % HUGE_PAGES))
      )
        return refuse('EINVAL', where, 'the range would cut a page of 2 MiB');
    for (const mapping of touched) this._cut(mapping, first, last);
    return null;
  }

  /** Returns the first frame of anonymous pages whose frames are in a row; -1 if they are not: `resolve` tells then. */
  frameAt(page: number, write: boolean, count = 1): number {
    let mapping = this._hint;
    if (!mapping || page < mapping.first || page > mapping.last) {
      mapping = this._mappingAt(page);
      this._hint = mapping;
    }
    if (!mapping?.frames || (write && !mapping.writable)) return -1;
    return mapping.frames.at(page, count);
  }

  /**
   * pin_user_pages, without pinning: returns the frames of pages [first, last]. EFAULT the process is gone, nothing is
   * mapped, it is read-only (`write`), memory of a device (`pin`), or beyond the end of a file; ENOMEM.
   */
  resolve(first: number, last: number, write: boolean, pin = true): FrameSpan[] | Refusal {
    const where = 'pin_user_pages';
    if (!this.alive) return refuse('EFAULT', where, 'the process that mapped this memory is gone');
    const spans: FrameSpan[] = [];
    let page = first;
    while (page <= last) {
      const mapping = this._mappingAt(page);
      if (!mapping) return refuse('EFAULT', where, `nothing is mapped at ${hex(page * FRAME_SIZE)}`);
      if (write && !mapping.writable) return refuse('EFAULT', where, 'the memory is mapped read-only');
      if (mapping.device || (pin && mapping.inode?.pinnable === false))
        return refuse('EFAULT', where, 'the memory is that of a device');
      const end = Math.min(last, mapping.last);
      if (mapping.frames) spans.push(...mapping.frames.range(page, end));
      else {
        const shift = mapping.first - mapping.filePage;
        if (BigInt(end - shift) * PAGE >= mapping.inode!.size)
          return refuse('EFAULT', where, 'the mapping reaches beyond the end of its file');
        const found = mapping.inode!.populate(page - shift, end - shift);
        if (!found) return refuse('ENOMEM', where, 'the host has no memory left');
        spans.push(...found.map((span) => ({ ...span, page: span.page + shift })));
      }
      page = end + 1;
    }
    return spans;
  }

  /** Copies bytes out. EFAULT, ENOMEM as `resolve`. */
  read(address: bigint, length: number): Uint8Array | Refusal {
    const bytes = new Uint8Array(length);
    return this._transfer(address, bytes, false) ?? bytes;
  }

  /** Stores bytes. EFAULT, ENOMEM as `resolve`. */
  write(address: bigint, bytes: Uint8Array): Refusal | null {
    return this._transfer(address, bytes, true);
  }

  exit(): void {
    for (const mapping of [...this._mappings]) this._cut(mapping, mapping.first, mapping.last);
    this.alive = false;
  }

  private _transfer(address: bigint, bytes: Uint8Array, write: boolean): Refusal | null {
    if (bytes.length === 0) return null;
    const first = Number(address / PAGE);
    const last = Number((address + BigInt(bytes.length) - 1n) / PAGE);
    const { device, writable, first: base, last: end, filePage } = this._mappingAt(first) ?? {};
    if (device && last <= end!) {
      const where = 'handle_mm_fault';
      if (write && !writable) return fatal('SIGSEGV', where, 'the memory is mapped read-only');
      const shift = BigInt(filePage! - base!) * PAGE;
      for (let page = first; page <= last; page++) {
        const refusal = device.fault(BigInt(page) * PAGE + shift);
        if (refusal) return refusal;
      }
      if (write) device.write(address + shift, bytes);
      else device.read(address + shift, bytes);
      return null;
    }
    const spans = this.resolve(first, last, write, false);
    if (!Array.isArray(spans)) return spans;
    let done = 0;
    for (const span of spans) {
      const skip = done === 0 ? Number(address % PAGE) : 0;
      const count = Math.min(span.count * FRAME_SIZE - skip, bytes.length - done);
      const piece = bytes.subarray(done, done + count);
      if (write) this._memory.write(span.frame * FRAME_SIZE + skip, piece);
      else this._memory.read(span.frame * FRAME_SIZE + skip, piece);
      done += count;
    }
    return null;
  }

  /** Removes pages [first, last] from a mapping, of which up to two pieces stay. */
  private _cut(mapping: Mapping, first: number, last: number): void {
    this._hint = undefined;
    const index = this._mappings.indexOf(mapping);
    const rest: Mapping[] = [];
    const piece = (from: number, to: number): void => {
      if (from > to) return;
      const frames = mapping.frames && new FrameMap();
      if (frames) for (const span of mapping.frames!.range(from, to)) frames.insert(span);
      if (mapping.inode) {
        mapping.inode.get();
        if (mapping.writable) mapping.inode.mapWritable();
      }
      mapping.device?.get();
      rest.push({ ...mapping, first: from, last: to, frames, filePage: mapping.filePage + (from - mapping.first) });
    };
    piece(mapping.first, first - 1);
    piece(last + 1, mapping.last);
    for (const span of mapping.frames?.range(first, last) ?? []) this._memory.release(span.frame, span.count);
    if (mapping.inode) {
      if (mapping.writable) mapping.inode.unmapWritable();
      mapping.inode.put();
    }
    mapping.device?.put();
    this._mappings.splice(index, 1, ...rest);
  }

  private _lowerBound(page: number): number {
    let low = 0;
    let high = this._mappings.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this._mappings[middle]!.first < page) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private _mappingAt(page: number): Mapping | undefined {
    const mapping = this._mappings[this._lowerBound(page + 1) - 1];
    return mapping && mapping.last >= page ? mapping : undefined;
  }
}
