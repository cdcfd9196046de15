/** Processes of the model. */
import { Failure } from './base.ts';
import { AddressSpace } from './memory.ts';
import type { OpenFile } from './objects.ts';

const FIRST_DESCRIPTOR = 3;

export class Process {
  readonly pid: number;
  uid = 0;
  readonly capabilities = new Set([
    'CAP_SYS_BOOT',
    'CAP_IPC_LOCK',
    'CAP_SYS_RESOURCE',
    'CAP_SYS_ADMIN',
    'CAP_SYS_RAWIO',
  ]);
  /** RLIMIT_MEMLOCK; null: none. */
  memlock: bigint | null = null;
  readonly memory = new AddressSpace();
  readonly descriptors = new Map<number, OpenFile>();

  constructor(pid: number) {
    this.pid = pid;
  }

  file(fd: number): OpenFile {
    const file = this.descriptors.get(fd);
    if (!file) throw new Failure('EBADF');
    return file;
  }

  install(file: OpenFile): number {
    let fd = FIRST_DESCRIPTOR;
    while (this.descriptors.has(fd)) fd++;
    this.descriptors.set(fd, file);
    return fd;
  }
}
