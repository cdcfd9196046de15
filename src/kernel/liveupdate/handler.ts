/**
 * What LUO asks of a kind of file (struct liveupdate_file_ops). In the old kernel: canPreserve, preserve, freeze or
 * unfreeze, unpreserve, serialize. In the new one: retrieve once, canFinish, finish.
 */
import type { Errno, Refusal } from '../errno.ts';
import type { OpenFile } from '../file.ts';
import type { Kernel } from '../kernel.ts';

export interface OutgoingFile {
  token: bigint;
  handler: FileHandler;
  /** LUO holds a reference. */
  file: OpenFile;
  state: unknown;
}

export interface OutgoingSession {
  name: string;
  files: OutgoingFile[];
}

export interface IncomingFile {
  token: bigint;
  handler: FileHandler;
  data: unknown;
  /** The file, once retrieved; LUO holds a reference until finish. */
  file: OpenFile | null;
  /** The errno of a failed retrieve: it stays until the next kernel. */
  failed: Errno | null;
}

export interface FileHandler {
  readonly compatible: string;
  /** Prefix of its fault points: `memfd.preserve`, `memfd.freeze`, `memfd.retrieve`. */
  readonly point: 'memfd' | 'iommufd' | 'vfio';
  /** False for a file of another kind, and a sentence for one of its kind that it cannot preserve. */
  canPreserve(kernel: Kernel, file: OpenFile): boolean | string;
  /** What "the same object" means: the inode of a memfd, else the file. */
  identity(file: OpenFile): object;
  preserve(kernel: Kernel, session: OutgoingSession, entry: OutgoingFile): unknown | Refusal;
  unpreserve(kernel: Kernel, entry: OutgoingFile): void;
  freeze?(kernel: Kernel, entry: OutgoingFile): Refusal | null;
  serialize(kernel: Kernel, entry: OutgoingFile): unknown;
  retrieve(kernel: Kernel, session: string, entry: IncomingFile): OpenFile | Refusal;
  /** A refusal says what is missing; absent: always. */
  canFinish?(kernel: Kernel, entry: IncomingFile): Refusal | null;
  finish(kernel: Kernel, entry: IncomingFile): void;
}
