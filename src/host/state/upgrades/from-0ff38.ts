/** From engine 0ff3841743d6a478, the last without the device side of vfio-pci. */
import type { Upgrade } from './upgrade.ts';

export const FROM_0FF38: Upgrade = {
  from: '0ff3841743d6a478',
  to: '4274a85bb522af21',
  step(graph) {
    graph.addField('VfioDevice', 'pci', null);
    return [];
  },
};
