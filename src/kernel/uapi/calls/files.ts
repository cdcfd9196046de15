/** Calls on descriptors of any kind. */
import { MAX_TRANSFER } from '../../../limits.ts';
import { part } from '../types.ts';
import { call, fd, may, need, TRANSFER } from './row.ts';

export const FILE_CALLS = {
  open: call(
    'open(path, O_RDWR)',
    'the descriptor',
    {
      path: need(
        'string',
        '/dev/iommu, /dev/liveupdate, /dev/vfio/devices/vfioN, /dev/vfio/N, /dev/vfio/vfio, /dev/null, /proc/self/fd/N',
      ),
    },
    part('These paths and no others, with O_RDWR; nodes have no modes: any process may open them.'),
  ),
  close: call('close(fd)', '0', { fd }),
  dup: call('dup(fd)', 'the new descriptor', { fd }),
  send_fd: call(
    'Sends a descriptor to another process, as by SCM_RIGHTS.',
    'the descriptor there',
    {
      fd,
      to: need('int', 'pid of the receiver'),
    },
    part('One step, for sendmsg and recvmsg.'),
  ),
  read: call(
    'read(fd, length); the bytes are in `data`, what a queue holds in `faults` or `events`.',
    'the bytes',
    {
      fd,
      length: need('u64', 'Bytes: 40 a fault, 12 an event, 8 an eventfd.'),
    },
    part('Queues of faults and events, and eventfds; it never waits: EAGAIN, with O_NONBLOCK or not.'),
  ),
  write: call(
    'write(fd, data, length), or `responses` to a fault queue.',
    'the bytes taken',
    {
      fd,
      length: may('u64', 'Bytes: 8 a response. Those of `data` if absent.'),
      data: may('bytes', 'The bytes.'),
      responses: may('responses', 'Answers to faults: their cookies, and 0 (success) or 1 (invalid).'),
    },
    part('Queues of faults, and eventfds; it never waits: EAGAIN, with O_NONBLOCK or not.'),
  ),
  pread: call(
    'pread(fd, length, offset); the bytes are in `data`.',
    'the count',
    {
      fd,
      offset: need('u64', 'First byte.'),
      length: need('u64', TRANSFER),
    },
    part(`Memfds, at most ${MAX_TRANSFER >> 20} MiB: VFIO devices have no regions.`),
  ),
  pwrite: call(
    'pwrite(fd, data, offset)',
    'the count',
    {
      fd,
      offset: need('u64', 'First byte.'),
      data: need('bytes', 'The bytes.'),
    },
    part('Memfds: VFIO devices have no regions.'),
  ),
  lseek: call(
    'lseek(fd, offset, whence)',
    'the position',
    {
      fd,
      offset: need('u64', 'Bytes.'),
      whence: need('int', '0: SET, 1: CUR, 2: END.'),
    },
    part('Memfds; no SEEK_DATA and SEEK_HOLE.'),
  ),
  fstat: call('fstat(fd); the size is in `size`.', '0', { fd }, part('The size alone, which is 0 for all but memfds.')),
};
