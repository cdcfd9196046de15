/** What happens when pages are touched (mm/memory.c), and when they are pinned (mm/gup.c). */
import { hex, PAGE } from '../../machine/address.ts';
import { FRAME_SIZE } from '../../machine/memory.ts';
import { fatal, Refusal, refuse } from '../errno.ts';
import { PROTECTION } from '../uapi/bits.ts';
import type { AddressSpace } from './address-space.ts';
import type { FrameSpan } from './frame-map.ts';
import { folioOf, isPrivate, type Mapping } from './mapping.ts';
import { placement } from './shmem.ts';

const { PROT_READ, PROT_WRITE } = PROTECTION;

/** Loads, stores and pins alike are refused under this name. */
const where = 'pin_user_pages';
const noMemory = (): Refusal => refuse('ENOMEM', where, 'the host has no memory left');

/** pin_user_pages(FOLL_LONGTERM), see `AddressSpace.pin`. */
export function pin(mm: AddressSpace, first: number, last: number, write: boolean): FrameSpan[] | Refusal {
  if (!mm.alive) return refuse('EFAULT', where, 'the process that mapped this memory is gone');
  const spans: FrameSpan[] = [];
  for (let page = first; page <= last; ) {
    const mapping = mm.at(page);
    if (!mapping) return refuse('EFAULT', where, `nothing is mapped at ${hex(page * FRAME_SIZE)}`);
    // check_vma_flags: PROT_WRITE alone is not enough to read here.
    if (write && !(mapping.prot & PROT_WRITE)) return refuse('EFAULT', where, 'the memory is mapped read-only');
    if (!write && !(mapping.prot & PROT_READ)) return refuse('EFAULT', where, 'the memory is mapped without PROT_READ');
    if (mapping.device) return refuse('EFAULT', where, 'the memory is that of a device');
    const end = Math.min(last, mapping.last);
    // A private page of a file becomes the process's own even to be read: what DMA reads is what the process sees.
    const found = isPrivate(mapping) ? ownPages(mm, mapping, page, end) : filePages(mapping, page, end);
    if (found instanceof Refusal) return refuse(found.errno, where, found.why);
    spans.push(...found);
    page = end + 1;
  }
  return spans;
}

export function load(mm: AddressSpace, address: bigint, length: number): Uint8Array | Refusal {
  const bytes = new Uint8Array(length);
  return transfer(mm, address, bytes, false) ?? bytes;
}

export function store(mm: AddressSpace, address: bigint, bytes: Uint8Array): Refusal | null {
  return transfer(mm, address, bytes, true);
}

/** The frame that a load from this page reaches; -1: the page of zeroes. EFAULT. */
export function frameOf(mm: AddressSpace, page: number): number | Refusal {
  const mapping = accessible(mm, page, false);
  if (!(mapping instanceof Refusal) && !mapping.device) {
    const found = pagesToLoad(mm, mapping, page, page);
    if (Array.isArray(found)) return found[0]?.frame ?? -1;
  }
  return refuse('EFAULT', where, 'the process has no pages there that can be looked at');
}

/** All pages are there before a byte is moved. */
function transfer(mm: AddressSpace, address: bigint, bytes: Uint8Array, write: boolean): Refusal | null {
  if (bytes.length === 0) return null;
  const first = Number(address / PAGE);
  const last = Number((address + BigInt(bytes.length) - 1n) / PAGE);
  const skip = Number(address % PAGE);
  const moves: (() => void)[] = [];
  for (let page = first; page <= last; ) {
    const mapping = accessible(mm, page, write);
    if (mapping instanceof Refusal) return mapping;
    const end = Math.min(last, mapping.last);
    /** The bytes of `count` pages from one on, and where in the first one they begin. */
    const piece = (at: number, count: number): [Uint8Array, number] => {
      const from = (at - first) * FRAME_SIZE - skip;
      return [bytes.subarray(Math.max(0, from), from + count * FRAME_SIZE), Math.max(0, -from)];
    };
    const { device } = mapping;
    if (device) {
      const shift = mapping.first - mapping.offset;
      for (let at = page; at <= end; at++) {
        const refusal = device.fault(BigInt(at - shift) * PAGE);
        if (refusal) return refusal;
      }
      const [part, within] = piece(page, end - page + 1);
      const offset = BigInt(page - shift) * PAGE + BigInt(within);
      moves.push(() => (write ? device.write(offset, part) : device.read(offset, part)));
    } else {
      const found = write ? pagesToStore(mm, mapping, page, end) : pagesToLoad(mm, mapping, page, end);
      if (found instanceof Refusal) return found;
      for (const span of found) {
        const [part, within] = piece(span.page, span.count);
        const physical = span.frame * FRAME_SIZE + within;
        moves.push(() => (write ? mm.memory.write(physical, part) : mm.memory.read(physical, part)));
      }
    }
    page = end + 1;
  }
  for (const move of moves) move();
  return null;
}

