/** Calls that only memfds know. */
import { FALLOCATE_MODE, MEMFD_FLAGS, SEALS } from '../bits.ts';
import { part } from '../types.ts';
import { bits, call, fd, need } from './row.ts';

export const MEMFD_CALLS = {
  memfd_create: call(
    'memfd_create(name, flags), then ftruncate to size.',
    'the descriptor',
    {
      name: need('string', 'Name, for people.'),
      flags: bits(MEMFD_FLAGS, 'Flags.'),
      size: need('u64', 'Bytes.'),
    },
    part('With its size in the same call. Huge pages come out of all memory: there is no pool.'),
  ),
  ftruncate: call('ftruncate(fd, length)', '0', { fd, length: need('u64', 'Bytes.') }),
  fallocate: call('fallocate(fd, mode, offset, length)', '0', {
    fd,
    mode: bits(FALLOCATE_MODE, 'Mode.'),
    offset: need('u64', 'First byte.'),
    length: need('u64', 'Bytes.'),
  }),
  add_seals: call('fcntl(fd, F_ADD_SEALS, seals)', '0', { fd, seals: bits(SEALS, 'Seals.') }),
  get_seals: call('fcntl(fd, F_GET_SEALS)', 'the seals', { fd }),
};
