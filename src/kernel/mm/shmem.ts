/**
 * memfds: shmem files without a link (mm/shmem.c, mm/memfd.c), and their hugetlb kin. Pages are allocated when first
 * touched; a frozen file keeps its size (LUO freezes it, and so may a restored domain that maps it).
 */
import { PAGE } from '../../machine/address.ts';
import { FRAME_SIZE, type PhysicalMemory } from '../../machine/memory.ts';
import { assert, type Refusal, refuse } from '../errno.ts';
import { type MapRequest, type MapTarget, OpenFile, type ReadOk } from '../file.ts';
import { FALLOCATE_MODE, MEMFD_FLAGS, OPEN_FLAGS, SEALS } from '../uapi/bits.ts';
import { FrameMap, type FrameSpan } from './frame-map.ts';

export const { F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_EXEC } = SEALS;
const ALL_SEALS = 63;

export const { MFD_ALLOW_SEALING, MFD_HUGETLB, MFD_NOEXEC_SEAL, MFD_EXEC } = MEMFD_FLAGS;
const MFD_ALL = 31;
const MAX_NAME = 249;

const { FALLOC_FL_KEEP_SIZE: FALLOC_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE: FALLOC_PUNCH_HOLE } = FALLOCATE_MODE;

const HUGE = 2n * 1024n * 1024n;
/** MAX_LFS_FILESIZE. */
const MAX_BYTES = 2n ** 63n - 1n;

/**
 * Where `count` pages from page number `page` on shall lie, so that large leaves of page tables fit: congruent to
 * `page`.
 */
export function placement(count: number, page: number): { align: number; phase: number } {
  const align = count >= 262144 ? 262144 : count >= 512 ? 512 : 1;
  return { align, phase: page % align };
}

export class ShmemInode {
  readonly memory: PhysicalMemory;
  /** The name of its dentry: `memfd:` and what memfd_create was given; empty for a memfd that came out of a session. */
  readonly name: string;
  readonly hugetlb: boolean;
  size = 0n;
  seals: number;
  readonly pages = new FrameMap();
  private _refs = 1;
  private _pinnedPages = 0;
  private _sharedWritable = 0;
  /** It is in an outgoing session. */
  preserved = false;
  /** False for memory of a device, which can be mapped, but not pinned for DMA. */
  readonly pinnable: boolean = true;
  private _restoredDomains = 0;

  constructor(memory: PhysicalMemory, name: string, hugetlb: boolean, seals: number) {
    this.memory = memory;
    this.name = name;
    this.hugetlb = hugetlb;
    this.seals = seals;
  }

  /** How many pages the size covers, a last one in part included. FALLOC_FL_KEEP_SIZE may leave others behind it. */
  get sizeInPages(): bigint {
    return (this.size + PAGE - 1n) / PAGE;
  }

  get frozen(): boolean {
    return this.preserved || this._restoredDomains > 0;
  }

  /** How many files and mappings refer to it. */
  get refs(): number {
    return this._refs;
  }

  get(): this {
    this._refs++;
    return this;
  }

  put(): void {
    assert(this._refs > 0, 'a released inode is put');
    if (--this._refs === 0) this._drop(0, Number.MAX_SAFE_INTEGER);
  }

  /** How many of its pages DMA has pinned: F_SEAL_WRITE is EBUSY while there are any. */
  get pinnedPages(): number {
    return this._pinnedPages;
  }

  /** Counts pins of its pages that were added, or, negative, removed. */
  countPins(pages: number): void {
    assert(this._pinnedPages + pages >= 0, 'pages that are unpinned were pinned');
    this._pinnedPages += pages;
  }

  /** How many mappings are shared and writable: F_SEAL_WRITE is EBUSY while there are any. */
  get sharedWritable(): number {
    return this._sharedWritable;
  }

  /** mapping_map_writable: counts a shared writable mapping. */
  mapWritable(): void {
    this._sharedWritable++;
  }

  /** mapping_unmap_writable: counts one less. */
  unmapWritable(): void {
    assert(this._sharedWritable > 0, 'the memfd was mapped for writing');
    this._sharedWritable--;
  }

  /** How many restored domains map its pages (policy freezeRestoredMemfd). */
  get restoredDomains(): number {
    return this._restoredDomains;
  }

  /** A restored domain maps its pages: it keeps its size until that domain is freed. */
  freeze(): void {
    this._restoredDomains++;
  }

  thaw(): void {
    assert(this._restoredDomains > 0, 'a restored domain mapped the memfd');
    this._restoredDomains--;
  }

  /** Returns the frames of pages [first, last], allocating those that have none; null: no memory. */
  populate(first: number, last: number): FrameSpan[] | null {
    const folio = this.hugetlb ? 512 : 1;
    const from = Math.floor(first / folio) * folio;
    const to = Math.ceil((last + 1) / folio) * folio - 1;
    for (const hole of this.pages.holes(from, to)) {
      const runs = this.memory.allocate(hole.count, {
        owner: 'memfd',
        folioShift: this.hugetlb ? 21 : 12,
        ...placement(hole.count, hole.page),
      });
      if (!runs) return null;
      let page = hole.page;
      for (const run of runs) {
        this.pages.insert({ page, frame: run.start, count: run.count, folioShift: this.hugetlb ? 21 : 12 });
        page += run.count;
      }
    }
    return this.pages.range(first, last);
  }

