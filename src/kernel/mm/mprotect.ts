/** mprotect(2) (mm/mprotect.c). */
import { PAGE } from '../../machine/address.ts';
import { type Refusal, refuse } from '../errno.ts';
import { PROTECTION } from '../uapi/bits.ts';
import { type AddressSpace, MAX_MAPPINGS } from './address-space.ts';
import { BASE_SHIFT, folioOf, type Mapping } from './mapping.ts';

const { PROT_READ, PROT_WRITE, PROT_EXEC, PROT_SEM, PROT_GROWSDOWN, PROT_GROWSUP } = PROTECTION;
const ACCESS = PROT_READ | PROT_WRITE | PROT_EXEC;
const where = 'do_mprotect_pkey';

/**
 * mprotect(2), length in bytes. EINVAL alignment, unknown bits, growing mappings (there are none), a huge page would be cut;
 * ENOMEM nothing is mapped somewhere, or too many mappings; EACCES what the mapping may not be. Mappings before the one that
 * is refused have changed.
 */
export function mprotect(mm: AddressSpace, address: bigint, length: bigint, prot: number): Refusal | null {
  const grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
  if (grows === (PROT_GROWSDOWN | PROT_GROWSUP)) return refuse('EINVAL', where, 'a mapping grows down or up, not both');
  if (address % PAGE !== 0n) return refuse('EINVAL', where, 'addr is not a multiple of 4096');
  if (length === 0n) return null;
  const end = address + ((length + PAGE - 1n) / PAGE) * PAGE;
  if (end >= 2n ** 64n) return refuse('ENOMEM', where, 'the end lies beyond the address space');
  if (prot & ~(ACCESS | PROT_SEM | grows)) return refuse('EINVAL', where, 'unknown bits in prot');
  const first = Number(address / PAGE);
  const last = Number(end / PAGE) - 1;
  const mappings = mm.within(first, last);
  if (mappings[0] && (grows === PROT_GROWSDOWN || (grows && mappings[0].first <= first)))
    return refuse('EINVAL', where, 'the mapping does not grow');
  let next = first;
  for (const found of mappings) {
    if (found.first > next) break;
    if (prot & ACCESS & ~found.may) return refuse('EACCES', where, whyNot(found));
    const until = Math.min(last, found.last);
    const refusal = change(mm, found, next, until, prot & ACCESS);
    if (refusal) return refusal;
    next = until + 1;
  }
  return next <= last ? refuse('ENOMEM', where, 'nothing is mapped in a part of the range') : null;
}

function whyNot({ file }: Mapping): string {
  return file?.isWritable
    ? 'a shared mapping of a write-sealed memfd is read-only for good: map it private'
    : 'a shared mapping of a descriptor that is not open for writing is read-only for good: map it private';
}

/** mprotect_fixup: pages [first, last] of a mapping get these bits; neighbours that are alike then become one. */
function change(mm: AddressSpace, mapping: Mapping, first: number, last: number, prot: number): Refusal | null {
  if (mapping.prot === prot) return null;
  const folio = folioOf(mapping);
  const cuts = (page: number): boolean => (page - mapping.first) % folio !== 0;
  if (cuts(first) || (last < mapping.last && cuts(last + 1)))
    return refuse('EINVAL', 'hugetlb_vm_op_split', 'the range would cut a huge page');
  const pieces = Number(first > mapping.first) + Number(last < mapping.last);
  if (mm.mappings.length + pieces > MAX_MAPPINGS)
    return refuse('ENOMEM', where, `the process has ${MAX_MAPPINGS} mappings (vm.max_map_count)`);
  mm.splitAt(first);
  mm.splitAt(last + 1);
  const piece = mm.at(first)!;
  const { shared, pageShift, file, device, anon } = piece;
  const wasWritable = (piece.prot & PROT_WRITE) !== 0;
  piece.prot = prot;
  if (prot & PROT_WRITE) piece.accounted ||= !wasWritable && !shared && pageShift === BASE_SHIFT;
  else if (!file && !device && anon === 0) piece.accounted = false;
  mm.join(piece);
  return null;
}