/** The mapping of a page that may be accessed so (access_error of x86-64: what may be stored to can be loaded). */
function accessible(mm: AddressSpace, page: number, write: boolean): Mapping | Refusal {
  const mapping = mm.alive ? mm.at(page) : undefined;
  if (!mapping) return fatal('SIGSEGV', where, `nothing is mapped at ${hex(page * FRAME_SIZE)}`);
  if (write && !(mapping.prot & PROT_WRITE)) return fatal('SIGSEGV', where, 'the memory is mapped read-only');
  if (mapping.prot === 0) return fatal('SIGSEGV', where, 'the memory is mapped with PROT_NONE');
  return mapping;
}

function pagesToStore(mm: AddressSpace, mapping: Mapping, first: number, last: number): FrameSpan[] | Refusal {
  return isPrivate(mapping) ? ownPages(mm, mapping, first, last) : filePages(mapping, first, last);
}

/** Pages without a frame are zero, and stay without one. */
function pagesToLoad(mm: AddressSpace, mapping: Mapping, first: number, last: number): FrameSpan[] | Refusal {
  if (!isPrivate(mapping)) return filePages(mapping, first, last);
  if (!mapping.file) return mm.frames.range(first, last);
  // hugetlb_no_page: a hole of the file is not filled for a private mapping, which gets pages of its own.
  if (mapping.file.inode.hugetlb) {
    const shift = mapping.first - mapping.offset;
    for (const { page, count } of mapping.file.inode.pages.holes(first - shift, last - shift)) {
      const own = ownPages(mm, mapping, page + shift, page + shift + count - 1);
      if (own instanceof Refusal) return own;
    }
  }
  const spans = mm.frames.range(first, last);
  for (const { page, count } of mm.frames.holes(first, last)) {
    const found = filePages(mapping, page, page + count - 1);
    if (found instanceof Refusal) return found;
    spans.push(...found);
  }
  return spans;
}

const beyondEnd = (): Refusal => fatal('SIGBUS', where, 'the mapping reaches beyond the end of its file');

/**
 * The pages of the file that a mapping shows; holes among them are filled. EFAULT (SIGBUS) beyond its end, those before it are
 * filled then; ENOMEM.
 */
function filePages({ file, first: start, offset }: Mapping, first: number, last: number): FrameSpan[] | Refusal {
  const { inode } = file!;
  const shift = start - offset;
  const reach = inode.reach(first - shift, last - shift);
  const found = reach > 0 ? inode.populate(first - shift, first - shift + reach - 1) : [];
  if (!found) return noMemory();
  if (reach <= last - first) return beyondEnd();
  return found.map((span) => ({ ...span, page: span.page + shift }));
}

/** The process's own pages: what it has not stored to becomes a copy of the file's (do_cow_fault), or of zeroes. */
function ownPages(mm: AddressSpace, mapping: Mapping, first: number, last: number): FrameSpan[] | Refusal {
  const folio = folioOf(mapping);
  const start = first - (first % folio);
  const end = last - (last % folio) + folio - 1;
  for (const { page, count } of mm.frames.holes(start, end)) {
    const refusal = makeOwn(mm, mapping, page, page + count - 1);
    if (refusal) return refusal;
  }
  return mm.frames.range(first, last);
}

function makeOwn(mm: AddressSpace, mapping: Mapping, first: number, last: number): Refusal | null {
  const refusal = mapping.file && copyFile(mm, mapping, first, last);
  if (refusal) return refusal;
  for (const { page, count } of mm.frames.holes(first, last)) {
    const runs = mm.allocate(mapping, page, page + count - 1, 'zero');
    if (!runs) return noMemory();
    mm.setFrames(mapping, runs, page);
  }
  return null;
}

function copyFile(mm: AddressSpace, mapping: Mapping, first: number, last: number): Refusal | null {
  const { inode } = mapping.file!;
  const shift = mapping.first - mapping.offset;
  const reach = inode.reach(first - shift, last - shift);
  if (reach < last - first + 1) {
    const refusal = reach > 0 ? makeOwn(mm, mapping, first, first + reach - 1) : null;
    return refusal ?? beyondEnd();
  }
  const source = inode.hugetlb
    ? inode.pages.range(first - shift, last - shift)
    : inode.populate(first - shift, last - shift);
  if (!source) return noMemory();
  for (const { page, frame, count } of source) {
    const options = { owner: 'anonymous', ...placement(count, page + shift) };
    const copies = mm.memory.duplicate({ start: frame, count }, options);
    if (!copies) return noMemory();
    mm.setFrames(mapping, copies, page + shift);
  }
  return null;
}
