/** Simulated time, which only commands advance. */
import { ok } from '../answers.ts';
import type { Family, Rows } from './row.ts';

export const CLOCK: Rows<Family<'clock'>> = {
  'clock.advance': {
    needs: 'machine',
    run({ machine }, { nanoseconds }) {
      machine.clock += BigInt(nanoseconds);
      return ok({ now: machine.clock.toString() });
    },
  },
};
