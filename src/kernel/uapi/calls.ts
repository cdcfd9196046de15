/** The system calls of the `calls` face, as data. `ioctl` carries a request of the request table. */

import type { Errno } from '../errno.ts';
import { type Bits, FALLOCATE_MODE, FAULT_PERMISSIONS, MEMFD_FLAGS, PROTECTION, SEALS } from './bits.ts';

/**
 * `int` is a 32-bit number, `u64` a hexadecimal string or safe integer, `bytes` base64, `responses` an array of
 * {cookie, code}: struct iommu_hwpt_page_response.
 */
export type ParameterType = 'int' | 'u64' | 'bytes' | 'string' | 'boolean' | 'responses';

export interface Parameter {
  readonly type: ParameterType;
  readonly optional: boolean;
  readonly about: string;
  /** As in Field. */
  readonly bits?: Bits;
}

export interface CallDescriptor {
  readonly name: string;
  readonly about: string;
  readonly parameters: Readonly<Record<string, Parameter>>;
  /** What `ret` is on success. */
  readonly returns: string;
}

const need = (type: ParameterType, about: string): Parameter => ({ type, optional: false, about });
const may = (type: ParameterType, about: string): Parameter => ({ type, optional: true, about });
const bits = (known: Bits, about: string): Parameter => ({ ...need('int', about), bits: known });
const fd = need('int', 'Descriptor.');

function call(name: string, about: string, returns: string, parameters: Record<string, Parameter>): CallDescriptor {
  return { name, about, returns, parameters };
}

const iommufd = need('int', 'Descriptor of the iommufd.');
const device = need('int', 'Id of the device in the iommufd.');
const access = need('int', 'Descriptor of the access.');
const iova = need('u64', 'First IOVA.');
const length = need('u64', 'Bytes.');

/** What devices and users inside the kernel do of their own accord: the tests of Linux have IOMMU_TEST_CMD for it. */
const LEVERS: readonly CallDescriptor[] = [
  call('page_fault', 'The device asks for a page; the request goes to the fault queue of its HWPT.', '0', {
    fd: iommufd,
    device,
    pasid: need('int', 'PASID; 0: the device itself.'),
    grpid: need('int', 'Number of the request.'),
    perm: bits(FAULT_PERMISSIONS, 'What it wants to do there.'),
    addr: need('u64', 'Address.'),
  }),
  call('trigger_event', 'The device, on a nested HWPT of a vIOMMU, has an event for the guest.', '0', {
    fd: iommufd,
    device,
  }),
  call('check_iotlb', 'Whether an entry of the cache of a nested HWPT has this value; EINVAL if not.', '0', {
    fd: iommufd,
    hwpt: need('int', 'Id of the nested HWPT.'),
    index: need('int', 'Number of the entry.'),
    value: need('int', 'The value.'),
  }),
  call('check_dev_cache', 'Whether an entry of the cache of a device has this value; EINVAL if not.', '0', {
    fd: iommufd,
    device,
    index: need('int', 'Number of the entry.'),
    value: need('int', 'The value.'),
  }),
  call('pasid_check', 'Whether a PASID of the device is on this HWPT; EINVAL if not.', '0', {
    fd: iommufd,
    device,
    pasid: need('int', 'PASID.'),
    hwpt: need('int', 'Id of the HWPT; 0: on none.'),
  }),
  call('access_create', 'A user of an IOAS inside the kernel, as a mediated device is one.', 'its descriptor', {
    fd: iommufd,
    ioas: need('int', 'Id of the IOAS.'),
    pin: need('boolean', 'Whether it pins pages.'),
  }),
  call('access_pin', 'It pins the pages behind IOVAs.', 'the number of the pin', {
    fd: iommufd,
    access,
    iova,
    length,
    write: need('boolean', 'For writing.'),
    va: may('u64', 'Address of the pages in the calling process; EBADE if they are others.'),
  }),
  call('access_unpin', 'It lets go of a pin.', '0', { fd: iommufd, access, pin: need('int', 'Number of the pin.') }),
  call('access_rw', 'It writes `data`, or reads; the bytes are in `data` then.', '0', {
    fd: iommufd,
    access,
    iova,
    length: need('u64', 'Bytes, at most 1 MiB.'),
    write: need('boolean', 'Writes.'),
    data: may('bytes', 'The bytes to write.'),
  }),
  call('access_replace', 'It goes over to another IOAS; its pins end.', '0', {
    fd: iommufd,
    access,
    ioas: need('int', 'Id of the IOAS.'),
  }),
];

