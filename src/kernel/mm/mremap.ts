/** mremap(2) (mm/mremap.c). */
import { hex, PAGE } from '../../machine/address.ts';
import { Refusal, refuse } from '../errno.ts';
import { MREMAP_FLAGS } from '../uapi/bits.ts';
import { type AddressSpace, MAX_MAPPINGS, TASK_SIZE } from './address-space.ts';
import { BASE_SHIFT, folioOf, from, hold, type Mapping } from './mapping.ts';

const { MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP } = MREMAP_FLAGS;
/** Where Linux begins to look for room, downwards: mmap_base of x86-64 where addresses are not random. */
const MMAP_BASE = 0x7ffff7fff000n;
const where = 'do_mremap';

/** What shall become what, in pages. */
interface Move {
  first: number;
  count: number;
  newFirst: number;
  newCount: number;
  flags: number;
}

/**
 * mremap(2): returns the new address, all in bytes. EINVAL flags, alignment, lengths, new range beyond the address space or over
 * the old one, a private mapping doubled (`oldLength` 0), huge pages that would grow; EFAULT nothing is mapped, beyond the
 * mapping, memory of a device that would grow; ENOMEM no room behind it, or too many mappings.
 */
export function mremap(
  mm: AddressSpace,
  address: bigint,
  oldLength: bigint,
  newLength: bigint,
  flags: number,
  newAddress: bigint,
): bigint | Refusal {
  const pages = (length: bigint): bigint => ((length + PAGE - 1n) / PAGE) % 2n ** 52n;
  const [oldCount, newCount] = [pages(oldLength), pages(newLength)];
  const given = (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) !== 0;
  const why = wrongParameters(address, oldCount, newCount, flags, given ? newAddress : null);
  if (why) return refuse('EINVAL', where, why);
  if (mm.mappings.length + 4 > MAX_MAPPINGS)
    return refuse('ENOMEM', where, `the process has ${MAX_MAPPINGS} mappings (vm.max_map_count)`);
  const move: Move = {
    first: Number(address / PAGE),
    count: Number(oldCount),
    newFirst: given ? Number(newAddress / PAGE) : Number(address / PAGE),
    newCount: Number(newCount),
    flags,
  };
  const page = flags & MREMAP_FIXED && oldCount === newCount ? moveAll(mm, move) : resize(mm, move);
  return page instanceof Refusal ? page : BigInt(page) * PAGE;
}

/** check_mremap_params; `newAddress` null: it does not matter. Counts in pages. */
function wrongParameters(
  address: bigint,
  oldCount: bigint,
  newCount: bigint,
  flags: number,
  newAddress: bigint | null,
): string | null {
  if (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) return 'unknown flag';
  if (address % PAGE !== 0n) return 'addr is not a multiple of 4096';
  if (newCount === 0n) return 'the new length is 0';
  const bytes = newCount * PAGE;
  if (bytes > TASK_SIZE) return 'the new length is larger than the address space';
  if (newAddress === null) return null;
  if (newAddress > TASK_SIZE - bytes) return 'the new end lies beyond the user address space';
  if (newAddress % PAGE !== 0n) return 'new_addr is not a multiple of 4096';
  if (!(flags & MREMAP_MAYMOVE)) return 'FIXED and DONTUNMAP need MAYMOVE';
  if (flags & MREMAP_DONTUNMAP && oldCount !== newCount) return 'DONTUNMAP does not change the length';
  const end = BigInt.asUintN(64, address + oldCount * PAGE);
  if (end > newAddress && newAddress + bytes > address) return 'the new range lies over the old one';
  return null;
}

/** remap_move: mappings of the range are moved one by one, with the gaps between them. */
function moveAll(mm: AddressSpace, move: Move): number | Refusal {
  const { first, count, newFirst, flags } = move;
  const last = first + count - 1;
  let moved = false;
  for (let page = first; page <= last; ) {
    const [mapping] = mm.within(page, last);
    if (!mapping) break;
    const start = Math.max(page, mapping.first);
    if (!moved && start > first) break;
    const end = Math.min(last, mapping.last);
    const size = end - start + 1;
    const piece = { first: start, count: size, newFirst: newFirst + (start - first), newCount: size, flags };
    const refusal = prepare(mapping, piece);
    if (refusal) return refusal;
    const done = moveTo(mm, piece);
    if (done instanceof Refusal) return done;
    moved = true;
    page = end + 1;
  }
  return moved ? newFirst : refuse('EFAULT', where, `nothing is mapped at ${hex(BigInt(first) * PAGE)}`);
}

function resize(mm: AddressSpace, move: Move): number | Refusal {
  const { first, flags } = move;
  const mapping = mm.at(first);
  if (!mapping) return refuse('EFAULT', where, `nothing is mapped at ${hex(BigInt(first) * PAGE)}`);
  const refusal = prepare(mapping, move);
  if (refusal) return refusal;
  if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) return moveTo(mm, move);
  const { count, newCount } = move;
  if (newCount < count) return shrink(mm, move) ?? first;
  if (newCount === count) return first;
  return expand(mm, mapping, move);
}

