/** Commands that arm and disarm faults. */
import { FAULT_POINTS, type FaultPoint } from '../../kernel/faults.ts';
import { notFound, ok } from '../answers.ts';
import type { Family, Rows } from './row.ts';

const isPoint = (name: string): name is FaultPoint => name in FAULT_POINTS;

export const FAULTS: Rows<Family<'fault'>> = {
  'fault.arm': {
    needs: 'machine',
    run({ faults }, { point, nth = 1, times, errno }) {
      if (!isPoint(point)) return notFound(`fault point ${point}`);
      return ok({ ...faults.arm(point, nth, errno ?? FAULT_POINTS[point].errno, times) });
    },
  },
  'fault.disarm': {
    needs: 'machine',
    run: ({ faults }, { id }) => (faults.disarm(id) ? ok({}) : notFound(`fault ${id}`)),
  },
};
