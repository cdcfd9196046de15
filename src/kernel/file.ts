/**
 * Open files, to which descriptors of processes refer (struct file). A file counts its references, of descriptors and
 * others (LUO, an iommufd for a bound device), and is released with the last one.
 */
import { assert, type Refusal, refuse } from './errno.ts';
import type { Process } from './process.ts';
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

/** What a read of a queue returns: the number of bytes, and the records in them. */
export type ReadOk = Pick<CallResult, 'faults' | 'events'> & { ret: number };

export abstract class OpenFile {
  abstract readonly kind: FileKind;
  private _refs = 1;
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

  read(_length: bigint): ReadOk | Refusal {
    return refuse('EINVAL', 'vfs_read', `${this.link()} is no queue that can be read`);
  }

  /** write(2): returns the number of bytes taken. */
  write(_length: bigint, _responses: readonly PageResponse[]): number | Refusal {
    return refuse('EINVAL', 'vfs_write', `${this.link()} is no queue that takes responses`);
  }

  /** The refusal of a request number that no request of this kind has. */
  unknownIoctl(_number: number): Refusal {
    return refuse('ENOTTY', 'vfs_ioctl', `a descriptor of ${this.link()} knows no such request`);
  }
}

/** /dev/null, which serves as a descriptor of the wrong kind. */
export class NullFile extends OpenFile {
  readonly kind = 'null';
  link(): string {
    return '/dev/null';
  }
  release(): void {}
}