/** check_prep_vma. Lengths are rounded up to huge pages. */
function prepare(mapping: Mapping, move: Move): Refusal | null {
  const { first, flags } = move;
  const folio = folioOf(mapping);
  if (mapping.pageShift !== BASE_SHIFT) {
    move.count = Math.ceil(move.count / folio) * folio;
    move.newCount = Math.ceil(move.newCount / folio) * folio;
    if (first % folio || move.newFirst % folio || move.newCount > move.count)
      return refuse('EINVAL', where, 'memory of huge pages does not grow, and moves by whole pages');
  }
  const moves = (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) !== 0;
  const { newCount } = move;
  if (newCount <= move.count && !moves) return null;
  if (move.count === 0 && !mapping.shared)
    return refuse('EINVAL', where, 'a private mapping cannot be doubled by an old length of 0');
  const isSpecial = mapping.device !== null || mapping.pageShift !== BASE_SHIFT;
  if (flags & MREMAP_DONTUNMAP && isSpecial) return refuse('EINVAL', where, 'DONTUNMAP is for ordinary pages');
  const count = Math.min(move.count, newCount);
  if (count > mapping.last - first + 1) return refuse('EFAULT', where, 'the old range reaches beyond its mapping');
  if (newCount > count && isSpecial) return refuse('EFAULT', where, 'memory of a device does not grow');
  return null;
}

function shrink(mm: AddressSpace, { first, count, newCount }: Move): Refusal | null {
  return mm.unmap(BigInt(first + newCount) * PAGE, BigInt(count - newCount) * PAGE);
}

/** expand_vma: behind the mapping if there is room, elsewhere if it may move. */
function expand(mm: AddressSpace, mapping: Mapping, move: Move): number | Refusal {
  const { first, count, newCount, flags } = move;
  const end = first + newCount - 1;
  const isFree = mm.within(first + count, end).length === 0 && BigInt(end + 1) * PAGE <= TASK_SIZE;
  if (mapping.last - first + 1 === count && isFree) {
    const added = { ...from(mapping, mapping.last + 1), last: end };
    hold(added);
    mm.insert(added);
    return first;
  }
  if (!(flags & MREMAP_MAYMOVE)) return refuse('ENOMEM', where, 'there is no room behind the mapping: let it move');
  const place = room(mm, newCount);
  if (place === null) return refuse('ENOMEM', where, 'no gap in the address space is large enough');
  return relocate(mm, { ...move, newFirst: place });
}

/** mremap_to: clears the new range, and moves there what is left of the old one. */
function moveTo(mm: AddressSpace, move: Move): number | Refusal {
  const { first, flags, newCount } = move;
  let { newFirst, count } = move;
  if (flags & MREMAP_FIXED) {
    const refusal = mm.unmap(BigInt(newFirst) * PAGE, BigInt(newCount) * PAGE);
    if (refusal) return refusal;
    // A mapping that is to be doubled may begin where the new one does.
    if (!mm.at(first)) return refuse('EFAULT', where, 'the new range takes the place of the old one');
  }
  if (newCount < count) {
    const refusal = shrink(mm, move);
    if (refusal) return refusal;
    count = newCount;
  }
  // Without FIXED the address is a hint.
  if (!(flags & MREMAP_FIXED) && (newFirst === 0 || mm.within(newFirst, newFirst + newCount - 1).length > 0)) {
    const place = room(mm, newCount);
    if (place === null) return refuse('ENOMEM', where, 'no gap in the address space is large enough');
    newFirst = place;
  }
  return relocate(mm, { ...move, count, newFirst });
}

const behind = ({ last }: Mapping): number => last + 1;

/** The highest free pages below MMAP_BASE; null: there are not so many. */
function room(mm: AddressSpace, count: number): number | null {
  let end = Number(MMAP_BASE / PAGE);
  for (const block of mm.mappings.blocks.toReversed()) {
    // Within a block there may be no gap that is wide enough: only that behind it counts.
    const isNarrow = block.widestGap(behind) < count;
    for (const { first, last } of isNarrow
      ? [{ first: block.keys[0]!, last: block.items.at(-1)!.last }]
      : block.items.toReversed()) {
      if (last < end && end - last - 1 >= count) return end - count;
      end = Math.min(end, first);
    }
  }
  return end >= count ? end - count : null;
}

/** move_vma: makes a mapping there of what is mapped here, which goes; with DONTUNMAP only its pages go. */
function relocate(mm: AddressSpace, { first, count, newFirst, newCount, flags }: Move): number | Refusal {
  const source = mm.at(first)!;
  const copy: Mapping = { ...from(source, first), first: newFirst, last: newFirst + newCount - 1 };
  // Anonymous memory that was never touched may merge with its new neighbours (copy_vma).
  if (!copy.file && !copy.device && copy.anon === 0) copy.offset = newFirst;
  const pages = count > 0 ? mm.frames.remove(first, first + count - 1) : [];
  hold(copy);
  mm.insert(copy);
  for (const span of pages) mm.frames.insert({ ...span, page: span.page + (newFirst - first) });
  if (count === 0) return newFirst;
  if (!(flags & MREMAP_DONTUNMAP)) {
    mm.remove(first, first + count - 1);
    return newFirst;
  }
  const left = mm.at(first)!;
  if (left.first === first && left.last === first + count - 1) {
    left.anon = 0;
    left.forked = false;
  }
  return newFirst;
}
