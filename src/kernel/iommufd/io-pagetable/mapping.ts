/**
 * MAP, MAP_FILE and UNMAP behind the decoding of their structs: what the ioctls and batches of them share. Values of 64
 * bits are pairs of words, and nothing is allocated where nothing is refused. The rows are those of the table of MAP in
 * README.md, which are the checks of iommufd_ioas_map in Linux's order.
 */
import { lastHighOf, lastLowOf, PAGE_SIZE, WORD } from '../../../machine/address.ts';
import { READ, WRITE } from '../../../machine/page-table.ts';
import { Refusal, refuse } from '../../errno.ts';
import type { Faults } from '../../faults.ts';
import { MemfdFile } from '../../mm/memfd-file.ts';
import { F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK } from '../../mm/shmem.ts';
import { MAP_FIXED_IOVA, MAP_READABLE, MAP_WRITEABLE } from '../../uapi/iommufd.ts';
import type { IoPagetable } from './io-pagetable.ts';
import type { Account } from './pages.ts';
import type { Span } from './span.ts';

const PRESERVE_SEALS = F_SEAL_SEAL | F_SEAL_GROW | F_SEAL_SHRINK;

const MAP_FLAGS = MAP_FIXED_IOVA | MAP_WRITEABLE | MAP_READABLE;
const MAX = 0xffffffff;
/** The low word of UMAX - PAGE_SIZE. */
const MAX_LENGTH_LOW = 0xffffefff;

const isMax = (high: number, low: number): boolean => high === MAX && low === MAX;

/** Whether a range ends beyond 2^64-1. `strict`: a last address of 2^64-1 is beyond, too. */
function overflows(high: number, low: number, lengthHigh: number, lengthLow: number, strict: boolean): boolean {
  const end = low + lengthLow;
  const carry = end >= WORD ? 1 : 0;
  const endHigh = high + lengthHigh + carry;
  return endHigh > WORD || (endHigh === WORD && (strict || end - carry * WORD > 0));
}

/**
 * Rows 1 to 3 of MAP, for MAP_FILE and COPY, too. EOPNOTSUPP, EOVERFLOW, EINVAL. `tooLarge`: COPY has found its source
 * IOVA to be 2^64-1.
 */
export function checkMap(where: string, flags: number, at: Span, tooLarge = false): Refusal | null {
  if (flags & ~MAP_FLAGS) return refuse('EOPNOTSUPP', where, 'unknown flag');
  if (tooLarge || isMax(at.iovaHigh, at.iovaLow) || isMax(at.lengthHigh, at.lengthLow))
    return refuse('EOVERFLOW', where, 'an IOVA or length of 2^64-1 is too large');
  if (!(flags & (MAP_READABLE | MAP_WRITEABLE)))
    return refuse('EINVAL', where, 'READABLE, WRITEABLE or both must be set');
  return null;
}

/** READ | WRITE of the page table. */
export function accessOf(flags: number): number {
  return (flags & MAP_READABLE ? READ : 0) | (flags & MAP_WRITEABLE ? WRITE : 0);
}

/**
 * Rows 5 to 10 of MAP: maps memory of the account's process. EOVERFLOW, EINVAL length, then what `mapFixed` or `mapChosen`
 * refuses. `access` may be 0 (VFIO_IOMMU_MAP_DMA). Without `fixed` the IOVA that is chosen is written into `at`.
 */
export function mapUser(
  iopt: IoPagetable,
  at: Span,
  fixed: boolean,
  access: number,
  account: Account,
  faults: Faults,
): Refusal | null {
  const where = 'iopt_map_user_pages';
  const { lengthHigh, lengthLow } = at;
  if (overflows(at.startHigh, at.startLow, lengthHigh, lengthLow, true))
    return refuse('EOVERFLOW', where, 'the memory reaches beyond 64 bits');
  if ((lengthHigh === 0 && lengthLow === 0) || (lengthHigh === MAX && lengthLow > MAX_LENGTH_LOW))
    return refuse('EINVAL', where, 'length is 0 or too large');
  const injected = faults.refusal('ioas.map', 'iopt_alloc_user_pages');
  if (injected) return injected;
  const source = iopt.sources.ofProcess((access & WRITE) !== 0, account);
  return fixed ? iopt.mapFixed(at, source, access) : iopt.mapChosen(at, source, access);
}

/** High word of 2^52: addresses from there on are left to the way for single maps. */
const HIGH_LIMIT = 2 ** 20;

/** Returns the number of the page that begins at this address; -1 if none does, or if it is not below 2^52. */
function pageAt(high: number, low: number): number {
  return high < HIGH_LIMIT && (low & (PAGE_SIZE - 1)) === 0 ? high * 2 ** 20 + low / PAGE_SIZE : -1;
}

/**
 * Does `mapUser` at fixed IOVAs `count` times, for one page each: `stride` and `startStride` lead, in pages, to the next
 * one. Returns the number mapped; 0 also when the fast way does not apply. The next one is the caller's, with `mapUser`.
 */
