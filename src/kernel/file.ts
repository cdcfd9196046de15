/**
 * Open files: what descriptors of processes refer to. A file counts its references (descriptors, and whoever else holds
 * it: LUO, an iommufd for a bound device) and is released with the last one, as struct file is.
 */
import { assert, type Refusal, refuse } from './errno.ts';
import type { Process } from './process.ts';
import type { CallResult, PageResponse } from './uapi/calls.ts';
import type { ArgOf, ArgValue, FileKind, RequestDescriptor, RequestKind, RequestNameOf } from './uapi/index.ts';

/** Fields of a uAPI struct, u64 as bigint. */
export type Arg = Record<string, ArgValue>;

/** What an ioctl wrote and returned; `ret` is 0 if absent. */
export interface IoctlOk {
  ret?: number;
  arg?: Arg;
}

/** Which function answers which request of files of a kind. A map that lacks one does not compile. */
export type Handlers<Kind extends RequestKind, File> = {
  readonly [Name in RequestNameOf<Kind>]: (file: File, arg: ArgOf<Name>, process: Process) => IoctlOk | Refusal;
};

/** The handlers of any kind of file, for whoever knows that file, request and struct belong together: the decoder. */
export type AnyHandlers = Readonly<Record<string, (file: never, arg: never, process: Process) => IoctlOk | Refusal>>;
const NO_HANDLERS: AnyHandlers = {};

/** What a read of a queue returns: the number of bytes, and what they say. */
export type ReadOk = Pick<CallResult, 'faults' | 'events'> & { ret: number };

export abstract class OpenFile {
  abstract readonly kind: FileKind;
  private _refs = 1;
  /** What /proc/PID/fd shows. */
  abstract link(): string;
  /** The last reference is gone. */
  abstract release(): void;

  /** Descriptors, and whoever else holds it. */
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

  /** What is judged before the struct is looked at; null for a request number that is unknown here. */
  beforeIoctl(_request: RequestDescriptor | null): Refusal | null {
    return null;
  }

  /** Answers of files of a kind that has requests: their `Handlers`. */
  get handlers(): AnyHandlers {
    return NO_HANDLERS;
  }

  read(_length: bigint): ReadOk | Refusal {
    return refuse('EINVAL', 'vfs_read', `${this.link()} is no queue that can be read`);
  }

  /** Answers the bytes taken. */
  write(_length: bigint, _responses: readonly PageResponse[]): number | Refusal {
    return refuse('EINVAL', 'vfs_write', `${this.link()} is no queue that takes responses`);
  }

  /** Answers a request number that no request of this kind has. */
  unknownIoctl(_number: number): Refusal {
    return refuse('ENOTTY', 'vfs_ioctl', `a descriptor of ${this.link()} knows no such request`);
  }
}

/** /dev/null: it is there to be a descriptor of the wrong kind. */
export class NullFile extends OpenFile {
  readonly kind = 'null';
  link(): string {
    return '/dev/null';
  }
  release(): void {}
}
