/** Pages of a memfd that go, and with them what others have made of them. */
import type { FrameRun } from '../../machine/memory.ts';
import type { Refusal } from '../errno.ts';
import type { Kernel } from '../kernel.ts';
import { FALLOCATE_MODE } from '../uapi/bits.ts';
import type { MemfdFile } from './memfd-file.ts';
import type { ShmemInode } from './shmem.ts';

/** Sets the size of a memfd, in bytes; private mappings lose what they have stored behind it. Errnos of its `truncate`. */
export function truncate(kernel: Kernel, inode: ShmemInode, length: bigint): Refusal | null {
  // Only restored domains ask what is lost, and few hosts have any.
  const before = length < inode.size && kernel.restored.domains.size > 0 ? runsOf(inode) : [];
  const pages = inode.sizeInPages;
  const refusal = inode.truncate(length);
  if (refusal) return refusal;
  if (inode.sizeInPages < pages) dropCopies(kernel, inode, Number(inode.sizeInPages), Number.MAX_SAFE_INTEGER);
  if (before.length > 0) kernel.restored.pagesLost(lost(before, runsOf(inode)), 'a memfd was truncated');
  return null;
}

/** fallocate(2). A hole in a memfd of huge pages takes private pages along (hugetlbfs_punch_hole), others leave them. */
export function fallocate(
  kernel: Kernel,
  file: MemfdFile,
  mode: number,
  offset: bigint,
  length: bigint,
): Refusal | null {
  const { inode } = file;
  const refusal = file.fallocate(mode, offset, length);
  if (refusal || !inode.hugetlb || !(mode & FALLOCATE_MODE.FALLOC_FL_PUNCH_HOLE)) return refusal;
  dropCopies(kernel, inode, ...inode.holeWithin(offset, length));
  return null;
}

/** unmap_mapping_range, of private mappings: those that are shared show what the file has. */
function dropCopies(kernel: Kernel, inode: ShmemInode, first: number, last: number): void {
  for (const { mm } of kernel.processes.values()) mm.dropCopies(inode, first, last);
}

const runsOf = ({ pages }: ShmemInode): FrameRun[] =>
  Array.from(pages.spans, ({ frame, count }) => ({ start: frame, count })).sort((a, b) => a.start - b.start);

/** The runs of `before` that `after` does not contain as a whole; both ascending. */
function lost(before: readonly FrameRun[], after: readonly FrameRun[]): FrameRun[] {
  let at = 0;
  return before.filter(({ start, count }) => {
    while (at < after.length && after[at]!.start + after[at]!.count <= start) at++;
    const kept = after[at];
    return !kept || kept.start > start || kept.start + kept.count < start + count;
  });
}
