/** The system calls of the `calls` face, as data. `ioctl` carries a request of the request table. */

import { MAX_TRANSFER } from '../../limits.ts';
import type { Errno } from '../errno.ts';
import { type Bits, FALLOCATE_MODE, FAULT_PERMISSIONS, MEMFD_FLAGS, PROTECTION, SEALS } from './bits.ts';
import { FULL, part, type Support } from './types.ts';

/**
 * `int` is a 32-bit number, `u64` a hexadecimal string or safe integer, `bytes` base64, `responses` an array of
 * {cookie, code}: struct iommu_hwpt_page_response.
 */
export type ParameterType = 'int' | 'u64' | 'bytes' | 'string' | 'boolean' | 'responses';

export interface Parameter {
  readonly type: ParameterType;
  readonly optional: boolean;
  readonly about: string;
  /** Names of bits, as in `Field`. */
  readonly bits?: Bits;
}

/** A row of the table of calls. */
export type CallRow = Support & {
  readonly about: string;
  readonly parameters: Readonly<Record<string, Parameter>>;
  /** Says what `ret` is on success. */
  readonly returns: string;
};

export type CallDescriptor = CallRow & { readonly name: string };

const need = (type: ParameterType, about: string): Parameter => ({ type, optional: false, about });
const may = (type: ParameterType, about: string): Parameter => ({ type, optional: true, about });
const bits = (known: Bits, about: string): Parameter => ({ ...need('int', about), bits: known });
const fd = need('int', 'Descriptor.');
const TRANSFER = `Bytes, at most ${MAX_TRANSFER >> 20} MiB.`;

function call(about: string, returns: string, parameters: Record<string, Parameter>, support: Support = FULL): CallRow {
  return { about, returns, parameters, ...support };
}

const iommufd = need('int', 'Descriptor of the iommufd.');
const device = need('int', 'Id of the device in the iommufd.');
const access = need('int', 'Descriptor of the access.');
const iova = need('u64', 'First IOVA.');
const length = need('u64', 'Bytes.');

/** What devices and users inside the kernel do of their own accord: the tests of Linux have IOMMU_TEST_CMD for it. */
const LEVERS = {
  page_fault: call('The device asks for a page; the request goes to the fault queue of its HWPT.', '0', {
    fd: iommufd,
    device,
    pasid: need('int', 'PASID; 0: the device itself.'),
    grpid: need('int', 'Number of the request.'),
    perm: bits(FAULT_PERMISSIONS, 'What it wants to do there.'),
    addr: need('u64', 'Address.'),
  }),
  trigger_event: call('The device, on a nested HWPT of a vIOMMU, has an event for the guest.', '0', {
    fd: iommufd,
    device,
  }),
  check_iotlb: call('Whether an entry of the cache of a nested HWPT has this value; EINVAL if not.', '0', {
    fd: iommufd,
    hwpt: need('int', 'Id of the nested HWPT.'),
    index: need('int', 'Number of the entry.'),
    value: need('int', 'The value.'),
  }),
  check_dev_cache: call('Whether an entry of the cache of a device has this value; EINVAL if not.', '0', {
    fd: iommufd,
    device,
    index: need('int', 'Number of the entry.'),
    value: need('int', 'The value.'),
  }),
  pasid_check: call('Whether a PASID of the device is on this HWPT; EINVAL if not.', '0', {
    fd: iommufd,
    device,
    pasid: need('int', 'PASID.'),
    hwpt: need('int', 'Id of the HWPT; 0: on none.'),
  }),
  access_create: call('A user of an IOAS inside the kernel, as a mediated device is one.', 'its descriptor', {
    fd: iommufd,
    ioas: need('int', 'Id of the IOAS.'),
    pin: need('boolean', 'Whether it pins pages.'),
  }),
  access_pin: call('It pins the pages behind IOVAs.', 'the number of the pin', {
    fd: iommufd,
    access,
    iova,
    length,
    write: need('boolean', 'For writing.'),
    va: may('u64', 'Address of the pages in the calling process; EBADE if they are others.'),
  }),
  access_unpin: call('It lets go of a pin.', '0', { fd: iommufd, access, pin: need('int', 'Number of the pin.') }),
  access_rw: call(
    'It writes `data`, or reads; the bytes are in `data` then.',
    '0',
    {
      fd: iommufd,
      access,
      iova,
      length: need('u64', TRANSFER),
      write: need('boolean', 'Writes.'),
      data: may('bytes', 'The bytes to write.'),
    },
    part(`At most ${MAX_TRANSFER >> 20} MiB.`),
  ),
  access_replace: call('It goes over to another IOAS; its pins end.', '0', {
    fd: iommufd,
    access,
    ioas: need('int', 'Id of the IOAS.'),
  }),
};

