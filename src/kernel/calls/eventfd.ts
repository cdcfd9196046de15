/** Counters that programs and the kernel signal each other by. */
import { type Calls, integer } from '../call-input.ts';
import { Refusal } from '../errno.ts';
import { eventfdCreate } from '../eventfd.ts';
import type { EVENTFD_CALLS } from '../uapi/calls/eventfd.ts';
import { install } from './files.ts';

export const EVENTFDS: Calls<typeof EVENTFD_CALLS> = {
  eventfd: (_kernel, process, input) => {
    const file = eventfdCreate(integer(input, 'initval'), integer(input, 'flags'));
    return file instanceof Refusal ? file : install(process, file);
  },
};
