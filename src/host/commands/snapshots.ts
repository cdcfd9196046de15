/** Named snapshots: names for what the host was behind one of its commands, which lanes can build again. */
import { refuse } from '../../kernel/errno.ts';
import { MAX_SNAPSHOTS } from '../../limits.ts';
import { notFound, ok, refused } from '../answers.ts';
import type { Family, Rows } from './row.ts';

export const SNAPSHOTS: Rows<Family<'snapshot'>> = {
  /** One of the same name is forgotten. ENOSPC: there are as many as there may be. */
  'snapshot.put': {
    needs: 'machine',
    run(host, { name, sequence = 0 }) {
      const others = host.snapshots.filter((one) => one.name !== name);
      if (others.length >= MAX_SNAPSHOTS)
        return refused(refuse('ENOSPC', 'snapshot', `a host has at most ${MAX_SNAPSHOTS} named snapshots`));
      const snapshot = { name, sequence, kernel: host.kernelNumber, time: host.machine.clock.toString() };
      host.snapshots = [...others, snapshot];
      return ok({ ...snapshot });
    },
  },
  'snapshot.delete': {
    needs: 'machine',
    run(host, { name }) {
      const others = host.snapshots.filter((one) => one.name !== name);
      if (others.length === host.snapshots.length) return notFound(`snapshot ${name}`);
      host.snapshots = others;
      return ok({});
    },
  },
};
