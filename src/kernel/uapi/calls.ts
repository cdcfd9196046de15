/** The system calls of the `calls` face, as data. `ioctl` carries a request of the request table. */
import type { Errno, Signal } from '../errno.ts';
import { EVENTFD_CALLS } from './calls/eventfd.ts';
import { FILE_CALLS } from './calls/files.ts';
import { LEVER_CALLS } from './calls/levers.ts';
import { MEMFD_CALLS } from './calls/memfd.ts';
import { MEMORY_CALLS } from './calls/memory.ts';
import { PROCESS_CALLS } from './calls/processes.ts';
import type { CallRow } from './calls/row.ts';

export type { CallRow, Parameter } from './calls/row.ts';

export type CallDescriptor = CallRow & { readonly name: string };

const ROWS = { ...FILE_CALLS, ...MEMORY_CALLS, ...MEMFD_CALLS, ...EVENTFD_CALLS, ...PROCESS_CALLS, ...LEVER_CALLS };

/** Every call but `ioctl`, whose shape depends on its request. */
export type CallName = keyof typeof ROWS;

/** All calls but `ioctl`, by name. */
export const CALLS: ReadonlyMap<string, CallDescriptor> = new Map(
  Object.entries<CallRow>(ROWS).map(([name, row]) => [name, { ...row, name }]),
);

/** An answer to a page fault. */
export interface PageResponse {
  cookie: number;
  code: number;
}

/** struct pollfd, of which the answer tells `revents`. */
export interface PollDescriptor {
  fd: number;
  /** Bits of POLL_EVENTS. */
  events: number;
}

/** Bytes of a program's memory. */
export interface MemoryBytes {
  /** Hexadecimal, or a safe integer. */
  address: string | number;
  /** Base64. */
  bytes: string;
}

/** A call as requests have it: u64 as hexadecimal strings or safe integers, bytes as base64. */
export interface CallInput {
  call: string;
  fd?: number;
  /** Of `ioctl`: the name of a request, or a number, which as a string is hexadecimal. */
  request?: string | number;
  arg?: Record<string, unknown>;
  /** Of `ioctl`, in place of `arg`: what its argument points to, or the argument itself, and memory that is pointed to. */
  bytes?: string;
  argument?: string | number;
  memory?: MemoryBytes[];
  [parameter: string]: unknown;
}

/** What a call returns. `arg`: what the kernel wrote. `ret`: a string (hexadecimal) only for the address from mmap. */
export interface CallResult {
  ret: number | string;
  errno?: Errno;
  where?: string;
  why?: string;
  rule?: string;
  /** The fault that was armed and has struck. */
  fault?: number;
  /** What a program would have been sent: of `peek` and `poke`. */
  signal?: Signal;
  arg?: Record<string, unknown>;
  /** Of an ioctl with bytes: what the argument points to then, and the memory given that the kernel wrote to. */
  bytes?: string;
  memory?: MemoryBytes[];
  data?: string;
  /** Bytes, hexadecimal. */
  size?: string;
  faults?: unknown[];
  events?: unknown[];
  /** Of `poll`: for each descriptor the bits of POLL_EVENTS that hold. */
  revents?: number[];
}
