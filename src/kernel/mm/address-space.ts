/**
 * The memory of a process (struct mm_struct): its mappings, ascending, and the frames of its private pages, which
 * take the place of page tables. Pages of files are those of the file.
 */
import { PAGE, UMAX } from '../../machine/address.ts';
import type { FrameRun, PhysicalMemory } from '../../machine/memory.ts';
import { SortedList } from '../../machine/sorted-list.ts';
import { type Refusal, refuse } from '../errno.ts';
import { PROTECTION } from '../uapi/bits.ts';
import type { DeviceMemory } from './device-memory.ts';
import { load, pin, store } from './faults.ts';
import { FrameMap, type FrameSpan } from './frame-map.ts';
import {
  anonOfNeighbours,
  areAnonAlike,
  areMergeable,
  BASE_SHIFT,
  folioOf,
  from,
  hold,
  isPrivate,
  letGo,
  type Mapping,
} from './mapping.ts';
import type { MemfdFile } from './memfd-file.ts';
import { placement, type ShmemInode } from './shmem.ts';

/** TASK_SIZE of x86-64 with four levels. */
export const TASK_SIZE = 2n ** 47n - PAGE;
/** The sysctl vm.max_map_count. */
export const MAX_MAPPINGS = 65530;
const { PROT_READ, PROT_WRITE } = PROTECTION;

/** Where a mapping shall lie: first and last page number. */
export interface Area {
  first: number;
  last: number;
}

/** What a mapping shall be; `Mapping` says what the fields are. `offset` is in bytes. */
export interface MapOptions {
  prot: number;
  may: number;
  shared: boolean;
  pageShift: number;
  shows: { file: MemfdFile; offset: bigint } | { device: DeviceMemory; offset: bigint } | null;
}