  /** ftruncate(2), length in bytes. EINVAL; EPERM F_SEAL_SHRINK, F_SEAL_GROW, or frozen (shmem_setattr). */
  truncate(length: bigint): Refusal | null {
    const where = this.hugetlb ? 'hugetlbfs_setattr' : 'shmem_setattr';
    if (length < 0n || length > MAX_BYTES) return refuse('EINVAL', 'do_ftruncate', 'length is negative');
    if (this.hugetlb && length % HUGE !== 0n)
      return refuse('EINVAL', where, 'the size of a hugetlb memfd is a multiple of 2 MiB');
    if (length < this.size && this.seals & F_SEAL_SHRINK) return refuse('EPERM', where, 'the memfd has F_SEAL_SHRINK');
    if (length > this.size && this.seals & F_SEAL_GROW) return refuse('EPERM', where, 'the memfd has F_SEAL_GROW');
    if (length !== this.size && this.frozen) return this._refuseFrozen(where);
    // Pages behind the size are freed even if it stays the same.
    if (length <= this.size) {
      const keep = Number((length + PAGE - 1n) / PAGE);
      this._drop(keep, Number.MAX_SAFE_INTEGER);
      this._zero(length, BigInt(keep) * PAGE);
    }
    this.size = length;
    return null;
  }

  /** fallocate(2). EINVAL, EOPNOTSUPP mode, EPERM frozen or sealed, EFBIG, ENOSPC (shmem_fallocate). */
  fallocate(mode: number, offset: bigint, length: bigint): Refusal | null {
    const where = 'shmem_fallocate';
    if (offset > MAX_BYTES || length === 0n || length > MAX_BYTES)
      return refuse('EINVAL', 'vfs_fallocate', 'offset is negative or length is not positive');
    if (mode & ~(FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE) || mode === FALLOC_PUNCH_HOLE)
      return refuse('EOPNOTSUPP', where, 'only KEEP_SIZE, and PUNCH_HOLE together with it, are supported');
    if (this.frozen) return this._refuseFrozen(where);
    const end = offset + length;
    if (mode & FALLOC_PUNCH_HOLE) {
      if (this.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
        return refuse('EPERM', where, 'the memfd has F_SEAL_WRITE');
      const first = (offset + PAGE - 1n) / PAGE;
      const last = end / PAGE - 1n;
      if (first <= last) this._drop(Number(first), Number(last));
      this._zero(offset, first * PAGE < end ? first * PAGE : end);
      if (last + 1n >= first) this._zero((last + 1n) * PAGE, end);
      return null;
    }
    if (!(mode & FALLOC_KEEP_SIZE) && end > this.size && this.seals & F_SEAL_GROW)
      return refuse('EPERM', where, 'the memfd has F_SEAL_GROW');
    if (end > MAX_BYTES) return refuse('EFBIG', 'vfs_fallocate', 'the end is beyond the largest file');
    if (!this.populate(Number(offset / PAGE), Number((end - 1n) / PAGE)))
      return refuse('ENOSPC', where, 'the host has no memory left');
    if (!(mode & FALLOC_KEEP_SIZE) && end > this.size) this.size = end;
    return null;
  }

  /**
   * F_ADD_SEALS. EINVAL; EPERM F_SEAL_SEAL; EBUSY F_SEAL_WRITE while mapped for writing, pinned or preserved
   * (memfd_add_seals).
   */
  addSeals(seals: number): Refusal | null {
    const where = 'memfd_add_seals';
    if (seals & ~ALL_SEALS) return refuse('EINVAL', where, 'unknown seal');
    if (this.seals & F_SEAL_SEAL)
      return refuse('EPERM', where, 'the memfd has F_SEAL_SEAL; create it with MFD_ALLOW_SEALING');
    if (seals & F_SEAL_WRITE && !(this.seals & F_SEAL_WRITE)) {
      if (this._sharedWritable > 0) return refuse('EBUSY', where, 'the memfd is mapped shared and writable');
      if (this._pinnedPages > 0 || (this.preserved && this.size > 0n))
        return refuse('EBUSY', where, 'pages of the memfd are pinned');
    }
    this.seals |= seals;
    return null;
  }

  /** Returns up to `length` bytes from `offset` on; fewer at the end of the file. */
  read(offset: bigint, length: number): Uint8Array {
    const end = offset + BigInt(length) < this.size ? offset + BigInt(length) : this.size;
    const bytes = new Uint8Array(end > offset ? Number(end - offset) : 0);
    if (bytes.length === 0) return bytes;
    const first = Number(offset / PAGE);
    for (const span of this.pages.range(first, Number((end - 1n) / PAGE))) {
      const from = Math.max(0, (span.page - first) * FRAME_SIZE - Number(offset % PAGE));
      const skip = span.page === first ? Number(offset % PAGE) : 0;
      const count = Math.min(span.count * FRAME_SIZE - skip, bytes.length - from);
      this.memory.read(span.frame * FRAME_SIZE + skip, bytes.subarray(from, from + count));
    }
    return bytes;
  }

  /** pwrite(2): returns the bytes written. EINVAL, EFBIG, EPERM sealed or frozen, ENOSPC (shmem_file_write_iter). */
  write(offset: bigint, data: Uint8Array): number | Refusal {
    const where = 'shmem_file_write_iter';
    if (offset > MAX_BYTES) return refuse('EINVAL', 'ksys_pwrite64', 'offset is negative');
    if (data.length === 0) return 0;
    const end = offset + BigInt(data.length);
    if (end > MAX_BYTES) return refuse('EFBIG', where, 'the end is beyond the largest file');
    if (this.hugetlb) return refuse('EINVAL', 'vfs_write', 'a hugetlb memfd cannot be written with write()');
    if (this.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) return refuse('EPERM', where, 'the memfd has F_SEAL_WRITE');
    if (end > this.size && this.seals & F_SEAL_GROW) return refuse('EPERM', where, 'the memfd has F_SEAL_GROW');
    if (end > this.size && this.frozen) return this._refuseFrozen(where);
    const spans = this.populate(Number(offset / PAGE), Number((end - 1n) / PAGE));
    if (!spans) return refuse('ENOSPC', where, 'the host has no memory left');
    let done = 0;
    for (const span of spans) {
      const skip = done === 0 ? Number(offset % PAGE) : 0;
      const count = Math.min(span.count * FRAME_SIZE - skip, data.length - done);
      this.memory.write(span.frame * FRAME_SIZE + skip, data.subarray(done, done + count));
      done += count;
    }
    if (end > this.size) this.size = end;
    return done;
  }

  private _refuseFrozen(where: string): Refusal {
    return this.preserved
      ? refuse('EPERM', where, 'the memfd is in a session of LUO and keeps its size until that is closed')
      : refuse('EPERM', where, 'a restored domain maps the memfd: it keeps its size until that domain is freed', 'R20');
  }

  private _drop(first: number, last: number): void {
    for (const span of this.pages.remove(first, last)) this.memory.release(span.frame, span.count);
  }

  /** Zeroes [from, to) within one page that stays. */
  private _zero(from: bigint, to: bigint): void {
    if (from >= to) return;
    const page = Number(from / PAGE);
    for (const span of this.pages.range(page, page))
      this.memory.write(span.frame * FRAME_SIZE + Number(from % PAGE), new Uint8Array(Number(to - from)));
  }
}

export class MemfdFile extends OpenFile {
  readonly kind = 'memfd';
  readonly inode: ShmemInode;
  position = 0n;

