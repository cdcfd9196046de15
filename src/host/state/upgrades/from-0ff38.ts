/** From engine 0ff3841743d6a478, the last without the device side of vfio-pci. */
import type { Upgrade } from './upgrade.ts';

export const FROM_0FF38: Upgrade = {
  from: '0ff3841743d6a478',
  to: 'ed9df8a2f776483e',
  step(graph) {
    graph.addField('VfioDevice', 'pci', null);
    return [];
  },
};
