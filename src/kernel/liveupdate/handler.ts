/**
 * What LUO asks of a kind of file (struct liveupdate_file_ops). In the old kernel: preserve, freeze or unfreeze,
 * unpreserve, serialize. In the new one: read, retrieve once, canFinish, finish.
 *
 * A handler knows the class of its files, what it keeps of one that is preserved (`State`), and what it hands over
 * (`Data`, JSON). LUO knows none of this: its sessions list files whose handler, state and data belong together.
 */
import { type Errno, Refusal } from '../errno.ts';
import type { OpenFile } from '../file.ts';
import type { Kho } from '../kho/handover.ts';
import type { Json } from '../kho/json.ts';
import type { VfioKernel } from '../vfio/vfio.ts';

/** What live update needs of the kernel. */
export interface LiveUpdateKernel extends VfioKernel {
  readonly kho: Kho;
}

/** A kind of file, as LUO sees it. */
export interface AnyFileHandler {
  readonly compatible: string;
  /** Prefix of its fault points: `memfd.preserve`, `memfd.freeze`, `memfd.retrieve`. */
  readonly point: 'memfd' | 'iommufd' | 'vfio';
  /** Null for a file of another kind, and a sentence for one of its kind that it cannot preserve. */
  offer(kernel: LiveUpdateKernel, file: OpenFile): Offer | string | null;
  /** A file that was handed over; null where the data is not what such a handler hands over. */
  receive(token: bigint, data: Json): IncomingFile | null;
}

/** A file that can be preserved. */
export interface Offer {
  readonly handler: AnyFileHandler;
  /** What "the same object" means: the inode of a memfd, else the file. */
  readonly identity: object;
  preserve(session: OutgoingSession, token: bigint): OutgoingFile | Refusal;
}

/** A file in a session of this kernel. */
export interface OutgoingFile {
  readonly token: bigint;
  readonly handler: AnyFileHandler;
  /** LUO holds a reference. */
  readonly file: OpenFile;
  readonly identity: object;
  unpreserve(kernel: LiveUpdateKernel): void;
  freeze(kernel: LiveUpdateKernel): Refusal | null;
  serialize(): Json;
}

export interface OutgoingSession {
  readonly name: string;
  readonly files: OutgoingFile[];
}

/** A file of the previous kernel. */
export interface IncomingFile {
  readonly token: bigint;
  readonly handler: AnyFileHandler;
  /** What was handed over of it. */
  readonly data: Json;
  /** The file, once retrieved; LUO holds a reference until finish. */
  readonly file: OpenFile | null;
  /** The errno of a failed retrieve: it stays until the next kernel. */
  failed: Errno | null;
  /** Null as long as it is not retrieved. */
  readonly identity: object | null;
  retrieve(kernel: LiveUpdateKernel, session: string): OpenFile | Refusal;
  /** A refusal says what is missing. */
  canFinish(kernel: LiveUpdateKernel): Refusal | null;
  finish(kernel: LiveUpdateKernel): void;
  /** Its retrieve has failed for good: tells what that means for others. */
  retrieveFailed(kernel: LiveUpdateKernel, session: string): void;
}

/** What a kind of file has to answer. */
interface FileOperations<File extends OpenFile, State, Data extends Json> {
  readonly compatible: string;
  readonly point: AnyFileHandler['point'];
  /** Whether a file is of this kind. */
  takes(file: OpenFile): file is File;
  /** A sentence for a file that cannot be preserved; absent: each can. */
  whyNot?(kernel: LiveUpdateKernel, file: File): string | null;
  identity(file: File): object;
  preserve(kernel: LiveUpdateKernel, session: OutgoingSession, file: File): State | Refusal;
  unpreserve(kernel: LiveUpdateKernel, file: File, state: State): void;
  freeze?(kernel: LiveUpdateKernel, file: File): Refusal | null;
  serialize(file: File, state: State): Data;
  /** The data of a handover, if that is what it is. */
  read(data: Json): Data | null;
  retrieve(kernel: LiveUpdateKernel, session: string, token: bigint, data: Data): File | Refusal;
  canFinish?(kernel: LiveUpdateKernel, entry: HandedOver<File, State, Data>): Refusal | null;
  finish?(kernel: LiveUpdateKernel, entry: HandedOver<File, State, Data>): void;
  /** Tells what a retrieve that has failed for good means for others; absent: nothing. */
  retrieveFailed?(kernel: LiveUpdateKernel, session: string, entry: HandedOver<File, State, Data>): void;
}

export type FileHandler<File extends OpenFile, State, Data extends Json> = FileOperations<File, State, Data> &
  AnyFileHandler;

export function fileHandler<File extends OpenFile, State, Data extends Json>(
  operations: FileOperations<File, State, Data>,
): FileHandler<File, State, Data> {
  const handler: FileHandler<File, State, Data> = {
    ...operations,
    offer(kernel, file) {
      if (!operations.takes(file)) return null;
      const preserve: Offer['preserve'] = (session, token) => {
        const state = operations.preserve(kernel, session, file);
        return state instanceof Refusal ? state : new Preserved(token, handler, file, state);
      };
      const whyNot = operations.whyNot?.(kernel, file);
      return whyNot ?? { handler, identity: operations.identity(file), preserve };
    },
    receive(token, data) {
      const read = operations.read(data);
      return read === null ? null : new HandedOver(token, handler, read);
    },
  };
  return handler;
}

export class Preserved<File extends OpenFile, State, Data extends Json> implements OutgoingFile {
  readonly token: bigint;
  readonly handler: FileHandler<File, State, Data>;
  readonly file: File;
  readonly state: State;

  constructor(token: bigint, handler: FileHandler<File, State, Data>, file: File, state: State) {
    this.token = token;
    this.handler = handler;
    this.file = file;
    this.state = state;
  }

  get identity(): object {
    return this.handler.identity(this.file);
  }

  unpreserve(kernel: LiveUpdateKernel): void {
    this.handler.unpreserve(kernel, this.file, this.state);
  }

  freeze(kernel: LiveUpdateKernel): Refusal | null {
    return this.handler.freeze?.(kernel, this.file) ?? null;
  }

  serialize(): Data {
    return this.handler.serialize(this.file, this.state);
  }
}

export class HandedOver<File extends OpenFile, State, Data extends Json> implements IncomingFile {
  readonly token: bigint;
  readonly handler: FileHandler<File, State, Data>;
  readonly data: Data;
  file: File | null = null;
  failed: Errno | null = null;

  constructor(token: bigint, handler: FileHandler<File, State, Data>, data: Data) {
    this.token = token;
    this.handler = handler;
    this.data = data;
  }

  get identity(): object | null {
    return this.file && this.handler.identity(this.file);
  }

  retrieve(kernel: LiveUpdateKernel, session: string): File | Refusal {
    const file = this.handler.retrieve(kernel, session, this.token, this.data);
    if (!(file instanceof Refusal)) this.file = file;
    return file;
  }

  canFinish(kernel: LiveUpdateKernel): Refusal | null {
    return this.handler.canFinish?.(kernel, this) ?? null;
  }

  finish(kernel: LiveUpdateKernel): void {
    this.handler.finish?.(kernel, this);
  }

  retrieveFailed(kernel: LiveUpdateKernel, session: string): void {
    this.handler.retrieveFailed?.(kernel, session, this);
  }
}