  constructor(inode: ShmemInode) {
    super();
    this.inode = inode;
    this.flags |= OPEN_FLAGS.O_LARGEFILE;
  }

  link(): string {
    return `/${this.inode.name} (deleted)`;
  }

  release(): void {
    this.inode.put();
  }

  override reopen(): MemfdFile {
    return new MemfdFile(this.inode.get());
  }

  override get size(): bigint {
    return this.inode.size;
  }

  override map({ offset }: MapRequest): MapTarget {
    return { inode: this.inode, offset };
  }

  override pread(offset: bigint, length: number): ReadOk {
    const data = this.inode.read(offset, length);
    return { ret: data.length, data };
  }

  override pwrite(offset: bigint, data: Uint8Array): number | Refusal {
    return this.inode.write(offset, data);
  }

  override seek(offset: bigint, whence: number): bigint | Refusal {
    const base = [0n, this.position, this.inode.size][whence];
    if (base === undefined) return refuse('EINVAL', 'vfs_llseek', 'whence is 0 (SET), 1 (CUR) or 2 (END)');
    const position = base + BigInt.asIntN(64, offset);
    if (position < 0n || position > MAX_BYTES) return refuse('EINVAL', 'vfs_llseek', 'the position would be negative');
    this.position = position;
    return position;
  }
}

/** memfd_create(2), and the first ftruncate to `size` bytes. EINVAL flags or name, then the errnos of `truncate`. */
export function memfdCreate(memory: PhysicalMemory, name: string, flags: number, size: bigint): MemfdFile | Refusal {
  const where = 'memfd_create';
  if (flags & ~MFD_ALL || flags < 0) return refuse('EINVAL', where, 'unknown flag');
  if (flags & MFD_EXEC && flags & MFD_NOEXEC_SEAL)
    return refuse('EINVAL', where, 'EXEC and NOEXEC_SEAL exclude each other');
  if (name.length > MAX_NAME) return refuse('EINVAL', where, `the name has more than ${MAX_NAME} bytes`);
  const seals = flags & MFD_NOEXEC_SEAL ? F_SEAL_EXEC : flags & MFD_ALLOW_SEALING ? 0 : F_SEAL_SEAL;
  const inode = new ShmemInode(memory, `memfd:${name}`, (flags & MFD_HUGETLB) !== 0, seals);
  const refusal = inode.truncate(size);
  return refusal ?? new MemfdFile(inode);
}