/** Every call but `ioctl`, whose shape depends on its request. */
export const CALLS: ReadonlyMap<string, CallDescriptor> = new Map(
  [
    call('open', 'open(path, O_RDWR)', 'the descriptor', {
      path: need(
        'string',
        '/dev/iommu, /dev/liveupdate, /dev/vfio/devices/vfioN, /dev/vfio/N, /dev/null, /proc/self/fd/N',
      ),
    }),
    call('close', 'close(fd)', '0', { fd }),
    call('dup', 'dup(fd)', 'the new descriptor', { fd }),
    call('send_fd', 'Sends a descriptor to another process, as by SCM_RIGHTS.', 'the descriptor there', {
      fd,
      to: need('int', 'pid of the receiver'),
    }),
    call('mmap', 'Maps memory at exactly this address, faulted in.', 'the address', {
      addr: need('u64', 'Address, a multiple of 4096.'),
      length: need('u64', 'Bytes.'),
      huge: may('string', '"2M": pages of 2 MiB.'),
      fd: may('int', 'A descriptor to map instead of anonymous memory.'),
      offset: may('u64', 'First byte of the file.'),
      shared: may('boolean', 'MAP_SHARED instead of MAP_PRIVATE.'),
      prot: { ...bits(PROTECTION, '3 if absent.'), optional: true },
    }),
    call('munmap', 'munmap(addr, length)', '0', { addr: need('u64', 'Address.'), length: need('u64', 'Bytes.') }),
    call('poke', 'The process stores these bytes.', '0', {
      addr: need('u64', 'Address.'),
      data: need('bytes', 'The bytes.'),
    }),
    call('peek', 'The process reads its memory; the bytes are in `data`.', '0', {
      addr: need('u64', 'Address.'),
      length: need('u64', 'Bytes, at most 1 MiB.'),
    }),
    call('memfd_create', 'memfd_create(name, flags), then ftruncate to size.', 'the descriptor', {
      name: need('string', 'Name, for people.'),
      flags: bits(MEMFD_FLAGS, 'Flags.'),
      size: need('u64', 'Bytes.'),
    }),
    call('ftruncate', 'ftruncate(fd, length)', '0', { fd, length: need('u64', 'Bytes.') }),
    call('fallocate', 'fallocate(fd, mode, offset, length)', '0', {
      fd,
      mode: bits(FALLOCATE_MODE, 'Mode.'),
      offset: need('u64', 'First byte.'),
      length: need('u64', 'Bytes.'),
    }),
    call('lseek', 'lseek(fd, offset, whence)', 'the position', {
      fd,
      offset: need('u64', 'Bytes.'),
      whence: need('int', '0: SET, 1: CUR, 2: END.'),
    }),
    call('fstat', 'fstat(fd); the size is in `size`.', '0', { fd }),
    call('add_seals', 'fcntl(fd, F_ADD_SEALS, seals)', '0', {
      fd,
      seals: bits(SEALS, 'Seals.'),
    }),
    call('get_seals', 'fcntl(fd, F_GET_SEALS)', 'the seals', { fd }),
    call('pread', 'pread(fd, length, offset); the bytes are in `data`.', 'the count', {
      fd,
      offset: need('u64', 'First byte.'),
      length: need('u64', 'Bytes, at most 1 MiB.'),
    }),
    call('pwrite', 'pwrite(fd, data, offset)', 'the count', {
      fd,
      offset: need('u64', 'First byte.'),
      data: need('bytes', 'The bytes.'),
    }),
    call('read', 'read(fd, length) of a queue; what it holds is in `faults` or `events`.', 'the bytes', {
      fd,
      length: need('u64', 'Bytes: 40 a fault, 12 an event.'),
    }),
    call('write', 'write(fd, responses, length) to a fault queue.', 'the bytes of the responses taken', {
      fd,
      length: need('u64', 'Bytes: 8 a response.'),
      responses: need('responses', 'Answers to faults: their cookies, and 0 (success) or 1 (invalid).'),
    }),
    call('setuid', 'setresuid(uid, uid, uid); away from 0 all capabilities go.', '0', { uid: need('int', 'User.') }),
    call('setrlimit', 'setrlimit(RLIMIT_MEMLOCK), soft and hard.', '0', { memlock: need('u64', 'Bytes.') }),
    ...LEVERS,
  ].map((descriptor) => [descriptor.name, descriptor]),
);

/** An answer to a page fault. */
export interface PageResponse {
  cookie: number;
  code: number;
}

/** A call as it came in: u64 as hexadecimal strings or safe integers, bytes as base64. */
export interface CallInput {
  call: string;
  fd?: number;
  request?: string;
  arg?: Record<string, unknown>;
  [parameter: string]: unknown;
}

/** `arg` holds what the kernel wrote; `ret` is a string only for the address that mmap returns. */
export interface CallResult {
  ret: number | string;
  errno?: Errno;
  where?: string;
  why?: string;
  rule?: string;
  arg?: Record<string, unknown>;
  data?: string;
  /** Hexadecimal. */
  size?: string;
  faults?: unknown[];
  events?: unknown[];
}
