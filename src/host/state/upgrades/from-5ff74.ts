/**
 * From engine 5ff74ded9b3ffdfa, which had no engines and no named snapshots, forgot faults that were over, and did not note why a restored device is out of
 * reach. Nor what a kexec hands over, but a host that is frozen is in no snapshot.
 */
import type { Upgrade } from './upgrade.ts';

export const FROM_5FF74: Upgrade = {
  from: '5ff74ded9b3ffdfa',
  to: '6726bd726a13f6eb',
  step(graph) {
    for (const { fields } of graph.objects('RestoredOwner')) fields.lost = null;
    for (const { fields } of graph.objects('Host')) fields.snapshots = [];
    for (const { fields } of graph.objects('Machine')) fields.engines = null;
    for (const { fields } of graph.objects('Faults')) fields._over = [];
    return undefined;
  },
};