const SYSTEM_CALLS = {
  open: call(
    'open(path, O_RDWR)',
    'the descriptor',
    {
      path: need(
        'string',
        '/dev/iommu, /dev/liveupdate, /dev/vfio/devices/vfioN, /dev/vfio/N, /dev/null, /proc/self/fd/N',
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
  memfd_create: call(
    'memfd_create(name, flags), then ftruncate to size.',
    'the descriptor',
    {
      name: need('string', 'Name, for people.'),
      flags: bits(MEMFD_FLAGS, 'Flags.'),
      size: need('u64', 'Bytes.'),
    },
    part('With its size in the same call; huge pages are of 2 MiB.'),
  ),
  ftruncate: call('ftruncate(fd, length)', '0', { fd, length: need('u64', 'Bytes.') }),
  fallocate: call('fallocate(fd, mode, offset, length)', '0', {
    fd,
    mode: bits(FALLOCATE_MODE, 'Mode.'),
    offset: need('u64', 'First byte.'),
    length: need('u64', 'Bytes.'),
  }),
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
  add_seals: call(
    'fcntl(fd, F_ADD_SEALS, seals)',
    '0',
    { fd, seals: bits(SEALS, 'Seals.') },
    part(
      'F_SEAL_EXEC is a seal like any other; in Linux it brings those of size and contents if the memfd is executable.',
    ),
  ),
  get_seals: call('fcntl(fd, F_GET_SEALS)', 'the seals', { fd }),
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
  read: call(
    'read(fd, length) of a queue; what it holds is in `faults` or `events`.',
    'the bytes',
    {
      fd,
      length: need('u64', 'Bytes: 40 a fault, 12 an event.'),
    },
    part('Queues of faults and events; it never waits.'),
  ),
  write: call(
    'write(fd, responses, length) to a fault queue.',
    'the bytes of the responses taken',
    {
      fd,
      length: need('u64', 'Bytes: 8 a response.'),
      responses: need('responses', 'Answers to faults: their cookies, and 0 (success) or 1 (invalid).'),
    },
    part('Queues of faults.'),
  ),
  setuid: call(
    'setresuid(uid, uid, uid); away from 0 all capabilities go.',
    '0',
    { uid: need('int', 'User.') },
    part('All three ids at once.'),
  ),
  setrlimit: call(
    'setrlimit(RLIMIT_MEMLOCK), soft and hard.',
    '0',
    { memlock: need('u64', 'Bytes.') },
    part('RLIMIT_MEMLOCK, both limits at once.'),
  ),
};

export type LeverName = keyof typeof LEVERS;
/** Every call but `ioctl`, whose shape depends on its request. */
export type CallName = keyof typeof SYSTEM_CALLS | LeverName;

/** All calls but `ioctl`, by name. */
export const CALLS: ReadonlyMap<string, CallDescriptor> = new Map(
  Object.entries<CallRow>({ ...SYSTEM_CALLS, ...LEVERS }).map(([name, row]) => [name, { ...row, name }]),
);

/** An answer to a page fault. */
export interface PageResponse {
  cookie: number;
  code: number;
}

/** A call as requests have it: u64 as hexadecimal strings or safe integers, bytes as base64. */
export interface CallInput {
  call: string;
  fd?: number;
  request?: string;
  arg?: Record<string, unknown>;
  [parameter: string]: unknown;
}

/** What a call returns. `arg`: what the kernel wrote. `ret`: a string (hexadecimal) only for the address from mmap. */
export interface CallResult {
  ret: number | string;
  errno?: Errno;
  where?: string;
  why?: string;
  rule?: string;
  arg?: Record<string, unknown>;
  data?: string;
  /** Bytes, hexadecimal. */
  size?: string;
  faults?: unknown[];
  events?: unknown[];
}
