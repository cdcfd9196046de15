/** What a process does with its memory. */
import { MAX_TRANSFER } from '../../../limits.ts';
import { PROTECTION } from '../bits.ts';
import { part } from '../types.ts';
import { bits, call, may, need, TRANSFER } from './row.ts';

export const MEMORY_CALLS = {
  mmap: call(
    'Maps memory at exactly this address, faulted in.',
    'the address',
    {
      addr: need('u64', 'Address, a multiple of 4096.'),
      length: need('u64', 'Bytes.'),
      huge: may('string', '"2M": pages of 2 MiB.'),
      fd: may('int', 'A descriptor to map instead of anonymous memory.'),
      offset: may('u64', 'First byte of the file.'),
      shared: may('boolean', 'MAP_SHARED instead of MAP_PRIVATE.'),
      prot: { ...bits(PROTECTION, '3 if absent.'), optional: true },
    },
    part(
      'Anonymous memory, memfds and the page of a vIOMMU: nothing of a VFIO device. EEXIST where something is mapped.',
    ),
  ),
  munmap: call('munmap(addr, length)', '0', { addr: need('u64', 'Address.'), length: need('u64', 'Bytes.') }),
  poke: call(
    'The process stores these bytes.',
    '0',
    {
      addr: need('u64', 'Address.'),
      data: need('bytes', 'The bytes.'),
    },
    part('No system call: what a program does with its memory. EFAULT instead of a signal.'),
  ),
  peek: call(
    'The process reads its memory; the bytes are in `data`.',
    '0',
    {
      addr: need('u64', 'Address.'),
      length: need('u64', TRANSFER),
    },
    part(
      `No system call: what a program does with its memory. EFAULT instead of a signal; at most ${MAX_TRANSFER >> 20} MiB.`,
    ),
  ),
};
