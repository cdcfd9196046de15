/**
 * Open files, to which descriptors of processes refer (struct file). A file counts its references, of descriptors and
 * others (LUO, an iommufd for a bound device), and is released with the last one.
 */
import { assert, type Refusal, refuse } from './errno.ts';
import type { DeviceMemory } from './mm/device-memory.ts';
import type { MemfdFile } from './mm/memfd-file.ts';
import type { Process } from './process.ts';
import { OPEN_FLAGS, POLL_EVENTS } from './uapi/bits.ts';
import type { CallResult, PageResponse } from './uapi/calls.ts';
import type { ArgOf, ArgValue, FileKind, RequestDescriptor, RequestKind, RequestNameOf } from './uapi/index.ts';

/** Fields of a uAPI struct, u64 as bigint. */
export type Arg = Record<string, ArgValue>;

/** What an ioctl wrote (`arg`) and returned; `ret` absent: 0. */
export interface IoctlOk {
  ret?: number;
  arg?: Arg;
}

/** The handler of each request of a kind of file. A map that lacks one does not compile. */
export type Handlers<Kind extends RequestKind, File> = {
  readonly [Name in RequestNameOf<Kind>]: (file: File, arg: ArgOf<Name>, process: Process) => IoctlOk | Refusal;
};

/** The handlers of any kind of file. Only the decoder knows that file, request and struct belong together. */
export type AnyHandlers = Readonly<Record<string, (file: never, arg: never, process: Process) => IoctlOk | Refusal>>;
const NO_HANDLERS: AnyHandlers = {};

const { POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } = POLL_EVENTS;
const ALWAYS_READY = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;

/** What a read returns: the number of bytes, and these, or the records of a queue in them. */
export type ReadOk = Pick<CallResult, 'faults' | 'events'> & { ret: number; data?: Uint8Array };

/** What is written: `length` bytes, which are `data`, or of a queue `responses`. */
export interface Written {
  length: bigint;
  data: Uint8Array;
  responses: readonly PageResponse[];
}

/** What of a file an mmap asks for. Offset and length in bytes, of whole pages; `prot` the bits PROT_*. */
export interface MapRequest {
  offset: bigint;
  length: bigint;
  shared: boolean;
  prot: number;
}

/** What an mmap shows, from byte `offset` on: a memfd, or memory of a device. */
export type MapTarget = { file: MemfdFile; offset: bigint } | { device: DeviceMemory; offset: bigint };

export abstract class OpenFile {
  abstract readonly kind: FileKind;
  /** The status flags (f_flags): bits of OPEN_FLAGS, without those that only open itself looks at. */
  flags: number = OPEN_FLAGS.O_RDWR;
  private _refs = 1;

  /** FMODE_READ: it was opened to be read. O_WRONLY | O_RDWR is neither. */
  get isReadable(): boolean {
    return ((this.flags + 1) & 1) !== 0;
  }

  /** FMODE_WRITE: it was opened to be written. */
  get isWritable(): boolean {
    return ((this.flags + 1) & 2) !== 0;
  }

  /** Whether nothing of its file system is executed (path_noexec), nor mapped to be. */
  get isNoexec(): boolean {
    return false;
  }

  /** The target of its link in /proc/PID/fd. */
  abstract link(): string;
  /** Frees what the file holds: called with its last reference gone. */
  abstract release(): void;

  /** How many descriptors and other holders refer to it. */
  get refs(): number {
    return this._refs;
  }

  get(): this {
    this._refs++;
    return this;
  }

  put(): void {
    assert(this._refs > 0, 'a released file is put');
    if (--this._refs === 0) this.release();
  }

  /** Checks that come before the struct is read. `_request` null: a number that is unknown here. */
  beforeIoctl(_request: RequestDescriptor | null): Refusal | null {
    return null;
  }

  /** The `Handlers` of its kind; none by default. */
  get handlers(): AnyHandlers {
    return NO_HANDLERS;
  }

  /** read(2) at the file's own position. */
  read(_length: bigint): ReadOk | Refusal {
    return refuse('EINVAL', 'vfs_read', `${this.link()} cannot be read`);
  }

  /** write(2) at the file's own position: returns the number of bytes taken. */
  write(_written: Written): number | Refusal {
    return refuse('EINVAL', 'vfs_write', `${this.link()} cannot be written`);
  }

  /** pread(2): up to `length` bytes from byte `offset` on, which is below 2^63. */
  pread(_offset: bigint, _length: number): ReadOk | Refusal {
    return refuse('EINVAL', 'vfs_read', `${this.link()} cannot be read`);
  }

  /** pwrite(2) from byte `offset` on: returns the number of bytes taken. */
  pwrite(_offset: bigint, _data: Uint8Array): number | Refusal {
    return refuse('EINVAL', 'vfs_write', `${this.link()} cannot be written`);
  }

  /** lseek(2): returns the new position, in bytes. `offset` is two's complement of 64 bits. */
  seek(_offset: bigint, _whence: number): bigint | Refusal {
    return refuse('EINVAL', 'vfs_llseek', `${this.link()} has no position`);
  }

  /** fstat(2): st_size in bytes. */
  get size(): bigint {
    return 0n;
  }

  /** log2 of the bytes of the pages that an mmap shows. */
  get pageShift(): number {
    return 12;
  }

  /** The offset, in bytes, behind which an mmap must not reach (file_mmap_size_max). */
  get mapEnd(): bigint {
    return 2n ** 64n - 1n;
  }

  /** mmap(2) of the file, once address, length and modes are checked. */
  map(_request: MapRequest): MapTarget | Refusal {
    return refuse('ENODEV', 'do_mmap', `${this.link()} cannot be mapped`);
  }

  /** fchmod(2). What has a node in /dev has no mode here, so that any is as good as another. */
  chmod(_mode: number): Refusal | null {
    if (!this.link().startsWith('anon_inode:')) return null;
    return refuse('EOPNOTSUPP', 'anon_inode_setattr', `${this.link()} has no mode`);
  }

  /** poll(2): bits of POLL_EVENTS that hold now. A file that does not say is always ready (DEFAULT_POLLMASK). */
  poll(): number {
    return ALWAYS_READY;
  }

  /** A new file of the same inode, as open(2) of its link in /proc/self/fd makes one. */
  reopen(): OpenFile | Refusal {
    return refuse('ENXIO', 'do_filp_open', `${this.link()} cannot be opened through /proc`);
  }

  /** The refusal of a request number that no request of this kind has. */
  unknownIoctl(_number: number): Refusal {
    return refuse('ENOTTY', 'vfs_ioctl', `a descriptor of ${this.link()} knows no such request`);
  }
}
