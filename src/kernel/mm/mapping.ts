/** Mappings of an address space (struct vm_area_struct): what one is, and which two are one (mm/vma.c). */
import { PROTECTION } from '../uapi/bits.ts';
import type { DeviceMemory } from './device-memory.ts';
import type { MemfdFile } from './memfd-file.ts';

const { PROT_WRITE } = PROTECTION;

/** log2 of the bytes of an ordinary page. */
export const BASE_SHIFT = 12;

export interface Mapping {
  /** First and last page number. */
  first: number;
  last: number;
  /** Bits PROT_*: those that it has, and those that mprotect may give it (VM_MAYREAD and its kin). */
  prot: number;
  may: number;
  /** MAP_SHARED (VM_MAYSHARE). */
  shared: boolean;
  /** log2 of the bytes of its pages: 12; 21 or 30 for those of hugetlb. */
  pageShift: number;
  /** What it shows: a memfd or memory of a device; neither: anonymous memory. */
  file: MemfdFile | null;
  device: DeviceMemory | null;
  /** Page of the file that `first` shows; of anonymous memory the number that `first` had when it was mapped (vm_pgoff). */
  offset: number;
  /** Its private pages count as committed memory (VM_ACCOUNT). */
  accounted: boolean;
  /** Number of the anon_vma of its private pages; 0: it has had none. */
  anon: number;
  /** That anon_vma came with a fork. */
  forked: boolean;
}

/** How many of its pages belong together. */
export const folioOf = ({ pageShift }: Mapping): number => 2 ** (pageShift - BASE_SHIFT);

/** Whether stores to it go to pages of its own (is_cow_mapping). */
export const isPrivate = ({ shared }: Mapping): boolean => !shared;

/** Whether it could write to its file, now or after an mprotect: F_SEAL_WRITE is EBUSY then. */
export const mayWriteFile = ({ shared, may }: Mapping): boolean => shared && (may & PROT_WRITE) !== 0;

/** Counts another mapping of what this one shows: it was copied, or cut in two. */
export function hold(mapping: Mapping): void {
  mapping.file?.get();
  if (mayWriteFile(mapping)) mapping.file?.inode.mapWritable();
  mapping.device?.get();
}

/** Counts one less. */
export function letGo(mapping: Mapping): void {
  if (mayWriteFile(mapping)) mapping.file?.inode.unmapWritable();
  mapping.file?.put();
  mapping.device?.put();
}

/** What begins at this page of a mapping, and ends with it. */
export const from = (mapping: Mapping, first: number): Mapping => ({
  ...mapping,
  first,
  offset: mapping.offset + (first - mapping.first),
});

/** Flags that do not change with mprotect, file and place in it agree: the second one goes on where the first one ends. */
function isContinued(left: Mapping, right: Mapping): boolean {
  // Huge pages and memory of devices are VM_SPECIAL.
  if (left.pageShift !== BASE_SHIFT || right.pageShift !== BASE_SHIFT || left.device || right.device) return false;
  return (
    left.last + 1 === right.first &&
    left.file === right.file &&
    left.shared === right.shared &&
    left.may === right.may &&
    left.accounted === right.accounted &&
    left.offset + (right.first - left.first) === right.offset
  );
}

/** is_mergeable_anon_vma */
export const areAnonAlike = (a: Mapping, b: Mapping): boolean =>
  a.anon === b.anon || ((a.anon === 0 || b.anon === 0) && !a.forked && !b.forked);

/** Whether Linux makes one mapping of two. */
export const areMergeable = (left: Mapping, right: Mapping): boolean =>
  isContinued(left, right) && left.prot === right.prot && areAnonAlike(left, right);

/** find_mergeable_anon_vma: the anon_vma of a neighbour that may become one with it after an mprotect; 0: none. */
export function anonOfNeighbours(mapping: Mapping, left: Mapping | undefined, right: Mapping | undefined): number {
  if (right && right.anon !== 0 && !right.forked && isContinued(mapping, right)) return right.anon;
  if (left && left.anon !== 0 && !left.forked && isContinued(left, mapping)) return left.anon;
  return 0;
}
