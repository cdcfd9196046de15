/**
 * From engine 5ff74ded9b3ffdfa, which did not note why a restored device is out of reach. Nor what a kexec hands over, but a host
 * that is frozen is in no snapshot.
 */
import type { Upgrade } from './upgrade.ts';

export const FROM_5FF74: Upgrade = {
  from: '5ff74ded9b3ffdfa',
  to: 'df0b500b7ee6e026',
  step(graph) {
    for (const { fields } of graph.objects('RestoredOwner')) fields.lost = null;
    return undefined;
  },
};
