/** The configuration space as a program sees it: region 7 of a device (drivers/vfio/pci/vfio_pci_config.c). */
import { type Refusal, refuse } from '../../errno.ts';
import type { ReadOk } from '../../file.ts';
import type { VfioPciCore } from './core.ts';

/** vfio_pci_config_rw: reads from byte `pos` of the configuration space on. */
export function readConfig(_core: VfioPciCore, _pos: bigint, _length: number): ReadOk | Refusal {
  return refuse('EINVAL', 'vfio_pci_config_rw', 'the device has no configuration space here');
}

/** vfio_pci_config_rw: writes from byte `pos` of the configuration space on; returns how many bytes. */
export function writeConfig(_core: VfioPciCore, _pos: bigint, _data: Uint8Array): number | Refusal {
  return refuse('EINVAL', 'vfio_pci_config_rw', 'the device has no configuration space here');
}
