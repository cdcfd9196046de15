/**
 * What VFIO does as soon as an eventfd is signalled (drivers/vfio/virqfd.c). It takes the counter, so that nobody else reads
 * it, and ends with the last descriptor of the eventfd.
 */
import { Refusal, refuse } from '../errno.ts';
import { type Eventfd, type EventfdWaiter, eventfdOf } from '../eventfd.ts';
import type { Process } from '../process.ts';

export abstract class Virqfd implements EventfdWaiter {
  private _eventfd: Eventfd | null = null;

  /** What makes it run; null: nothing. */
  get eventfd(): Eventfd | null {
    return this._eventfd;
  }

  protected abstract run(): void;

  /**
   * vfio_virqfd_enable. What was signalled before makes it run at once, and stays in the counter. EBADF; EINVAL not an
   * eventfd; EBUSY enabled already.
   */
  enable(process: Process, fd: number): Refusal | null {
    const eventfd = eventfdOf(process, fd);
    if (eventfd instanceof Refusal) return eventfd;
    if (this._eventfd)
      return refuse('EBUSY', 'vfio_virqfd_enable', 'another eventfd does this already: take it off first');
    this._eventfd = eventfd;
    eventfd.addWaiter(this);
    if (eventfd.count > 0n) this.run();
    return null;
  }

  /** vfio_virqfd_disable. */
  disable(): void {
    this._eventfd?.removeWaiter(this);
    this._eventfd = null;
  }

  wake(): void {
    this._eventfd?.take();
    this.run();
  }

  hangUp(): void {
    this.disable();
  }
}
