/** Calls on descriptors of any kind. */
import { MAX_POLLED, MAX_TRANSFER } from '../../../limits.ts';
import { FCNTL_COMMANDS, FD_FLAGS, FILE_MODE, OPEN_FLAGS, SEALS } from '../bits.ts';
import { part } from '../types.ts';
import { bits, call, fd, may, need, oneOf, TRANSFER } from './row.ts';

const { O_APPEND, O_DIRECT, O_NOATIME, O_NONBLOCK } = OPEN_FLAGS;
const SETTABLE_FLAGS = { O_APPEND, O_DIRECT, O_NOATIME, O_NONBLOCK };

export const FILE_CALLS = {
  open: call(
    'open(path, flags)',
    'the descriptor',
    {
      path: need(
        'string',
        '/dev/iommu, /dev/liveupdate, /dev/vfio/devices/vfioN, /dev/vfio/N, /dev/vfio/vfio, /dev/null, /proc/self/fd/N',
      ),
      flags: { ...bits(OPEN_FLAGS, 'O_RDWR if absent.'), optional: true },
    },
    part(
      'These paths and no others, none is made; nothing has an owner: any process may open it. O_PATH opens as ever.',
    ),
  ),
  close: call('close(fd)', '0', { fd }),
  dup: call('dup(fd)', 'the new descriptor', { fd }),
  dup2: call(
    'dup2(fd, to)',
    'the new descriptor',
    { fd, to: need('int', 'Its number; what is open there is closed.') },
    part('Descriptors are below 65539; 0 to 2 are taken, and free for nobody once they are replaced and closed.'),
  ),
  fcntl: call(
    'fcntl(fd, cmd, arg)',
    'by command: a descriptor, flags, seals, or 0',
    {
      fd,
      cmd: oneOf(FCNTL_COMMANDS, 'The command.'),
      arg: {
        ...bits({ ...FD_FLAGS, ...SETTABLE_FLAGS, ...SEALS }, 'Flags, seals, or the least number of the copy.'),
        optional: true,
      },
    },
    part('These commands; all others are EINVAL. No file takes O_DIRECT, and any process may set O_NOATIME.'),
  ),
  poll: call(
    'poll(fds, timeout 0); what holds is in `revents`.',
    'how many descriptors have something to tell',
    { fds: need('polls', 'Descriptors, and what is asked of each.') },
    part(`It never waits. At most ${MAX_POLLED} descriptors.`),
  ),
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
    'read(fd, length) at the position: `data`; what queues hold is in `faults` or `events`.',
    'the bytes',
    {
      fd,
      length: need('u64', `${TRANSFER} Of queues 40 a fault, 12 an event; 8 of an eventfd.`),
    },
    part(
      'Memfds, eventfds, devices, queues of faults and events, /dev/null; it never waits: EAGAIN, with O_NONBLOCK or not.',
    ),
  ),
  write: call(
    'write(fd, data) at the position; to a fault queue write(fd, responses, length).',
    'the bytes that were taken',
    {
      fd,
      data: may('bytes', 'The bytes.'),
      length: may('u64', 'Bytes, those of `data` if absent; 8 a response.'),
      responses: may('responses', 'Answers to faults: their cookies, and 0 (success) or 1 (invalid).'),
    },
    part('Memfds, eventfds, devices, queues of faults, /dev/null; it never waits: EAGAIN, with O_NONBLOCK or not.'),
  ),
  pread: call(
    'pread(fd, length, offset); the bytes are in `data`.',
    'the count',
    {
      fd,
      offset: need('u64', 'First byte.'),
      length: need('u64', TRANSFER),
    },
    part(`Memfds and VFIO devices, at most ${MAX_TRANSFER >> 20} MiB.`),
  ),
  pwrite: call(
    'pwrite(fd, data, offset)',
    'the count',
    {
      fd,
      offset: need('u64', 'First byte.'),
      data: need('bytes', 'The bytes.'),
    },
    part('Memfds and VFIO devices.'),
  ),
  lseek: call(
    'lseek(fd, offset, whence)',
    'the position',
    {
      fd,
      offset: need('u64', 'Bytes.'),
      whence: need('int', '0: SET, 1: CUR, 2: END, 3: DATA, 4: HOLE.'),
    },
    part('Memfds and /dev/null; a position of 2^53 and more is a hexadecimal string.'),
  ),
  fchmod: call(
    'fchmod(fd, mode)',
    '0',
    { fd, mode: bits(FILE_MODE, 'Permission bits: 0644 is 420.') },
    part('Modes of memfds count for F_SEAL_EXEC only; nodes have none.'),
  ),
  fstat: call('fstat(fd); the size is in `size`.', '0', { fd }, part('The size alone, which is 0 for all but memfds.')),
};
