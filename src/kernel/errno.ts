/** Error numbers of x86-64 Linux, and how the simulated kernel refuses. Source: include/uapi/asm-generic/errno*.h. */

export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  ENOTDIR: 20,
  EINVAL: 22,
  EMFILE: 24,
  ENOTTY: 25,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  ERANGE: 34,
  EDEADLK: 35,
  ELOOP: 40,
  EBADE: 52,
  ENODATA: 61,
  EOVERFLOW: 75,
  EBADFD: 77,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
} as const;

export type Errno = keyof typeof ERRNO;
/** What ends a program that touches memory as it may not. */
export type Signal = 'SIGSEGV' | 'SIGBUS';

/**
 * A refusal is an ordinary value: functions return `T | Refusal`, and callers pass it on. Exceptions are for bugs.
 *
 * `where` is the kernel function that refuses, `why` a sentence that says what would help, `rule` the rule of the
 * design (R1…R25, C1…C7) that decides, where one does. `arg` holds outputs that Linux writes in spite of the error, `signal`
 * is what the program itself would be sent, had it touched the memory.
 */
export class Refusal {
  readonly errno: Errno;
  readonly where: string;
  readonly why: string;
  readonly rule: string | undefined;
  arg: Record<string, unknown> | undefined;
  signal: Signal | undefined;

  constructor(errno: Errno, where: string, why: string, rule?: string) {
    this.errno = errno;
    this.where = where;
    this.why = why;
    this.rule = rule;
  }

  /** The fault that was armed and has struck. */
  fault: number | undefined;

  /** Says which fault it is of, and returns itself. */
  by(fault: number): this {
    this.fault = fault;
    return this;
  }

  /** Adds outputs that Linux writes in spite of the error, and returns itself. */
  withArg(arg: Record<string, unknown>): Refusal {
    this.arg = arg;
    return this;
  }
}

export function refuse(errno: Errno, where: string, why: string, rule?: string): Refusal {
  return new Refusal(errno, where, why, rule);
}

/** The refusal of an access to memory: EFAULT of a system call, this signal of an instruction. */
export function fatal(signal: Signal, where: string, why: string): Refusal {
  const refusal = refuse('EFAULT', where, why);
  refusal.signal = signal;
  return refusal;
}

/** Throws unless a condition holds that no caller can break: a failure is a bug of the simulation, no answer. */
export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${what}`);
}
