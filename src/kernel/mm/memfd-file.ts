/** Open files of memfds (mm/memfd.c, and the file operations of shmem and hugetlbfs). */
import { MAX_TRANSFER } from '../../limits.ts';
import type { PhysicalMemory } from '../../machine/memory.ts';
import { Refusal, refuse } from '../errno.ts';
import { type MapRequest, type MapTarget, OpenFile, type ReadOk, type Written } from '../file.ts';
import { FALLOCATE_MODE, MEMFD_FLAGS, OPEN_FLAGS, PROTECTION } from '../uapi/bits.ts';
import { F_SEAL_EXEC, F_SEAL_SEAL, MAX_BYTES, ShmemInode } from './shmem.ts';

const { MFD_ALLOW_SEALING, MFD_HUGETLB, MFD_NOEXEC_SEAL, MFD_EXEC } = MEMFD_FLAGS;
const MFD_ALL = 31;
/** Bits 26 to 31 are log2 of the bytes of a huge page; 0: the default size. */
const MFD_HUGE_SHIFT = 26;
const HUGE_SHIFTS: ReadonlyMap<number, number> = new Map([
  [0, 21],
  [21, 21],
  [30, 30],
]);
const MAX_NAME = 249;

const { O_RDWR, O_LARGEFILE, O_APPEND } = OPEN_FLAGS;
const { PROT_WRITE } = PROTECTION;
const {
  FALLOC_FL_KEEP_SIZE: KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE: PUNCH_HOLE,
  FALLOC_FL_COLLAPSE_RANGE: COLLAPSE_RANGE,
  FALLOC_FL_ZERO_RANGE: ZERO_RANGE,
  FALLOC_FL_INSERT_RANGE: INSERT_RANGE,
  FALLOC_FL_UNSHARE_RANGE: UNSHARE_RANGE,
  FALLOC_FL_WRITE_ZEROES: WRITE_ZEROES,
} = FALLOCATE_MODE;
/** Modes that exclude each other; with each of them the bits that go with it. */
const FALLOCATE_KINDS: ReadonlySet<number> = new Set([
  ...[0, UNSHARE_RANGE, ZERO_RANGE].flatMap((kind) => [kind, kind | KEEP_SIZE]),
  PUNCH_HOLE | KEEP_SIZE,
  COLLAPSE_RANGE,
  INSERT_RANGE,
  WRITE_ZEROES,
]);

const SEEK = { SET: 0, CUR: 1, END: 2, DATA: 3, HOLE: 4 } as const;

export class MemfdFile extends OpenFile {
  readonly kind = 'memfd';
  readonly inode: ShmemInode;
  position = 0n;

