/**
 * Eventfds (fs/eventfd.c): a counter of 64 bits that programs and the kernel add to. What a part of the kernel is told by is the
 * counter itself, which lives on when its last descriptor is closed; a `Virqfd` ends with that descriptor.
 */
import { Refusal, refuse } from './errno.ts';
import { type MapTarget, OpenFile, type ReadOk, type Written } from './file.ts';
import { Process } from './process.ts';
import { EVENTFD_FLAGS, OPEN_FLAGS, POLL_EVENTS } from './uapi/bits.ts';

const { POLLERR, POLLIN, POLLOUT } = POLL_EVENTS;

const BYTES = 8n;
/** Only the kernel itself gets a counter here: it overflows for poll(2), EPOLLERR. */
const MAX = 2n ** 64n - 1n;
/** SEEK_HOLE: the last `whence` that lseek(2) knows. */
const LAST_WHENCE = 4;

/** What is on the wait queue of an eventfd: it is called with every signal, before anyone can read the counter. */
export interface EventfdWaiter {
  /** EPOLLIN. */
  wake(): void;
  /** EPOLLHUP: the last descriptor of the eventfd is closed. */
  hangUp(): void;
}

/** struct eventfd_ctx. */
export class Eventfd {
  static readonly caches = { _waking: () => false };

  private _count: bigint;
  private readonly _semaphore: boolean;
  /** In the order in which they came. The last one is called first, as add_wait_queue puts it to the front. */
  private readonly _waiters = new Set<EventfdWaiter>();
  private _waking = false;

  constructor(count: number, semaphore: boolean) {
    this._count = BigInt(count);
    this._semaphore = semaphore;
  }

  get count(): bigint {
    return this._count;
  }

  get waiters(): ReadonlySet<EventfdWaiter> {
    return this._waiters;
  }

  /** eventfd_signal: the kernel adds 1. */
  signal(): void {
    this.add(this._count === MAX ? 0n : 1n);
  }

  /**
   * Adds to the counter, and calls the waiters even if that is 0. The caller has checked that it fits. What a waiter adds
   * calls nobody, as it would go on for ever.
   */
  add(value: bigint): void {
    this._count += value;
    if (this._waking) return;
    this._waking = true;
    for (const waiter of this._called()) waiter.wake();
    this._waking = false;
  }

  /** Whether a program may add this: the counter ends at 2^64 - 2 for programs. */
  fits(value: bigint): boolean {
    return MAX - this._count > value;
  }

  /** eventfd_ctx_do_read: returns the counter, which is 0 then; of a semaphore 1, and one less. */
  take(): bigint {
    const taken = this._semaphore && this._count > 0n ? 1n : this._count;
    this._count -= taken;
    return taken;
  }

  addWaiter(waiter: EventfdWaiter): void {
    this._waiters.add(waiter);
  }

  removeWaiter(waiter: EventfdWaiter): void {
    this._waiters.delete(waiter);
  }

  hangUp(): void {
    for (const waiter of this._called()) waiter.hangUp();
  }

  private _called(): EventfdWaiter[] {
    return [...this._waiters].reverse();
  }
}

export class EventfdFile extends OpenFile {
  readonly kind = 'eventfd';
  readonly eventfd: Eventfd;

  constructor(eventfd: Eventfd, nonblock: boolean) {
    super();
    this.eventfd = eventfd;
    this.flags = OPEN_FLAGS.O_RDWR | (nonblock ? OPEN_FLAGS.O_NONBLOCK : 0);
  }

  link(): string {
    return 'anon_inode:[eventfd]';
  }

  release(): void {
    this.eventfd.hangUp();
  }

  /** eventfd_read. EINVAL fewer than 8 bytes; EAGAIN the counter is 0, without O_NONBLOCK too: nobody can wait here. */
  override read(length: bigint): ReadOk | Refusal {
    const where = 'eventfd_read';
    if (length < BYTES) return refuse('EINVAL', where, `${length} bytes are no room for a counter of 8`);
    if (this.eventfd.count === 0n) return refuse('EAGAIN', where, 'nothing was signalled since the last read');
    const data = new Uint8Array(Number(BYTES));
    new DataView(data.buffer).setBigUint64(0, this.eventfd.take(), true);
    return { ret: data.length, data };
  }

  /** eventfd_write. EINVAL not 8 bytes, or 2^64 - 1; EAGAIN the counter would overflow, without O_NONBLOCK too. */
  override write({ length, data }: Written): number | Refusal {
    const where = 'eventfd_write';
    if (length !== BYTES) return refuse('EINVAL', where, `an eventfd takes 8 bytes, not ${length}`);
    const bytes = new Uint8Array(Number(BYTES));
    bytes.set(data.subarray(0, bytes.length));
    const value = new DataView(bytes.buffer).getBigUint64(0, true);
    if (value === MAX) return refuse('EINVAL', where, '2^64 - 1 cannot be added');
    if (!this.eventfd.fits(value)) return refuse('EAGAIN', where, 'the counter would overflow: read it first');
    this.eventfd.add(value);
    return bytes.length;
  }

  /** eventfd_poll. */
  override poll(): number {
    const { eventfd } = this;
    return (eventfd.count > 0n ? POLLIN : 0) | (eventfd.count === MAX ? POLLERR : 0) | (eventfd.fits(1n) ? POLLOUT : 0);
  }

  /** It has no FMODE_PREAD (ksys_pread64). */
  override pread(): Refusal {
    return refuse('ESPIPE', 'ksys_pread64', 'an eventfd has no offsets: use read');
  }

  override pwrite(): Refusal {
    return refuse('ESPIPE', 'ksys_pwrite64', 'an eventfd has no offsets: use write');
  }

  /** noop_llseek: succeeds and stays at 0. EINVAL: no such `whence`. */
  override seek(_offset: bigint, whence: number): bigint | Refusal {
    if (whence >= 0 && whence <= LAST_WHENCE) return 0n;
    return refuse('EINVAL', 'ksys_lseek', `there is no whence ${whence}`);
  }

  override map(): MapTarget | Refusal {
    return refuse('ENODEV', 'do_mmap', 'an eventfd cannot be mapped');
  }
}

/** eventfd2(2). EINVAL: unknown flags. `initval` has 32 bits. */
export function eventfdCreate(initval: number, flags: number): EventfdFile | Refusal {
  const { EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE } = EVENTFD_FLAGS;
  if (flags & ~(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE)) return refuse('EINVAL', 'do_eventfd', 'unknown flag');
  const eventfd = new Eventfd(initval >>> 0, (flags & EFD_SEMAPHORE) !== 0);
  return new EventfdFile(eventfd, (flags & EFD_NONBLOCK) !== 0);
}

/** eventfd_ctx_fdget: the eventfd behind a descriptor. EBADF; EINVAL another kind of file. */
export function eventfdOf(process: Process, fd: number): Eventfd | Refusal {
  const file = process.file(fd);
  if (file instanceof EventfdFile) return file.eventfd;
  const where = 'eventfd_ctx_fdget';
  if (!(file instanceof Refusal)) return refuse('EINVAL', where, `descriptor ${fd} is ${file.link()}, not an eventfd`);
  // Standard input, output and error are open, though nothing can be done with them here.
  if (fd >= 0 && fd < Process.FIRST_DESCRIPTOR)
    return refuse('EINVAL', where, `descriptor ${fd} is a standard one, not an eventfd`);
  return file;
}