export class AddressSpace {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _hint: () => undefined };

  readonly memory: PhysicalMemory;
  private readonly _mappings = new SortedList<Mapping>();
  /** The mapping in which `frameAt` found its page last. */
  private _hint: Mapping | undefined;
  /** Frames of private pages, by page number. */
  readonly frames = new FrameMap();
  private _lastAnon = 0;
  /** False once the process has exited: nothing can be pinned any more (mmget_not_zero). */
  alive = true;

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
  }

  get mappings(): SortedList<Readonly<Mapping>> {
    return this._mappings;
  }

  /**
   * The area of an mmap at exactly this address, `length` bytes rounded up to pages (do_mmap, get_unmapped_area). EINVAL no
   * length, ENOMEM beyond TASK_SIZE or too many mappings, EINVAL alignment; EEXIST if `free` and something is mapped there.
   */
  area(address: bigint, length: bigint, pageShift: number, free: boolean): Area | Refusal {
    const where = 'do_mmap';
    const pageBytes = 1n << BigInt(pageShift);
    if (length === 0n) return refuse('EINVAL', where, 'length is 0');
    const bytes = ((length + pageBytes - 1n) / pageBytes) * pageBytes;
    if (bytes > UMAX && pageShift !== BASE_SHIFT)
      return refuse('EINVAL', where, 'length is 0 once it is rounded up to huge pages');
    if (this._mappings.length > MAX_MAPPINGS)
      return refuse('ENOMEM', where, `the process has ${MAX_MAPPINGS} mappings (vm.max_map_count)`);
    const beyond = refuse('ENOMEM', where, 'the end lies beyond the user address space');
    if (bytes > TASK_SIZE) return beyond;
    if (pageShift !== BASE_SHIFT && address % pageBytes !== 0n)
      return refuse('EINVAL', where, `addr is not a multiple of ${pageBytes}`);
    if (address + bytes > TASK_SIZE) return beyond;
    if (address % PAGE !== 0n) return refuse('EINVAL', where, 'addr is not a multiple of 4096');
    const first = Number(address / PAGE);
    const last = first + Number(bytes / PAGE) - 1;
    if (free && this.within(first, last).length > 0)
      return refuse('EEXIST', where, 'something is mapped in this range already (MAP_FIXED_NOREPLACE)');
    return { first, last };
  }

  /** Unmaps an area that something else will take. EINVAL a huge page of what is there would be cut. */
  clear({ first, last }: Area): Refusal | null {
    const refusal = this._cutsHugePage(first, last);
    if (!refusal) this.remove(first, last);
    return refusal;
  }

  /**
   * Maps an area, in place of what is mapped there (mmap_region). `touch`: anonymous memory is faulted in. EINVAL a huge page of
   * what is there would be cut; ENOMEM no memory.
   */
  map({ first, last }: Area, options: MapOptions, touch: boolean): Refusal | null {
    const { prot, may, shared, pageShift, shows } = options;
    const cut = this._cutsHugePage(first, last);
    if (cut) return cut;
    const mapping: Mapping = {
      first,
      last,
      prot,
      may,
      shared,
      pageShift,
      file: shows && 'file' in shows ? shows.file : null,
      device: shows && 'device' in shows ? shows.device : null,
      offset: shows ? Number(shows.offset / PAGE) : first,
      accounted: !shared && pageShift === BASE_SHIFT && (prot & PROT_WRITE) !== 0,
      anon: 0,
      forked: false,
    };
    const runs = touch ? this.allocate(mapping, first, last, 'touched') : [];
    if (!runs) return refuse('ENOMEM', 'do_mmap', 'the host has no memory left');
    this.remove(first, last);
    hold(mapping);
    const joined = this.insert(mapping);
    if (touch) this.setFrames(joined, runs, first);
    return null;
  }

  /**
   * munmap(2). EINVAL alignment, length, or a huge page would be cut; ENOMEM too many mappings. Pages that DMA has pinned
   * live on until unpinned.
   */
  unmap(address: bigint, length: bigint): Refusal | null {
    const where = 'do_vmi_munmap';
    if (address % PAGE !== 0n || length === 0n || address + length > TASK_SIZE)
      return refuse('EINVAL', where, 'addr is not a multiple of 4096, or length is 0 or beyond the address space');
    const first = Number(address / PAGE);
    const last = Number((address + length - 1n) / PAGE);
    const refusal = this._cutsHugePage(first, last);
    if (refusal) return refusal;
    const around = this.at(first);
    if (around && around.first < first && around.last > last && this._mappings.length >= MAX_MAPPINGS)
      return refuse('ENOMEM', where, `the process has ${MAX_MAPPINGS} mappings (vm.max_map_count)`);
    this.remove(first, last);
    return null;
  }

  /** Returns the first frame of private pages whose frames are in a row; -1 if they are not: `pin` tells then. */
  frameAt(page: number, write: boolean, count = 1): number {
    let mapping = this._hint;
    if (!mapping || page < mapping.first || page > mapping.last) {
      mapping = this.at(page);
      this._hint = mapping;
    }
    if (!mapping || mapping.shared || page + count - 1 > mapping.last) return -1;
    if ((mapping.prot & (write ? PROT_WRITE : PROT_READ)) === 0) return -1;
    return this.frames.at(page, count);
  }

  /**
   * pin_user_pages(FOLL_LONGTERM), without pinning: returns the frames of pages [first, last]. Private pages become the
   * process's own. EFAULT the process is gone, nothing is mapped, it may not be read (`write`: stored to), memory of a
   * device, beyond the end of a file; ENOMEM.
   */
  pin(first: number, last: number, write: boolean): FrameSpan[] | Refusal {
    return pin(this, first, last, write);
  }

  /** The process loads bytes. EFAULT with its signal, ENOMEM. */
  read(address: bigint, length: number): Uint8Array | Refusal {
    return load(this, address, length);
  }

  /** The process stores bytes. EFAULT with its signal, ENOMEM. */
  write(address: bigint, bytes: Uint8Array): Refusal | null {
    return store(this, address, bytes);
  }

  /** unmap_mapping_range: pages [first, last] of a file are gone, and with them what private mappings have stored there. */
  dropCopies(inode: ShmemInode, first: number, last: number): void {
    for (const mapping of this._mappings) {
      if (mapping.file?.inode !== inode || !isPrivate(mapping)) continue;
      const shift = mapping.first - mapping.offset;
      const from = Math.max(mapping.first, first + shift);
      const to = Math.min(mapping.last, last + shift);
      if (from <= to) this._release(from, to);
    }
  }

  /** dup_mmap: a copy for the child of a fork. Null: there is no memory for copies of private pages. */
  fork(): AddressSpace | null {
    if (this.frames.pages > this.memory.freeFrames) return null;
    const child = new AddressSpace(this.memory);
    for (const mapping of this._mappings) {
      hold(mapping);
      const anon = mapping.anon === 0 ? 0 : ++child._lastAnon;
      child._mappings.add(mapping.first, { ...mapping, anon, forked: anon !== 0 });
    }
    for (const { page, frame, count, folioShift } of this.frames.spans) {
      const copies = this.memory.duplicate({ start: frame, count }, { owner: 'anonymous', ...placement(count, page) });
      if (!copies) {
        child.exit();
        return null;
      }
      child.frames.insertRuns(page, copies, folioShift);
    }
    return child;
  }

  exit(): void {
    this.remove(0, Number(TASK_SIZE / PAGE));
    this.alive = false;
  }

  /** The mapping that this page lies in. */
  at(page: number): Mapping | undefined {
    const mapping = this._mappings.floor(page);
    return mapping && mapping.last >= page ? mapping : undefined;
  }

  /** The mappings of which pages [first, last] have a part, ascending. */
  within(first: number, last: number): Mapping[] {
    return this._mappings.within(this.at(first)?.first ?? first, last);
  }

  /** Cuts the mapping that this page lies in, so that one begins with it. */
  splitAt(page: number): void {
    const mapping = this.at(page);
    if (!mapping || mapping.first === page) return;
    hold(mapping);
    this._mappings.add(page, from(mapping, page));
    mapping.last = page - 1;
    this._hint = undefined;
  }

  /** Adds a mapping, whose file the caller has held, to where nothing is mapped. Returns the one that it is part of now. */
  insert(mapping: Mapping): Mapping {
    this._mappings.add(mapping.first, mapping);
    return this.join(mapping);
  }

  /** Makes a mapping one with its neighbours where Linux does (vma_merge_new_range), and returns it. */
  join(mapping: Mapping): Mapping {
    const { left, right } = this._neighbours(mapping);
    const joinsLeft = left !== undefined && areMergeable(left, mapping);
    // Each alike to the one in the middle does not make the two alike.
    const joinsRight = right !== undefined && areMergeable(mapping, right) && (!joinsLeft || areAnonAlike(left, right));
    let joined = mapping;
    if (joinsRight) this._swallow(joined, right);
    if (joinsLeft) {
      this._swallow(left, joined);
      joined = left;
    }
    return joined;
  }

  /** Unmaps pages [first, last], which cut no huge page. */
  remove(first: number, last: number): void {
    if (this.within(first, last).length === 0) return;
    this.splitAt(first);
    this.splitAt(last + 1);
    this._release(first, last);
    const gone = this._mappings.take(first, last);
    this._hint = undefined;
    for (const mapping of gone) letGo(mapping);
  }

  /** Frames for private pages [first, last] of a mapping, in runs. Null: no memory. */
  allocate(mapping: Mapping, first: number, last: number, fill: 'zero' | 'touched'): FrameRun[] | null {
    const count = last - first + 1;
    const folioShift = mapping.pageShift;
    return this.memory.allocate(count, { owner: 'anonymous', fill, folioShift, ...placement(count, first) });
  }

  /** Gives private pages of a mapping, which have no frames, these, from `page` on. */
  setFrames(mapping: Mapping, runs: readonly FrameRun[], page: number): void {
    this.frames.insertRuns(page, runs, mapping.pageShift);
    if (mapping.anon !== 0) return;
    const { left, right } = this._neighbours(mapping);
    mapping.anon = anonOfNeighbours(mapping, left, right) || ++this._lastAnon;
  }

  /** The mappings before and behind one. */
  private _neighbours({ first }: Mapping): { left: Mapping | undefined; right: Mapping | undefined } {
    return { left: this._mappings.floor(first - 1), right: this._mappings.above(first) };
  }

  /** EINVAL if the borders of a range cut a huge page in two (hugetlb_vm_op_split). */
  private _cutsHugePage(first: number, last: number): Refusal | null {
    const cuts = (page: number): boolean => {
      const mapping = this.at(page);
      return mapping !== undefined && mapping.first < page && (page - mapping.first) % folioOf(mapping) !== 0;
    };
    if (!cuts(first) && !cuts(last + 1)) return null;
    return refuse('EINVAL', 'do_vmi_munmap', 'the range would cut a huge page');
  }

  /** Makes a mapping one with that behind it. */
  private _swallow(mapping: Mapping, next: Mapping): void {
    mapping.last = next.last;
    mapping.anon ||= next.anon;
    mapping.forked ||= next.forked;
    this._mappings.take(next.first, next.first);
    this._hint = undefined;
    letGo(next);
  }

  private _release(first: number, last: number): void {
    for (const { frame, count } of this.frames.remove(first, last)) this.memory.release(frame, count);
  }
}
