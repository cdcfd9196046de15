/** What a process does with its memory. */
import { MAX_TRANSFER } from '../../../limits.ts';
import { MREMAP_FLAGS, PROTECTION } from '../bits.ts';
import { part } from '../types.ts';
import { bits, call, may, need, TRANSFER } from './row.ts';

export const MEMORY_CALLS = {
  mmap: call(
    'Maps memory at exactly this address.',
    'the address',
    {
      addr: need('u64', 'Address, a multiple of 4096.'),
      length: need('u64', 'Bytes.'),
      huge: may('string', '"2M": pages of 2 MiB.'),
      fd: may('int', 'A descriptor to map instead of anonymous memory.'),
      offset: may('u64', 'First byte of the file, a multiple of 4096.'),
      shared: may('boolean', 'MAP_SHARED instead of MAP_PRIVATE.'),
      prot: { ...bits(PROTECTION, '3 if absent.'), optional: true },
      fixed: may('boolean', 'MAP_FIXED: in place of what is mapped there. MAP_FIXED_NOREPLACE if absent.'),
    },
    part(
      'The caller names the address. Anonymous memory is faulted in where it can be stored to: the first byte of each 4096 is 1.',
    ),
  ),
  munmap: call('munmap(addr, length)', '0', { addr: need('u64', 'Address.'), length: need('u64', 'Bytes.') }),
  mprotect: call('mprotect(addr, length, prot)', '0', {
    addr: need('u64', 'Address, a multiple of 4096.'),
    length: need('u64', 'Bytes.'),
    prot: bits(PROTECTION, 'What may be done with the memory from now on.'),
  }),
  mremap: call(
    'mremap(addr, old_length, new_length, flags, new_addr)',
    'the address',
    {
      addr: need('u64', 'Address, a multiple of 4096.'),
      old_length: need('u64', 'Bytes; 0 doubles a shared mapping.'),
      new_length: need('u64', 'Bytes.'),
      flags: bits(MREMAP_FLAGS, 'Flags.'),
      new_addr: may('u64', 'Address, with FIXED; without it a hint.'),
    },
    part(
      'Where Linux chooses the address it is the highest that is free below 0x7ffff7fff000: addresses are not random.',
    ),
  ),
  poke: call(
    'The process stores these bytes.',
    '0',
    {
      addr: need('u64', 'Address.'),
      data: need('bytes', 'The bytes.'),
    },
    part('No system call: what a program does with its memory. EFAULT instead of a signal, which is in `signal`.'),
  ),
  peek: call(
    'The process reads its memory; the bytes are in `data`.',
    '0',
    {
      addr: need('u64', 'Address.'),
      length: need('u64', TRANSFER),
    },
    part(
      `No system call: what a program does with its memory. EFAULT instead of a signal, which is in \`signal\`; at most ${MAX_TRANSFER >> 20} MiB.`,
    ),
  ),
};