export function mapUserPages(
  iopt: IoPagetable,
  at: Span,
  access: number,
  account: Account,
  count: number,
  stride: number,
  startStride: number,
): number {
  if (at.lengthHigh !== 0 || at.lengthLow !== PAGE_SIZE || access === 0) return 0;
  const page = pageAt(at.iovaHigh, at.iovaLow);
  const start = pageAt(at.startHigh, at.startLow);
  const limit = HIGH_LIMIT * HIGH_LIMIT;
  if (page < 0 || start < 0 || page + count * stride >= limit || start + count * startStride >= limit) return 0;
  const source = iopt.sources.ofProcess((access & WRITE) !== 0, account);
  return iopt.mapPages({ page, stride, start, startStride, count }, source, access);
}

/**
 * Does `unmap` `count` times, for ranges of the same length, `stride` pages from one to the next. Returns the number
 * unmapped; 0 also when the fast way does not apply. The next one is the caller's, with `unmap`.
 */
export function unmapPages(iopt: IoPagetable, at: Span, count: number, stride: number): number {
  const page = pageAt(at.iovaHigh, at.iovaLow);
  const pages = pageAt(at.lengthHigh, at.lengthLow);
  const limit = HIGH_LIMIT * HIGH_LIMIT;
  if (page < 0 || pages <= 0 || stride < pages || page + count * stride + pages >= limit) return 0;
  return iopt.unmapPages(page, stride, pages, count);
}

/**
 * The checks of MAP_FILE behind its IOAS id: EINVAL length 0, EOVERFLOW, EBADF, EINVAL length too large, then what
 * `mapFixed` or `mapChosen` refuses. What the file is is seen when its pages are pinned.
 */
export function mapFile(
  iopt: IoPagetable,
  at: Span,
  fixed: boolean,
  access: number,
  account: Account,
  fd: number,
  faults: Faults,
): Refusal | null {
  const where = 'iommufd_ioas_map_file';
  const { lengthHigh, lengthLow } = at;
  if (lengthHigh === 0 && lengthLow === 0) return refuse('EINVAL', where, 'length is 0');
  if (overflows(at.startHigh, at.startLow, lengthHigh, lengthLow, false))
    return refuse('EOVERFLOW', where, 'the range reaches beyond 64 bits');
  const file = account.process.file(fd);
  if (file instanceof Refusal) return file;
  if (lengthHigh === MAX && lengthLow > MAX_LENGTH_LOW)
    return refuse('EINVAL', 'iopt_alloc_file_pages', 'length is too large');
  const injected = faults.refusal('ioas.map', 'iopt_alloc_file_pages');
  if (injected) return injected;
  const sealedAtMap = file instanceof MemfdFile && (file.inode.seals & PRESERVE_SEALS) === PRESERVE_SEALS;
  const source = iopt.sources.find({ kind: 'file', file, sealedAtMap }, (access & WRITE) !== 0, account);
  return fixed ? iopt.mapFixed(at, source, access) : iopt.mapChosen(at, source, access);
}

/** A number of bytes as words; the low one may exceed 32 bits, and is below 2^53. */
export interface Counted {
  high: number;
  low: number;
}

/**
 * The checks of UNMAP behind its IOAS id: EOVERFLOW, EINVAL, EBUSY, ENOENT. The bytes unmapped are added to `counted`, which
 * the caller begins with 0, also those before a refusal. After about `most` areas it returns `more`: called again, with
 * nothing done in between, it goes on.
 */
export function unmap(iopt: IoPagetable, at: Span, counted: Counted, most?: number): Refusal | null | 'more' {
  const { iovaHigh, iovaLow, lengthHigh, lengthLow } = at;
  if (iovaHigh === 0 && iovaLow === 0 && isMax(lengthHigh, lengthLow))
    return iopt.unmapRange(0, 0, MAX, MAX, counted, most);
  if (isMax(iovaHigh, iovaLow) || isMax(lengthHigh, lengthLow))
    return refuse('EOVERFLOW', 'iommufd_ioas_unmap', 'an IOVA or length of 2^64-1 is too large');
  if (lengthHigh === 0 && lengthLow === 0) return refuse('EINVAL', 'iopt_unmap_iova', 'length is 0');
  if (overflows(iovaHigh, iovaLow, lengthHigh, lengthLow, false))
    return refuse('EOVERFLOW', 'iopt_unmap_iova', 'the range reaches beyond 64 bits');
  const lastLow = lastLowOf(iovaLow, lengthLow);
  const lastHigh = lastHighOf(iovaHigh, iovaLow, lengthHigh, lengthLow);
  const refusal = iopt.unmapRange(iovaHigh, iovaLow, lastHigh, lastLow, counted, most);
  if (refusal) return refusal;
  if (counted.high === 0 && counted.low === 0)
    return refuse('ENOENT', 'iopt_unmap_iova_range', 'nothing is mapped in the range');
  return null;
}