  constructor(inode: ShmemInode) {
    super();
    this.inode = inode;
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

  override get pageShift(): number {
    return this.inode.pageShift;
  }

  override get mapEnd(): bigint {
    return MAX_BYTES;
  }

  /** EINVAL an offset within a huge page (hugetlbfs_file_mmap). */
  override map({ offset, length, prot }: MapRequest): MapTarget | Refusal {
    const { inode } = this;
    if (inode.hugetlb) {
      if (offset % (1n << BigInt(inode.pageShift)) !== 0n)
        return refuse('EINVAL', 'hugetlbfs_file_mmap', 'offset is not a multiple of the page size of the memfd');
      // A writable mapping makes the file as large as it is, whatever is sealed.
      if (prot & PROT_WRITE && inode.size < offset + length) inode.size = offset + length;
    }
    return { file: this, offset };
  }

  override chmod(mode: number): Refusal | null {
    return this.inode.chmod(mode);
  }

  /** EINVAL also where the end would lie beyond the largest file (rw_verify_area). */
  override read(length: bigint): ReadOk | Refusal {
    if (length > MAX_TRANSFER) return refuse('EINVAL', 'vfs_read', `at most ${MAX_TRANSFER} bytes a call`);
    const answer = this.pread(this.position, Number(length));
    if (!(answer instanceof Refusal)) this.position += BigInt(answer.ret);
    return answer;
  }

  override write({ data, length }: Written): number | Refusal {
    const bytes = data.subarray(0, Number(length));
    const at = this._placeOfWrite(this.position);
    const count = this._write(this.position, at, bytes);
    if (typeof count === 'number' && count > 0) this.position = at + BigInt(count);
    return count;
  }

  override pread(offset: bigint, length: number): ReadOk | Refusal {
    if (offset + BigInt(length) > MAX_BYTES)
      return refuse('EINVAL', 'rw_verify_area', 'the end lies beyond the largest file');
    const data = this.inode.read(offset, length);
    return { ret: data.length, data };
  }

  override pwrite(offset: bigint, data: Uint8Array): number | Refusal {
    return this._write(offset, this._placeOfWrite(offset), data);
  }

  /** With O_APPEND all is written to the end, whatever the offset. */
  private _placeOfWrite(offset: bigint): bigint {
    return this.flags & O_APPEND ? this.inode.size : offset;
  }

  /** `asked`: the offset that the call named. EINVAL, EFBIG, and what `ShmemInode.write` says. */
  private _write(asked: bigint, at: bigint, data: Uint8Array): number | Refusal {
    if (this.inode.hugetlb) return refuse('EINVAL', 'vfs_write', 'a hugetlb memfd cannot be written with write()');
    if (asked + BigInt(data.length) > MAX_BYTES)
      return refuse('EINVAL', 'rw_verify_area', 'the end lies beyond the largest file');
    if (data.length === 0) return 0;
    const room = MAX_BYTES - at;
    if (room === 0n) return refuse('EFBIG', 'generic_write_checks', 'the file is as large as any can be');
    return this.inode.write(at, data.subarray(0, room < BigInt(data.length) ? Number(room) : data.length));
  }

  /** EINVAL, and ENXIO for SEEK_DATA and SEEK_HOLE (shmem_file_llseek; default_llseek of hugetlbfs: all is data). */
  override seek(offset: bigint, whence: number): bigint | Refusal {
    const where = 'vfs_llseek';
    const signed = BigInt.asIntN(64, offset);
    let position: bigint | null;
    if (whence === SEEK.SET) position = signed;
    else if (whence === SEEK.CUR) position = this.position + signed;
    else if (whence === SEEK.END) position = this.inode.size + signed;
    else if (whence === SEEK.DATA || whence === SEEK.HOLE) position = this._seekData(signed, whence);
    else return refuse('EINVAL', where, 'whence is 0 (SET), 1 (CUR), 2 (END), 3 (DATA) or 4 (HOLE)');
    if (position === null) return refuse('ENXIO', where, 'there is nothing of this kind at or behind the offset');
    if (position < 0n || position > MAX_BYTES)
      return refuse('EINVAL', where, 'the position would be negative, or larger than any file');
    this.position = position;
    return position;
  }

  private _seekData(offset: bigint, whence: number): bigint | null {
    const { inode } = this;
    if (offset >= inode.size) return null;
    if (inode.hugetlb) return whence === SEEK.DATA ? offset : inode.size;
    return offset < 0n ? null : inode.seek(offset, whence === SEEK.DATA ? 'data' : 'hole');
  }

  /**
   * fallocate(2), offset and length in bytes. EINVAL, EOPNOTSUPP mode, EBADF not open for writing, EFBIG, and what
   * `ShmemInode.fallocate` says (vfs_fallocate).
   */
  fallocate(mode: number, offset: bigint, length: bigint): Refusal | null {
    return wrongFallocate(this, mode, offset, length) ?? this.inode.fallocate(mode, offset, length);
  }
}

/** What vfs_fallocate refuses of any file. */
export function wrongFallocate(file: OpenFile, mode: number, offset: bigint, length: bigint): Refusal | null {
  const where = 'vfs_fallocate';
  if (offset > MAX_BYTES || length === 0n || length > MAX_BYTES)
    return refuse('EINVAL', where, 'offset is negative or length is not positive');
  if (!FALLOCATE_KINDS.has(mode)) return refuse('EOPNOTSUPP', where, 'there is no such mode of fallocate');
  if (!file.isWritable) return refuse('EBADF', where, 'the descriptor is not open for writing');
  if (!(file instanceof MemfdFile)) return refuse('ENODEV', where, `${file.link()} is not a memfd`);
  if (offset + length > MAX_BYTES) return refuse('EFBIG', where, 'the end is beyond the largest file');
  return null;
}

/**
 * memfd_create(2), and the first ftruncate to `size` bytes. EINVAL flags or name, ENODEV a size of huge pages that this
 * machine has not, then the errnos of `truncate`.
 */
export function memfdCreate(memory: PhysicalMemory, name: string, flags: number, size: bigint): MemfdFile | Refusal {
  const where = 'memfd_create';
  const isHuge = (flags & MFD_HUGETLB) !== 0;
  const known = isHuge ? MFD_ALL | (63 << MFD_HUGE_SHIFT) : MFD_ALL;
  if (flags & ~known) return refuse('EINVAL', where, 'unknown flag');
  if (flags & MFD_EXEC && flags & MFD_NOEXEC_SEAL)
    return refuse('EINVAL', where, 'EXEC and NOEXEC_SEAL exclude each other');
  if (name.length > MAX_NAME) return refuse('EINVAL', where, `the name has more than ${MAX_NAME} bytes`);
  const shift = isHuge ? HUGE_SHIFTS.get(flags >>> MFD_HUGE_SHIFT) : 12;
  if (shift === undefined)
    return refuse('ENODEV', 'hugetlb_file_setup', 'there are huge pages of 2 MiB (21) and of 1 GiB (30), no others');
  const seals = flags & MFD_NOEXEC_SEAL ? F_SEAL_EXEC : flags & MFD_ALLOW_SEALING ? 0 : F_SEAL_SEAL;
  const mode = flags & MFD_NOEXEC_SEAL ? 0o666 : 0o777;
  const inode = new ShmemInode(memory, `memfd:${name}`, shift, seals, mode);
  const refusal = inode.truncate(size);
  if (refusal) return refusal;
  const file = new MemfdFile(inode);
  file.flags = O_RDWR | O_LARGEFILE;
  return file;
}

/** The file behind shared anonymous memory, of so many bytes, which are whole pages (shmem_zero_setup). */
export function sharedMemory(memory: PhysicalMemory, length: bigint, pageShift: number): MemfdFile {
  const inode = new ShmemInode(memory, 'dev/zero', pageShift, F_SEAL_SEAL);
  inode.size = length;
  return new MemfdFile(inode);
}
