/** Counters that programs and the kernel signal each other by. */
import { EVENTFD_FLAGS } from '../bits.ts';
import { bits, call, need } from './row.ts';

export const EVENTFD_CALLS = {
  eventfd: call('eventfd2(initval, flags)', 'the descriptor', {
    initval: need('int', 'What the counter begins with, of 32 bits.'),
    flags: bits(EVENTFD_FLAGS, 'Flags.'),
  }),
};
