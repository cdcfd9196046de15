/**
 * Pages of memfds and of shared anonymous memory (mm/shmem.c), and of their hugetlb kin (fs/hugetlbfs/inode.c). Pages are
 * allocated when first touched; a frozen file keeps its size (LUO freezes it, and so may a restored domain that maps it).
 */
import { PAGE } from '../../machine/address.ts';
import { FRAME_SIZE, type FrameRun, type PhysicalMemory } from '../../machine/memory.ts';
import { assert, type Refusal, refuse } from '../errno.ts';
import { FALLOCATE_MODE, SEALS } from '../uapi/bits.ts';
import { FrameMap, type FrameSpan } from './frame-map.ts';

export const { F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_EXEC } = SEALS;
const ALL_SEALS = 63;
const WRITE_SEALS = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
/** What F_SEAL_EXEC brings to an executable memfd. */
const EXEC_SEALS = F_SEAL_SHRINK | F_SEAL_GROW | WRITE_SEALS;
const EXEC_BITS = 0o111;

const { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE } = FALLOCATE_MODE;

/** MAX_LFS_FILESIZE. */
export const MAX_BYTES = 2n ** 63n - 1n;
const LAST_PAGE = 2 ** 51 - 1;
/** The largest folio: a write is checked and done in steps of it (mapping_max_folio_size). */
const STEP = 2 * 1024 * 1024;

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
  /** log2 of the bytes of its pages: 12; 21 or 30 for those of hugetlb. */
  readonly pageShift: number;
  /** Permission bits. */
  mode: number;
  size = 0n;
  seals: number;
  readonly pages = new FrameMap();
  /** Those of its pages that fallocate has allocated and nobody has touched: not up to date, they read as holes. */
  readonly fallocated = new FrameMap();
  private _refs = 1;
  private _sharedWritable = 0;
  /** It is in an outgoing session. */
  preserved = false;
  private _restoredDomains = 0;

  constructor(memory: PhysicalMemory, name: string, pageShift: number, seals: number, mode = 0o777) {
    this.memory = memory;
    this.name = name;
    this.pageShift = pageShift;
    this.seals = seals;
    this.mode = mode;
  }

  get hugetlb(): boolean {
    return this.pageShift !== 12;
  }

  /** How many pages the size covers, a last one in part included. FALLOC_FL_KEEP_SIZE may leave others behind it. */
  get sizeInPages(): bigint {
    return (this.size + PAGE - 1n) / PAGE;
  }

  get frozen(): boolean {
    return this.preserved || this._restoredDomains > 0;
  }

  /** How many files and others refer to it. */
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

  /** How many mappings are shared and may be writable: F_SEAL_WRITE is EBUSY while there are any. */
  get sharedWritable(): number {
    return this._sharedWritable;
  }

  /** mapping_map_writable: counts a shared mapping that may be writable. */
  mapWritable(): void {
    this._sharedWritable++;
  }

  /** mapping_unmap_writable: counts one less. */
  unmapWritable(): void {
    assert(this._sharedWritable > 0, 'the memfd was mapped for writing');
    this._sharedWritable--;
  }

  get isWriteSealed(): boolean {
    return (this.seals & WRITE_SEALS) !== 0;
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

  /** How many of pages [first, last] a mapping can touch: the size covers a part of each of them. */
  reach(first: number, last: number): number {
    const count = (end: number): number => Math.max(0, Math.min(last + 1, end) - first);
    if (!this.hugetlb) return count(Number(this.sizeInPages));
    // hugetlb_no_page counts whole pages, but finds one that is there behind them.
    const whole = Number((this.size >> BigInt(this.pageShift)) << BigInt(this.pageShift - 12));
    const [hole] = this.pages.holes(Math.max(first, whole), last);
    return count(hole ? Math.max(whole, hole.page) : last + 1);
  }

  /** Returns the frames of pages [first, last] as a touch brings them in: up to date, allocated if need be. Null: no memory. */
  populate(first: number, last: number, fill: 'zero' | 'touched' = 'zero'): FrameSpan[] | null {
    if (!this._allocate(first, last, fill)) return null;
    this._bringUpToDate(first, last);
    return this.pages.range(first, last);
  }

  /** The frames of pages [first, last] as memfd_pin_folios finds them: one that is there is taken as it is. Null: no memory. */
  pin(first: number, last: number): FrameSpan[] | null {
    return this._allocate(first, last, 'zero') ? this.pages.range(first, last) : null;
  }

  /** ftruncate(2), length in bytes. EINVAL; EPERM F_SEAL_SHRINK, F_SEAL_GROW, or frozen (shmem_setattr). */
  truncate(length: bigint): Refusal | null {
    const where = this.hugetlb ? 'hugetlbfs_setattr' : 'shmem_setattr';
    if (length < 0n || length > MAX_BYTES) return refuse('EINVAL', 'do_ftruncate', 'length is negative');
    if (length % (1n << BigInt(this.pageShift)) !== 0n && this.hugetlb)
      return refuse('EINVAL', where, 'the size of a hugetlb memfd is a multiple of its page size');
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

  /**
   * What fallocate(2) does, once the arguments are checked (shmem_fallocate, hugetlbfs_fallocate); offset and length in bytes.
   * EOPNOTSUPP mode, EPERM frozen or sealed, ENOSPC.
   */
  fallocate(mode: number, offset: bigint, length: bigint): Refusal | null {
    const where = this.hugetlb ? 'hugetlbfs_fallocate' : 'shmem_fallocate';
    if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE))
      return refuse('EOPNOTSUPP', where, 'only KEEP_SIZE, and PUNCH_HOLE together with it, are supported');
    if (this.frozen) return this._refuseFrozen(where);
    if (mode & FALLOC_FL_PUNCH_HOLE) {
      if (this.isWriteSealed) return refuse('EPERM', where, 'the memfd has F_SEAL_WRITE');
      this._punch(offset, offset + length);
      return null;
    }
    const end = offset + length;
    if (end > this.size && this.seals & F_SEAL_GROW) return refuse('EPERM', where, 'the memfd has F_SEAL_GROW');
    const [first, last] = [Number(offset / PAGE), Number((end - 1n) / PAGE)];
    const holes = this.pages.holes(first, last);
    if (!this._allocate(first, last, 'zero')) return refuse('ENOSPC', where, 'the host has no memory left');
    // Pages of an earlier fallocate are brought up to date by the next one (SGP_FALLOC).
    this._bringUpToDate(first, last);
    if (!this.hugetlb)
      for (const { page, count } of holes)
        for (const span of this.pages.range(page, page + count - 1)) this.fallocated.insert(span);
    if (!(mode & FALLOC_FL_KEEP_SIZE) && end > this.size) this.size = end;
    return null;
  }

  /** The whole pages that a punched hole would free, as [first, last]. */
  holeWithin(offset: bigint, length: bigint): [first: number, last: number] {
    const page = 1n << BigInt(this.pageShift);
    const first = ((offset + page - 1n) / page) * page;
    const end = ((offset + length) / page) * page;
    return [Number(first / PAGE), Number(end / PAGE) - 1];
  }

  /**
   * F_ADD_SEALS. EINVAL; EPERM F_SEAL_SEAL; EBUSY F_SEAL_WRITE while a shared mapping may be writable, or pages are pinned or
   * preserved (memfd_add_seals).
   */
  addSeals(seals: number): Refusal | null {
    const where = 'memfd_add_seals';
    if (seals & ~ALL_SEALS) return refuse('EINVAL', where, 'unknown seal');
    if (this.seals & F_SEAL_SEAL)
      return refuse('EPERM', where, 'the memfd has F_SEAL_SEAL; create it with MFD_ALLOW_SEALING');
    const added = seals & F_SEAL_EXEC && this.mode & EXEC_BITS ? seals | EXEC_SEALS : seals;
    if (added & F_SEAL_WRITE && !(this.seals & F_SEAL_WRITE)) {
      if (this._sharedWritable > 0)
        return refuse('EBUSY', where, 'the memfd is mapped shared, and may be written there');
      if (this._isPinned() || (this.preserved && this.size > 0n))
        return refuse('EBUSY', where, 'pages of the memfd are pinned');
    }
    this.seals |= added;
    return null;
  }

  /** fchmod(2). EPERM F_SEAL_EXEC and other exec bits (shmem_setattr). */
  chmod(mode: number): Refusal | null {
    if (!this.hugetlb && this.seals & F_SEAL_EXEC && (this.mode ^ mode) & EXEC_BITS)
      return refuse('EPERM', 'shmem_setattr', 'the memfd has F_SEAL_EXEC: its exec bits stay as they are');
    this.mode = mode & 0o7777;
    return null;
  }

  /** Returns up to `length` bytes from `offset` on; fewer at the end of the file. */
  read(offset: bigint, length: number): Uint8Array {
    const end = offset + BigInt(length) < this.size ? offset + BigInt(length) : this.size;
    const bytes = new Uint8Array(end > offset ? Number(end - offset) : 0);
    if (bytes.length === 0) return bytes;
    const first = Number(offset / PAGE);
    const last = Number((end - 1n) / PAGE);
    const copy = (spans: readonly FrameSpan[], move: (physical: number, piece: Uint8Array) => void): void => {
      for (const span of spans) {
        const from = Math.max(0, (span.page - first) * FRAME_SIZE - Number(offset % PAGE));
        const skip = span.page === first ? Number(offset % PAGE) : 0;
        const count = Math.min(span.count * FRAME_SIZE - skip, bytes.length - from);
        move(span.frame * FRAME_SIZE + skip, bytes.subarray(from, from + count));
      }
    };
    copy(this.pages.range(first, last), (physical, piece) => this.memory.read(physical, piece));
    copy(this.fallocated.range(first, last), (_physical, piece) => piece.fill(0));
    return bytes;
  }

  /**
   * Writes at a place that the caller has checked: returns the bytes written, fewer if a later step is refused. EPERM sealed or
   * frozen, ENOSPC (shmem_file_write_iter).
   */
  write(offset: bigint, data: Uint8Array): number | Refusal {
    for (let done = 0; done < data.length; ) {
      const at = offset + BigInt(done);
      const piece = data.subarray(done, done + STEP - Number(at % BigInt(STEP)));
      const refusal = this._writeStep(at, piece);
      if (refusal) return done > 0 ? done : refusal;
      done += piece.length;
    }
    return data.length;
  }

  private _writeStep(offset: bigint, data: Uint8Array): Refusal | null {
    const where = 'shmem_file_write_iter';
    const end = offset + BigInt(data.length);
    if (this.isWriteSealed) return refuse('EPERM', where, 'the memfd has F_SEAL_WRITE');
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
    return null;
  }

  /**
   * The first byte from `offset` on, which lies before the end, that is data, or a hole: of a page that is up to date, or not
   * (mapping_seek_hole_data). Null: there is no data behind it. The end is a hole.
   */
  seek(offset: bigint, whence: 'data' | 'hole'): bigint | null {
    let page = Number(offset / PAGE);
    const found = (): bigint => {
      const start = BigInt(page) * PAGE;
      const at = start > offset ? start : offset;
      return at < this.size ? at : this.size;
    };
    while (BigInt(page) * PAGE < this.size) {
      const span = this.pages.next(page);
      if (!span) return whence === 'hole' ? found() : null;
      if (span.page > page && whence === 'hole') return found();
      page = Math.max(page, span.page);
      const end = span.page + span.count;
      const stale = this.fallocated.next(page);
      if (stale && stale.page <= page) {
        if (whence === 'hole') return found();
        page = stale.page + stale.count;
      } else {
        // The end of the very last page is no loff_t, and the loop of Linux passes it over.
        if (whence === 'data') return BigInt(page) * PAGE < this.size && page < LAST_PAGE ? found() : null;
        page = Math.min(end, stale?.page ?? end);
      }
    }
    return whence === 'hole' ? found() : null;
  }

  private _refuseFrozen(where: string): Refusal {
    return this.preserved
      ? refuse('EPERM', where, 'the memfd is in a session of LUO and keeps its size until that is closed')
      : refuse('EPERM', where, 'a restored domain maps the memfd: it keeps its size until that domain is freed', 'R20');
  }

  private _isPinned(): boolean {
    return this.pages.spans.some(({ frame, count }) => this.memory.isPinned(frame, count));
  }

  /** Gives pages [first, last], and those that belong together with them, frames if they have none. False: no memory. */
  private _allocate(first: number, last: number, fill: 'zero' | 'touched'): boolean {
    const folio = 2 ** (this.pageShift - 12);
    const holes = this.pages.holes(first - (first % folio), last - (last % folio) + folio - 1);
    if (holes.reduce((sum, { count }) => sum + count, 0) > this.memory.freeFrames) return false;
    const found: { page: number; runs: FrameRun[] }[] = [];
    for (const { page, count } of holes) {
      const runs = this.memory.allocate(count, {
        owner: 'memfd',
        fill,
        folioShift: this.pageShift,
        ...placement(count, page),
      });
      if (!runs) {
        for (const { start, count: frames } of found.flatMap((hole) => hole.runs)) this.memory.release(start, frames);
        return false;
      }
      found.push({ page, runs });
    }
    for (const { page, runs } of found) this.pages.insertRuns(page, runs, this.pageShift);
    return true;
  }

  /** A page that fallocate has allocated is zeroed when it is touched first. */
  private _bringUpToDate(first: number, last: number): void {
    for (const { frame, count } of this.fallocated.remove(first, last)) this.memory.clear(frame, count);
  }

  private _punch(offset: bigint, end: bigint): void {
    const [first, last] = this.holeWithin(offset, end - offset);
    const [from, to] = [BigInt(first) * PAGE, BigInt(last + 1) * PAGE];
    if (first <= last) this._drop(first, last);
    this._zero(offset, from < end ? from : end);
    if (to >= from) this._zero(to, end);
  }

  private _drop(first: number, last: number): void {
    for (const span of this.pages.remove(first, last)) this.memory.release(span.frame, span.count);
    this.fallocated.remove(first, last);
  }

  /** Zeroes [from, to) in pages that stay. */
  private _zero(from: bigint, to: bigint): void {
    if (from >= to) return;
    const first = Number(from / PAGE);
    const last = Number((to - 1n) / PAGE);
    /** Zeroes a part of one page. */
    const zeroPart = (page: number, start: number, end: number): void => {
      const [span] = this.pages.range(page, page);
      if (span) this.memory.write(span.frame * FRAME_SIZE + start, new Uint8Array(end - start));
    };
    const start = Number(from % PAGE);
    const end = Number((to - 1n) % PAGE) + 1;
    zeroPart(first, start, first === last ? end : FRAME_SIZE);
    if (first === last) return;
    zeroPart(last, 0, end);
    for (const { frame, count } of this.pages.range(first + 1, last - 1)) this.memory.clear(frame, count);
  }
}
