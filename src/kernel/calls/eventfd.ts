/** Counters that programs and the kernel signal each other by. */
import { type Calls, integer } from '../call-input.ts';
import { Refusal } from '../errno.ts';
import { eventfdCreate } from '../eventfd.ts';
import { EVENTFD_FLAGS } from '../uapi/bits.ts';
import type { EVENTFD_CALLS } from '../uapi/calls/eventfd.ts';
import { install } from './files.ts';

export const EVENTFDS: Calls<typeof EVENTFD_CALLS> = {
  eventfd: (_kernel, process, input) => {
    const flags = integer(input, 'flags');
    const file = eventfdCreate(integer(input, 'initval'), flags);
    return file instanceof Refusal ? file : install(process, file, (flags & EVENTFD_FLAGS.EFD_CLOEXEC) !== 0);
  },
};
