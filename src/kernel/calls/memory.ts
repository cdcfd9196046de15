/** What a process does with its memory. */
import { MAX_TRANSFER } from '../../limits.ts';
import { hex, PAGE } from '../../machine/address.ts';
import { big, bytes, type Calls, done, integer, type Outcome } from '../call-input.ts';
import { Refusal, refuse } from '../errno.ts';
import type { OpenFile } from '../file.ts';
import type { Kernel } from '../kernel.ts';
import type { Area } from '../mm/address-space.ts';
import { MemfdFile, sharedMemory } from '../mm/memfd-file.ts';
import { mprotect } from '../mm/mprotect.ts';
import { mremap } from '../mm/mremap.ts';
import type { Process } from '../process.ts';
import { PROTECTION } from '../uapi/bits.ts';
import type { MEMORY_CALLS } from '../uapi/calls/memory.ts';
import type { CallInput } from '../uapi/calls.ts';

const { PROT_READ, PROT_WRITE, PROT_EXEC } = PROTECTION;
const ALL = PROT_READ | PROT_WRITE | PROT_EXEC;

interface MmapInput {
  address: bigint;
  length: bigint;
  offset: bigint;
  prot: number;
  shared: boolean;
  /** MAP_FIXED in place of MAP_FIXED_NOREPLACE. */
  fixed: boolean;
  huge: boolean;
}

/** The order is that of sys_mmap, do_mmap and mmap_region. */
function mmap(kernel: Kernel, process: Process, input: CallInput): Outcome {
  const asked: MmapInput = {
    address: big(input, 'addr'),
    length: big(input, 'length'),
    offset: big(input, 'offset'),
    prot: input.prot === undefined ? PROT_READ | PROT_WRITE : integer(input, 'prot') & ALL,
    shared: input.shared === true,
    fixed: input.fixed === true,
    huge: input.huge === '2M',
  };
  if (asked.offset % PAGE !== 0n) return refuse('EINVAL', 'do_mmap', 'offset is not a multiple of 4096');
  if (input.fd === undefined) return mapAnonymous(kernel, process, asked);
  const file = process.file(integer(input, 'fd'));
  return file instanceof Refusal ? file : mapFile(process, file, asked);
}

/** Anonymous memory is faulted in where it can be stored to. */
function mapAnonymous(kernel: Kernel, { mm }: Process, asked: MmapInput): Outcome {
  const { address, length, prot, huge, fixed } = asked;
  const pageShift = huge ? 21 : 12;
  const area = mm.area(address, length, pageShift, !fixed);
  if (area instanceof Refusal) return area;
  const touch = (prot & PROT_WRITE) !== 0;
  const options = { prot, may: ALL, pageShift, shows: null };
  if (!asked.shared) return mapped(asked, mm.map(area, { ...options, shared: false }, touch));
  const count = area.last - area.first + 1;
  const file = sharedMemory(kernel.machine.memory, BigInt(count) * PAGE, pageShift);
  const refusal =
    touch && !file.inode.populate(0, count - 1, 'touched')
      ? refuse('ENOMEM', 'do_mmap', 'the host has no memory left')
      : mm.map(area, { ...options, shared: true, shows: { file, offset: 0n } }, false);
  file.put();
  return mapped(asked, refusal);
}

function mapFile({ mm }: Process, file: OpenFile, asked: MmapInput): Outcome {
  const { address, length, offset, prot, shared, fixed } = asked;
  const area = mm.area(address, length, file.pageShift, !fixed);
  if (area instanceof Refusal) return area;
  const refusal = wrongFile(file, area, asked);
  if (refusal) return refusal;
  let may = ALL;
  if (shared) {
    const isSealed = file instanceof MemfdFile && file.inode.isWriteSealed;
    if (isSealed && prot & PROT_WRITE)
      return refuse('EPERM', 'memfd_check_seals_mmap', 'the memfd has F_SEAL_WRITE: map it read-only or private');
    if (isSealed || !file.isWritable) may &= ~PROT_WRITE;
  }
  if (file.isNoexec) may &= ~PROT_EXEC;
  // A file that refuses leaves a gap: what was there has gone before it is asked (vms_abort_munmap_vmas).
  const cut = mm.clear(area);
  if (cut) return cut;
  const shows = file.map({ offset, length: BigInt(area.last - area.first + 1) * PAGE, shared, prot });
  if (shows instanceof Refusal) return shows;
  return mapped(asked, mm.map(area, { prot, may, shared, pageShift: file.pageShift, shows }, false));
}

/** What do_mmap refuses of the file: EOVERFLOW beyond its largest offset, EACCES its mode, EPERM it is not executed. */
function wrongFile(file: OpenFile, { first, last }: Area, { offset, shared, prot }: MmapInput): Refusal | null {
  const where = 'do_mmap';
  const length = BigInt(last - first + 1) * PAGE;
  if (offset / PAGE > (file.mapEnd - length) / PAGE)
    return refuse('EOVERFLOW', where, 'the end of the mapping lies beyond the largest file');
  if (shared && prot & PROT_WRITE && !file.isWritable)
    return refuse('EACCES', where, 'the descriptor is not open for writing: map it read-only or private');
  if (!file.isReadable) return refuse('EACCES', where, 'the descriptor is not open for reading');
  if (prot & PROT_EXEC && file.isNoexec)
    return refuse(
      'EPERM',
      where,
      `${file.link()} lies on a file system of which nothing is executed: map it without PROT_EXEC`,
    );
  return null;
}

const mapped = ({ address }: MmapInput, refusal: Refusal | null): Outcome => refusal ?? { ret: hex(address) };

function remap({ mm }: Process, input: CallInput): Outcome {
  const address = mremap(
    mm,
    big(input, 'addr'),
    big(input, 'old_length'),
    big(input, 'new_length'),
    integer(input, 'flags'),
    big(input, 'new_addr'),
  );
  return address instanceof Refusal ? address : { ret: hex(address) };
}

export const MEMORY: Calls<typeof MEMORY_CALLS> = {
  mmap,
  munmap: (_kernel, process, input) => done(process.mm.unmap(big(input, 'addr'), big(input, 'length'))),
  mprotect: (_kernel, process, input) =>
    done(mprotect(process.mm, big(input, 'addr'), big(input, 'length'), integer(input, 'prot'))),
  mremap: (_kernel, process, input) => remap(process, input),
  poke: (_kernel, process, input) => done(process.mm.write(big(input, 'addr'), bytes(input, 'data'))),
  peek: (_kernel, process, input) => {
    const length = big(input, 'length');
    if (length > MAX_TRANSFER) return refuse('EINVAL', 'peek', `at most ${MAX_TRANSFER} bytes a call`);
    const data = process.mm.read(big(input, 'addr'), Number(length));
    return data instanceof Refusal ? data : { ret: 0, data: data.toBase64() };
  },
};
