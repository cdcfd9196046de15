/** Processes: descriptors (the lowest free number, as POSIX has it), memory, user, capabilities, limits. */
import { type Refusal, refuse } from './errno.ts';
import type { OpenFile } from './file.ts';
import type { AddressSpace } from './mm/address-space.ts';
import { NumberTable } from './number-table.ts';
import { TakenNumbers } from './taken-numbers.ts';

export const CAPABILITIES = [
  'CAP_SYS_BOOT',
  'CAP_IPC_LOCK',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_ADMIN',
  'CAP_SYS_RAWIO',
] as const;

/** RLIMIT_NOFILE of the simulated processes. */
const MAX_DESCRIPTORS = 65536;

/** Pages that are locked, of a user over all processes or of one address space: RLIMIT_MEMLOCK bounds them. */
export interface LockedCounter {
  pages: number;
}

export class Process {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _taken: () => null };

  readonly pid: number;
  readonly name: string;
  uid = 0;
  readonly capabilities: Set<string>;
  /** RLIMIT_MEMLOCK in bytes; null: unlimited. */
  memlock: bigint | null = null;
  readonly mm: AddressSpace;
  readonly locked: LockedCounter = { pages: 0 };
  private readonly _descriptors = new NumberTable<OpenFile>();
  /** Descriptors with FD_CLOEXEC. */
  private readonly _closeOnExec = new NumberTable<true>();
  /** How large its tables were when it was forked; 0: it was not. */
  entriesOfFork = 0;
  private _lowestFree = 0;
  /** The numbers of `_descriptors`; null: not asked for yet. */
  private _taken: TakenNumbers | null = null;
  /** Standard input, output and error are taken: the first descriptor is 3. */
  static readonly FIRST_DESCRIPTOR = 3;

  constructor(mm: AddressSpace, pid: number, name: string, capabilities: Iterable<string>) {
    this.pid = pid;
    this.name = name;
    this.capabilities = new Set(capabilities);
    this.mm = mm;
    this._lowestFree = Process.FIRST_DESCRIPTOR;
  }

  /**
   * fork(2): a child with the same open files, a copy of the memory, the same user, capabilities and limit; it has locked
   * nothing. Null: there is no memory for copies of private pages.
   */
  fork(pid: number, name: string): Process | null {
    const mm = this.mm.fork();
    if (!mm) return null;
    const child = new Process(mm, pid, name, this.capabilities);
    child.uid = this.uid;
    child.memlock = this.memlock;
    for (const [fd, file] of this._descriptors) child._descriptors.set(fd, file.get());
    for (const fd of this._closeOnExec.keys()) child._closeOnExec.set(fd, true);
    child._lowestFree = this._lowestFree;
    return child;
  }

  /** About how large its tables are: entries for descriptors, mappings and pages, and some for itself. */
  get entries(): number {
    return 64 + this._descriptors.size + this.mm.mappings.length + this.mm.frames.length;
  }

  /** By number, ascending. */
  get descriptors(): NumberTable<OpenFile> {
    return this._descriptors;
  }

  /** No descriptor below this one is free. */
  get lowestFree(): number {
    return this._lowestFree;
  }

  /** The file behind a descriptor, or EBADF (fdget). */
  file(fd: number): OpenFile | Refusal {
    return this._descriptors.get(fd) ?? refuse('EBADF', 'fdget', `process ${this.pid} has no descriptor ${fd} open`);
  }

  /** No descriptor has this number or a higher one: RLIMIT_NOFILE. */
  get descriptorLimit(): number {
    return Process.FIRST_DESCRIPTOR + MAX_DESCRIPTORS;
  }

  /** Takes over the caller's reference; `from`: the least number. EMFILE if there is no number left. */
  install(file: OpenFile, closeOnExec = false, from = 0): number | Refusal {
    if (this._descriptors.size >= MAX_DESCRIPTORS)
      return refuse('EMFILE', 'alloc_fd', `process ${this.pid} has ${MAX_DESCRIPTORS} descriptors open`);
    this._taken ??= new TakenNumbers(this._descriptors.keys());
    this._lowestFree = this._taken.firstFree(this._lowestFree);
    const fd = from <= this._lowestFree ? this._lowestFree : this._taken.firstFree(from);
    if (fd >= this.descriptorLimit)
      return refuse('EMFILE', 'alloc_fd', `process ${this.pid} has no descriptor free from ${from} on`);
    if (fd === this._lowestFree) this._lowestFree++;
    this._descriptors.set(fd, file);
    this._taken.take(fd);
    this.setCloseOnExec(fd, closeOnExec);
    return fd;
  }

  /** Puts a file behind a number, with the caller's reference; what was behind it is closed (do_dup2). */
  replace(fd: number, file: OpenFile): void {
    const before = this._descriptors.get(fd);
    this._descriptors.set(fd, file);
    this._taken?.take(fd);
    this.setCloseOnExec(fd, false);
    before?.put();
  }

  closesOnExec(fd: number): boolean {
    return this._closeOnExec.has(fd);
  }

  setCloseOnExec(fd: number, on: boolean): void {
    if (on) this._closeOnExec.set(fd, true);
    else this._closeOnExec.delete(fd);
  }

  /** close(2): EBADF. */
  close(fd: number): Refusal | null {
    const file = this._descriptors.get(fd);
    if (!file) return refuse('EBADF', 'file_close_fd', `process ${this.pid} has no descriptor ${fd} open`);
    this._descriptors.delete(fd);
    this._taken?.give(fd);
    this._closeOnExec.delete(fd);
    if (fd >= Process.FIRST_DESCRIPTOR) this._lowestFree = Math.min(this._lowestFree, fd);
    file.put();
    return null;
  }

  /** do_exit: memory is unmapped first, then descriptors are closed in ascending order. */
  exit(): void {
    this.mm.exit();
    for (const fd of [...this._descriptors.keys()]) this.close(fd);
  }
}
